"""What tests share: waiting for something to become true, never for time to pass."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

OUTAGE_S = float(os.environ.get("LATENTLINE_TEST_OUTAGE_S", "5"))
"""How long what the line stands on is away in tests that are not `long`; those have full lengths."""


def eventually(probe: Callable[[], Value | None], deadline: float = 30.0, interval: float = 0.02) -> Value:
    """The first truthy answer of `probe`. Raises `AssertionError` with the last answer after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(
                f"not within {deadline:g} s: {getattr(probe, '__name__', probe)}; last answer {answer!r}"
            )
        time.sleep(interval)


def is_a_test(node: str) -> bool:
    """Whether `tests/FILE.py::NAME` (with or without parameters) names a test function of this repository."""
    file, _, name = node.partition("::")
    path = Path(__file__).resolve().parents[1] / file
    return path.is_file() and f"def {name.partition('[')[0]}(" in path.read_text()
