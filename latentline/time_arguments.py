"""A moment as people say it: how long ago (`30m`), or when (`2026-03-01T12:00`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import typer

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def moment(text: str | None, now: float) -> float | None:
    """Unix seconds; a time without offset is UTC. Raises `typer.BadParameter`."""
    if text is None:
        return None
    if age := AGE.fullmatch(text):
        return now - float(age[1]) * SECONDS[age[2]]
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither an age (90s, 30m, 2h, 7d) nor a time (ISO 8601)") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
