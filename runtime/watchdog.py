"""Ends a process that is alive and does not turn, so that its supervisor starts it anew.

A thread looks whether each loop has turned since its last look. That is not enough: a call that holds the interpreter's
lock holds up this thread too. So each look also winds up a timer of processor time, which the kernel keeps: it runs out
when the process computes and the thread gets no turn. A process that is stopped, or whose machine sleeps, computes
nothing, and one look never counts for more than a third of what it takes: neither is taken for a loop that hangs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import structlog

from runtime import metrics
from runtime.settings import Settings

STALLED_SHARE = 0.25
"""The share of `stuck_after_s` after which a process without a turn says that it is not ready."""
LOOKS, LONGEST_LOOK = 30, 3
"""How often it looks within `stuck_after_s`; what share of it one look counts for at most."""
GOODBYE_S = 5

log = structlog.get_logger(__name__)


class Turns:
    """What a loop tells of itself: call `turned` at each turn. It is watched from the first one on."""

    def __init__(self, loop: str) -> None:
        self.loop, self.count = loop, 0
        self.at = time.monotonic()
        self.thread: int | None = None

    def turned(self) -> None:
        """It is alive, and may be so again and again within one long turn."""
        self.count, self.at, self.thread = self.count + 1, time.monotonic(), threading.get_ident()

    async def turn_with_loop(self) -> None:
        """For an event loop: turn with it for as long as it runs."""
        while True:
            self.turned()
            await asyncio.sleep(1.0)

    @property
    def age(self) -> float:
        """Seconds since the last turn; none while there was none yet."""
        return time.monotonic() - self.at if self.count else 0.0

    def reason(self, stuck_after: float) -> str | None:
        """Why a process whose loop does not turn is not ready; `stuck_after` as in the settings."""
        longest = STALLED_SHARE * stuck_after
        return f"{self.loop}: no turn for {longest:g} s" if self.age > longest else None


class Silence:
    """For how long each loop has been silent, in seconds in which somebody could look."""

    def __init__(self, loops: Iterable[Turns], stuck_after: float) -> None:
        self._stuck_after = stuck_after
        self._seen = {turns: (turns.count, 0.0) for turns in loops}
        self._looked_at: float | None = None

    def look(self, now: float) -> Turns | None:
        """A loop that is stuck. `now`: monotonic seconds."""
        since = 0.0 if self._looked_at is None else min(now - self._looked_at, self._stuck_after / LONGEST_LOOK)
        self._looked_at = now
        for turns, (count, silent) in self._seen.items():
            self._seen[turns] = (turns.count, silent + since if turns.count == count else 0.0)
        found = ((turns, silent) for turns, (count, silent) in self._seen.items() if count)
        return next((turns for turns, silent in found if silent > self._stuck_after), None)


class Watchdog:
    """Watches the loops of this process between `__enter__` and `__exit__`. Enter it in the main thread."""

    def __init__(self, settings: Settings, process: str, loops: Iterable[Turns]) -> None:
        self._loops, self._stuck_after = tuple(loops), settings.stuck_after_s
        self._silence = Silence(self._loops, self._stuck_after)
        self._path = report_of(settings, process)
        self._report: IO[str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        if told := former_report(self._path):
            log.error("the former life of this process did not turn", report=told)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._report = self._path.open("w")
        faulthandler.register(signal.SIGPROF, file=self._report or sys.stderr, all_threads=True, chain=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        faulthandler.unregister(signal.SIGPROF)
        if self._report is not None:
            self._report.close()

    def _run(self) -> None:
        while not self._stop.wait(self._stuck_after / LOOKS):
            signal.setitimer(signal.ITIMER_PROF, self._stuck_after)
            for turns in self._loops:
                metrics.TURN_AGE.labels(metrics.LOOP.of(turns.loop)).set(turns.age)
            if (stuck := self._silence.look(time.monotonic())) is not None:
                self._end(stuck)

    def _end(self, stuck: Turns) -> None:
        # Whoever is stuck may hold the lock of the log: then the process ends without this line.
        faulthandler.dump_traceback_later(GOODBYE_S, exit=True, file=self._report or sys.stderr)
        if self._report is not None:
            faulthandler.dump_traceback(self._report, all_threads=True)
        frame = sys._current_frames().get(stuck.thread or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "its thread has ended"
        log.error("a loop does not turn: the process ends and must be started anew", loop=stuck.loop, stack=stack)
        os._exit(1)


def report_of(settings: Settings, process: str) -> Path:
    """Where a life that did not turn leaves the stacks of its threads. Code alone: no value of a variable is told."""
    return settings.data_dir / "stuck" / f"{process}-{settings.worker_name}.txt"


def former_report(path: Path) -> str:
    """What the former life has left there; empty when it ended in any other way."""
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
