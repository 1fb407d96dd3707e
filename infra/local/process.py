"""One OS process of the stack: own log file, own session, and nothing of it left once it has been cleared."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.reaper import MARK, kill_marked


@dataclass
class Process:
    """`mark`: by which it and its descendants are found; none other on this machine may have it."""

    name: str
    argv: list[str]
    log: Path
    mark: str
    environment: dict[str, str] = field(default_factory=dict)
    _popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.environment, MARK: self.mark},
            )  # fmt: skip

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.poll() if self._popen else None

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def terminate(self) -> None:
        """SIGTERM, if it runs. Returns at once."""
        if self._popen is not None and self.is_running:
            self._popen.terminate()

    def stop(self, grace: float) -> None:
        """SIGTERM, at most `grace` seconds, then SIGKILL to it and its descendants."""
        if self._popen is not None:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
            self.clear()

    def clear(self) -> None:
        """Kill what is left of it and of its descendants."""
        if self._popen is not None:
            kill_marked(self.mark)
            self._popen.wait()
            self._popen = None


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for the person who reads why something failed."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 64 * 1024, 0))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
