"""A second pair of eyes: kills what a keeper leaves behind when it is SIGKILLed.

Every process of a stack, and so each of its descendants, carries a mark in its environment; a descendant may change
its session and its parent may die, the mark stays. The guard reads a pipe that only its keeper holds: the end of the
pipe is the end of the keeper, however that came.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MARK = "LATENTLINE_KEPT_BY"


class Guard:
    """The keeper's side. Starts at the first `check`; one that was killed itself, or could not start, at the next."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._popen: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        if self._popen is None or self._popen.poll() is not None:
            argv = [sys.executable, "-m", "infra.local.reaper", self.mark]
            # A machine that has no process to spare now may have one later; the stack goes on without it.
            with suppress(OSError):
                self._popen = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """Let it kill what is left, and end."""
        if self._popen is not None:
            self._popen.communicate()


def mark_of(process: psutil.Process) -> str:
    """The mark that a living process carries; empty where it has none, or is not ours to look at."""
    import psutil

    with suppress(psutil.Error):
        return process.environ().get(MARK, "") if process.status() != psutil.STATUS_ZOMBIE else ""
    return ""


def kill_marked(mark: str) -> None:
    """SIGKILL to every process whose mark begins with this one, until there is none."""
    import psutil

    while left := [process for process in psutil.process_iter() if mark_of(process).startswith(mark)]:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)


def main(mark: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    kill_marked(mark)


if __name__ == "__main__":
    main(sys.argv[1])
