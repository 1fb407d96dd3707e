"""Removes the files of deleted jobs from the store, beside everything else.

It hears of a deletion from `jobs`, so a gateway that was down when it was asked for does it later, and again when the
view is rebuilt: removing what is gone costs a listing.
"""

from __future__ import annotations

from collections import deque
from threading import Event, Thread

import structlog

from schemas import places
from schemas.errors import LatentlineError
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from stages.store import ArtifactStore

TURN_S = 0.5

log = structlog.get_logger(__name__)


class Sweeper:
    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._deleted: deque[tuple[str, str]] = deque()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def see(self, state: JobState) -> None:
        if state.status is JobStatus.DELETED:
            self._deleted.append((state.tenant, state.job))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(TURN_S):
            while self._deleted and not self._stop.is_set() and self._sweep(*self._deleted[0]):
                self._deleted.popleft()

    def _sweep(self, tenant: str, job: str) -> bool:
        """The manifest first: without it the others exist for nobody. False: the store is away, try again."""
        try:
            found = self._store.list(places.folder(tenant, Stage.MUX, "", job) + "/")
            for key in sorted(found, key=lambda key: not key.endswith("/manifest.json")):
                self._store.remove(key)
            self._store.remove(places.preview(tenant, job))
        except LatentlineError as error:
            log.warning("the files of a deleted job cannot be removed yet", job=job, error=str(error))
            return False
        return True
