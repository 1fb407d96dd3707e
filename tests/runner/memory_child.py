"""Decode a long video and print how memory went: `python -m tests.runner.memory_child FRAMES SIDE`, in a process alone.

Prints one JSON object: `growth` (bytes the peak rose by after the first 17 frames, x264's own included) and `frames`.
The caller makes malloc give large blocks back at once (mallopt(3)); else the heap's own gaps grow for a while.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from gpu_runner.bundle import Bundle
from gpu_runner.decode import Frames, decode_frames
from gpu_runner.families.wan import Wan
from schemas.bundle import read_bundles
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from stages.decode import encode_chunks
from stages.execution.in_process import Undisturbed

FIRST = 17


def peak() -> int:
    """Highest resident size so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(frames: int, side: int) -> None:
    torch.set_num_threads(1)
    folder = Path("bundles/tiny")
    asked = PromptSubmitted(prompt="a", size=f"{side}x{side}", num_frames=frames)
    recipe = recipe_of(asked, "video_test", read_bundles([folder]), "tiny")
    wan = Wan(Bundle.open(folder), torch.device("cpu"))
    wan.load_decoder()
    peaks: dict[int, int] = {}

    def watched(chunks: Iterator[Frames]) -> Iterator[Frames]:
        done = 0
        for chunk in chunks:
            done += len(chunk)
            yield chunk
            peaks[done] = peak()

    chunks = watched(decode_frames(wan, torch.zeros_like(wan.start(recipe)["latents"])))
    _, _, count = encode_chunks(chunks, recipe, Undisturbed())
    print(json.dumps({"frames": count, "growth": peak() - peaks[FIRST]}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
