"""A service whose wall clock is an hour ahead from SIGUSR1 to SIGUSR2: `python -m tests.jumping coordinator`."""

from __future__ import annotations

import signal
import time
from types import FrameType

HOUR = 3600.0
AHEAD, BACK = signal.SIGUSR1, signal.SIGUSR2


class WallClock:
    """What `time.time` gives, and how far it is off (seconds)."""

    def __init__(self) -> None:
        self.ahead, self._true = 0.0, time.time

    def time(self) -> float:
        return self._true() + self.ahead

    def jump(self, number: int, frame: FrameType | None) -> None:
        self.ahead += HOUR if number == AHEAD else -HOUR


if __name__ == "__main__":
    clock = WallClock()
    time.time = clock.time
    for number in (AHEAD, BACK):
        signal.signal(number, clock.jump)
    from latentline.main import main

    main()
