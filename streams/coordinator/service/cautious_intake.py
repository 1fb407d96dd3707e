"""After a life of the coordinator that did not turn: prompts one at a time, until the one it hangs on is found.

The former life did not commit, so the next one meets the same prompts. It notes each before it takes it in alone. One
that two lives in a row were ended over is dead-lettered by the third; a life that ended in any other way, as by a kill
or a broker that was away, counts for nothing.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import orjson
import structlog

from runtime.settings import Settings
from runtime.watchdog import former_report, report_of
from streams.coordinator.core.dispatch import Record

LIVES = 2
"""How many lives a prompt may end."""

log = structlog.get_logger(__name__)


class Caution:
    """`left` prompts are still to be taken in alone."""

    def __init__(self, note: Path, left: int = 0) -> None:
        self._note, self.left = note, left
        self._suspect, self._lives = last_noted(note)

    @classmethod
    def after_former_life(cls, settings: Settings, batch: int) -> Caution:
        """Of `batch` prompts, the most that one turn takes in. None at all, if the former life did not hang.

        Call it before a watchdog of this life begins its own report.
        """
        report = report_of(settings, "coordinator")
        note = report.with_suffix(".json")
        if former_report(report):
            return cls(note, batch)
        note.unlink(missing_ok=True)
        return cls(note)

    def prepared(self, record: Record) -> Record:
        """The record as it may be taken in alone; one that has ended too many lives, as one to be dead-lettered."""
        place = record.raw.origin
        lives = self._lives if place == self._suspect else 0
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.write_bytes(orjson.dumps({"place": place, "lives": lives + 1}))
        if lives < LIVES:
            return record
        log.error("a prompt on which the coordinator hangs is dead-lettered", origin=place, lives=lives)
        return record._replace(fault=f"{lives} lives of the coordinator did not get on with it and were ended")

    def taken_in(self) -> None:
        """What was prepared is committed."""
        self.left -= 1
        if not self.left:
            self._note.unlink(missing_ok=True)


def last_noted(note: Path) -> tuple[str, int]:
    """The prompt that the former life took in alone, and how many lives it has ended."""
    with suppress(OSError, orjson.JSONDecodeError, KeyError):
        noted = orjson.loads(note.read_bytes())
        return str(noted["place"]), int(noted["lives"])
    return "", 0
