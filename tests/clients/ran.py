"""Runs the checks with a client's own Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson

from tests.clients import PINS, python_of

CHECKS = Path(__file__).with_name("checks.py")


def ran(name: str, given: dict[str, str], *checks: str, script: Path = CHECKS, seconds: float = 200) -> None:
    """Raises `AssertionError` with everything that went wrong."""
    python = python_of(name)
    missing = f"{PINS[name]} is not installed: run `make test-deps`, or `python -m tests.clients {name}`"
    assert (python.parents[1] / PINS[name]).exists(), missing
    told = subprocess.run(
        [python, "-I", script, orjson.dumps(given).decode(), *checks], capture_output=True, text=True, timeout=seconds
    )
    assert told.returncode == 0, told.stderr
    wrong = {check: what for check, what in orjson.loads(told.stdout.splitlines()[-1]).items() if what is not None}
    assert not wrong, "\n\n".join(f"{check} with {PINS[name]}:\n{what}" for check, what in wrong.items())
