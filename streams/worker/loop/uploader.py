"""Puts parked results up when the store is back, in a thread of its own: see `stages.storage.spool`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread

import structlog

from schemas.errors import StoreUnavailable
from stages.execution.execute import deliver
from stages.results import Result
from stages.storage.artifacts import ArtifactStore
from stages.storage.spool import Entry, Spool, SpoolCorrupt

AGAIN_S = 1.0
"""Between two looks at a store that is away; the store's breaker lengthens the rest."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Uploaded:
    """A parked result is in the store."""

    entry: Entry
    result: Result

    @property
    def lease(self) -> int:
        return self.entry.task.lease


@dataclass(frozen=True)
class UploadFailed:
    """A parked result is of no use: the lease must be given back."""

    lease: int


def inherited(spool: Spool) -> list[Entry]:
    """What earlier lives of this worker have left. For a new life, before it has a child that writes."""
    spool.clear_parts()
    entries = []
    for lease in spool.leases():
        try:
            entries.append(spool.entry(lease))
        except SpoolCorrupt as error:
            log.warning("a parked result is of no use and is removed", lease=lease, why=str(error))
            spool.remove(lease)
    return entries


class Uploader:
    """What became of each entry goes into `events` once; the entry stays until `drop`, so that a life that ends before
    its outcome is out leaves it to the next."""

    def __init__(self, spool: Spool, store: ArtifactStore, events: Callable[[Uploaded | UploadFailed], None]) -> None:
        self._spool, self._store, self._events = spool, store, events
        self._dropped: SimpleQueue[int] = SimpleQueue()
        self._told: set[int] = set()
        self._wake, self._stop = Event(), Event()
        self._wake.set()
        self._thread = Thread(target=self._serve, name="uploader", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """There is something new in the spool."""
        self._wake.set()

    def drop(self, lease: int) -> None:
        """Remove the entry, if there is one: its outcome is out, or nobody wants it."""
        self._dropped.put(lease)
        self._wake.set()

    def close(self) -> None:
        """Does not wait for an upload under way: it is repeated by the next life."""
        self._stop.set()
        self._wake.set()
        self._thread.join(1.0)
        self._remove_dropped()
        self._spool.disown()

    def _serve(self) -> None:
        waits: float | None = None
        while not self._stop.is_set():
            self._wake.wait(waits)
            self._wake.clear()
            self._remove_dropped()
            waits = None if self._put_up() else AGAIN_S * random.uniform(0.75, 1.25)

    def _remove_dropped(self) -> None:
        while not self._dropped.empty():
            lease = self._dropped.get()
            self._spool.remove(lease)
            self._told.discard(lease)

    def _put_up(self) -> bool:
        """Whether nothing is left to do."""
        left = [lease for lease in self._spool.leases() if lease not in self._told]
        try:
            if left and not self._spool.own():
                return False
        except OSError as error:
            log.warning("the spool cannot be locked", why=str(error))
            return False
        return all(self._put(lease) for lease in left)

    def _put(self, lease: int) -> bool:
        try:
            entry = self._spool.entry(lease)
            event: Uploaded | UploadFailed = Uploaded(entry, deliver(self._store, self._spool.made(entry)))
        except StoreUnavailable:
            return False
        except Exception as error:
            # Torn, or a bug: its stage has to run again, whatever it is.
            log.error("a parked result is of no use", lease=lease, exc_info=error)
            event = UploadFailed(lease)
        if self._stop.is_set():
            return True
        self._told.add(lease)
        self._events(event)
        return True
