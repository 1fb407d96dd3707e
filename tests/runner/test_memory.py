"""Decoded frames never pile up, however long the video: counted exactly, and seen in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gpu_runner.bundle import Bundle
from gpu_runner.decode import Frames, decode_frames
from gpu_runner.families.wan import Wan
from schemas.bundle import read_bundles
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from stages.decode import encode_chunks
from stages.execution.in_process import Undisturbed

LARGEST_CHUNK = 4


class Watch:
    """Counts the frames that somebody still holds."""

    def __init__(self) -> None:
        self.alive = self.most = 0

    def over(self, chunks: Iterator[Frames]) -> Iterator[Frames]:
        for chunk in chunks:
            self._add(len(chunk))
            weakref.finalize(chunk, self._add, -len(chunk))
            yield chunk
            del chunk

    def _add(self, frames: int) -> None:
        self.alive += frames
        self.most = max(self.most, self.alive)


@pytest.mark.parametrize("frames", [17, 161])
def test_at_most_the_chunk_being_encoded_and_the_next_two_are_alive(frames: int) -> None:
    """One in x264, one just handed over and waiting for it, one being yielded: however many frames there are."""
    torch.set_num_threads(1)
    folder = Path("bundles/tiny")
    asked = PromptSubmitted(prompt="a", size="32x32", num_frames=frames)
    recipe = recipe_of(asked, "video_test", read_bundles([folder]), "tiny")
    wan = Wan(Bundle.open(folder), torch.device("cpu"))
    wan.load_decoder()
    watch = Watch()
    _, _, count = encode_chunks(watch.over(decode_frames(wan, wan.start(recipe)["latents"])), recipe, Undisturbed())
    assert count == frames
    assert 0 < watch.most <= 3 * LARGEST_CHUNK
    assert watch.alive == 0


def test_peak_memory_is_flat_from_17_to_161_frames() -> None:
    """Less than the frames alone would take as uint8, x264's own included; as floats they take four times as much."""
    frames, side = 161, 128
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    argv = [sys.executable, "-m", "tests.runner.memory_child", str(frames), str(side)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env={**os.environ, **malloc})
    measured = json.loads(done.stdout)
    assert measured["frames"] == frames
    assert measured["growth"] < np.zeros((frames, side, side, 3), np.uint8).nbytes
