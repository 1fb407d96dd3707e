"""What tests share: waiting for something to become true, never for time to pass."""

from __future__ import annotations

import ast
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
    path, name = place_of(node)
    return path.is_file() and f"def {name}(" in path.read_text()


def is_long(node: str) -> bool:
    """Whether all of a test is marked `long`, so that `make test` leaves it out."""
    path, name = place_of(node)
    body = ast.parse(path.read_text()).body
    [test] = [part for part in body if isinstance(part, ast.FunctionDef) and part.name == name]
    marks = [
        part.value for part in body if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "pytestmark"
    ]
    return any("long" in ast.unparse(mark) for mark in marks) or any(
        ast.unparse(mark).endswith("long") for mark in test.decorator_list
    )


def place_of(node: str) -> tuple[Path, str]:
    file, _, name = node.partition("::")
    return Path(__file__).resolve().parents[1] / file, name.partition("[")[0]
