"""What a process of the line loads, seen in a fresh one: images stay small only if nobody loads what is not theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "diffusers", "transformers", "faust", "av", "numpy"}


def loaded(module: str, wanted: set[str] = HEAVY) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return wanted & set(answer.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "streams.coordinator.service", "streams.worker.main", "streams.client", "stages.contract",
        "stages.storage.artifacts", "stages.execution.execute", "gateway.main", "webhooks.main",
        "operations.janitor.main", "infra.local.stack", "latentline.main",
    ],
)  # fmt: skip
def test_it_loads_nothing_heavy(module: str) -> None:
    assert loaded(module) == set()


def test_only_the_notifier_can_send_webhooks() -> None:
    senders = {"httpx", "standardwebhooks"}
    assert loaded("gateway.main, streams.coordinator.service", senders) == set()
    assert loaded("webhooks.main", senders) == senders


def test_mux_never_loads_torch() -> None:
    assert loaded("stages.mux") <= {"av", "numpy"}


def test_compute_never_loads_faust_and_the_views_never_torch() -> None:
    assert "faust" not in loaded("stages.denoise, stages.decode, streams.worker.compute.child")
    assert "torch" not in loaded("streams.usage.main")
