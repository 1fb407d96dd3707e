"""Whether a worker can use what it needs: the store answers, the disk has room. Looked at by a thread of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

INTERVAL_S = 2.0
STORE_ANSWER_S = 3.0
"""A store that takes longer than that to say whether its bucket exists is not there, seconds."""

READY = "ready"


class Surroundings:
    """`condition` is `ready`, `store_unreachable` or `disk_full`; `changed` is called with each new one.

    `least_free`: bytes below which the disk of `data` counts as full.
    """

    def __init__(
        self, data: Path, least_free: int, is_reachable: Callable[[], bool], changed: Callable[[str], None],
        interval: float = INTERVAL_S,
    ) -> None:  # fmt: skip
        self.condition = READY
        self._data, self._is_reachable, self._changed = data, is_reachable, changed
        self._interval, self._least_free = interval, least_free
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="surroundings", daemon=True)
        self._thread.start()

    def look(self) -> str:
        self._data.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._data).free < self._least_free:
            return "disk_full"
        return READY if self._is_reachable() else "store_unreachable"

    def _watch(self) -> None:
        while True:
            seen = self.look()
            if seen != self.condition:
                self.condition = seen
                self._changed(seen)
            if self._stop.wait(self._interval):
                return

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
