"""Imported once by the forkserver, so that a new compute child is there in milliseconds and not in ten seconds.

The standard library swallows a preload that fails to import, so the child asks `problem`. Forking is safe only from one
thread and before any device is touched; both are looked at by the forkserver right before each fork.
"""

from __future__ import annotations

import os
import sys

FORKED_FROM_THREADS: list[int] = []
"""Threads of the forkserver at the fork; empty in a process that was not forked."""

MODULES = {
    "encode": ("stages.encode", "gpu_runner.families", "stages.execution.loading"),
    "denoise": ("stages.denoise", "gpu_runner.families", "stages.execution.loading"),
    "decode": ("stages.decode", "gpu_runner.families", "stages.execution.loading"),
    "mux": ("stages.mux", "stages.execution.loading"),
}

# Read by transformers when it is imported, after this module: a log has no use for a bar of loading weights.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def modules(stages: tuple[str, ...]) -> list[str]:
    """What a forkserver for these stages imports: mux alone never loads torch."""
    return [__name__, *dict.fromkeys(name for stage in stages for name in MODULES[stage])]


def problem(stages: tuple[str, ...]) -> str | None:
    """Why a child that was just forked must not work, or None. Called before the child imports anything."""
    missing = [name for name in modules(stages) if name not in sys.modules]
    if missing:
        return f"the forkserver could not import {', '.join(missing)}"
    if FORKED_FROM_THREADS and FORKED_FROM_THREADS[-1] != 1:
        return f"the forkserver had {FORKED_FROM_THREADS[-1]} threads at the fork"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "the forkserver has touched the device"
    return None


def _note_threads() -> None:
    FORKED_FROM_THREADS[:] = [len(os.listdir("/proc/self/task"))]


os.register_at_fork(before=_note_threads)
