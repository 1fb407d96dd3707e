"""A process under watch: started when it is due, started again with back-off when it dies."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass

from infra.local.process import Process, tail

FIRST_DELAY, LONGEST_DELAY, STEADY_SECONDS = 0.5, 30.0, 60.0

LINES_TOLD, LONGEST_TOLD = 5, 1500

log = logging.getLogger(__name__)


@dataclass
class SupervisedProcess:
    process: Process
    leaves_with: int | None = 0
    """Exit code with which it has left on purpose and stays away; None: it has no purpose but to run."""
    restarts: int = 0
    last_exit: int | None = None
    delay: float = FIRST_DELAY
    started_at: float = 0.0
    start_at: float | None = 0.0
    """When it is due; None while it runs or has left."""

    def turn(self, now: float) -> bool:
        """Whether anything changed. `now`: monotonic seconds."""
        if self.start_at is not None and now >= self.start_at:
            return self._started(now)
        if self.start_at is None and self.process.exit_code is not None:
            self._ended(now)
            return True
        return False

    def _started(self, now: float) -> bool:
        """A machine that refuses a process, or a log for it, may have room again later: a full disk, say."""
        try:
            self.process.start()
        except OSError as error:
            log.warning("%s cannot start: %s; again in %g s", self.process.name, error, self.delay)
            self._postpone(now)
            return False
        self.started_at, self.start_at = now, None
        return True

    def _postpone(self, now: float) -> None:
        self.start_at = now + self.delay
        self.delay = min(self.delay * 2, LONGEST_DELAY)

    def _ended(self, now: float) -> None:
        self.last_exit = self.process.exit_code
        self.process.clear()
        if self.last_exit == self.leaves_with:
            log.info("%s has left", self.process.name)
            return
        if now - self.started_at > STEADY_SECONDS:
            self.delay = FIRST_DELAY
        log.warning("%s ended with %s, starts again in %g s", self.process.name, self.last_exit, self.delay)
        self.process.environment["LATENTLINE_LAST_END"] = last_end(self.last_exit, tail(self.process.log, LINES_TOLD))
        self.restarts += 1
        self._postpone(now)


def last_end(code: int | None, lines: str) -> str:
    """How a process ended, and the last lines of its log: evidence for whoever has to tell what killed it."""
    how = f"ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with exit code {code}"
    # An environment variable holds no NUL.
    told = lines[-LONGEST_TOLD:].replace("\0", "")
    return f"{how}; its log ends with:\n{told}" if told else how
