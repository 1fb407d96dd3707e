"""When a life of a worker began. Of two lives of one name the later one is the right one, so this must not go back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LEAST_S = 0.001


def began(file: Path, now: float) -> float:
    """`now` (unix seconds), but later than the life before it that kept its time in `file`, whatever the clock did.

    Else a worker that is started again after the clock was set back is told to leave in favour of its dead forerunner.
    """
    with suppress(OSError, ValueError):
        now = max(now, float(file.read_text()) + LEAST_S)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(repr(now))
        partial.replace(file)
    return now
