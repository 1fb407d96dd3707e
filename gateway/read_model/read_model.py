"""What the gateway knows of jobs: a view of `jobs`, `videos` and `progress` in a database.

It may be wiped at any time.

Each batch goes in together with the offsets after it, in one transaction, so a restart goes on where it was. An older
state never replaces a newer one, so several readers may feed one database. A prompt that was just accepted stands in
it as a row of version 0 until `jobs` tells of it: its creator can ask for it at once.

`jobs` and `progress` come in no order between them, and `progress` is forgotten within the hour. So a job that has
ended is told of by its state alone, and of one that lives the farthest step and the latest are kept apart from it. Of a
job that `jobs` has let go of there is left what the catalogue says of its video, as long as that lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from gateway.read_model.batch import Batch, Position
from gateway.read_model.database import Erasure, alone, opened
from gateway.read_model.queue_places import Queues
from gateway.read_model.rows import Row, row_of, values_of_job, values_of_record, values_of_step
from gateway.read_model.statements import (
    AHEAD,
    EXPECTED,
    FARTHEST,
    FIND,
    ROWS,
    VISIBLE,
    put_catalogued,
    put_jobs,
    put_offsets,
    put_steps,
    put_videos,
)
from gateway.read_model.tables import JOBS, OFFSETS, SOURCE, STEPS, VIDEOS, metadata
from schemas.catalogue import VideoRecord
from schemas.errors import ErrorReport
from schemas.job import JobState, JobStatus


class ReadModel:
    """Every call may be made from any thread."""

    def __init__(self, url: str) -> None:
        self._engine = opened(url)
        self._queues = Queues()
        self._erasure = Erasure(self._engine)

    @classmethod
    def in_folder(cls, folder: Path) -> ReadModel:
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / 'jobs.sqlite'}")

    def close(self) -> None:
        self._engine.dispose()

    # -- writing -------------------------------------------------------------------------------------------------

    def open_source(self, name: str, oldest: float) -> dict[Position, int]:
        """Where to go on reading. Everything is wiped first if it is of another log, or was read before `oldest`."""
        with self._engine.begin() as connection:
            alone(connection)
            known = connection.execute(select(SOURCE.c.read_at).where(SOURCE.c.name == name)).scalar()
            if known is None or known < oldest:
                for table in metadata.sorted_tables:
                    connection.execute(delete(table))
                connection.execute(insert(SOURCE).values(name=name, read_at=oldest))
            found = connection.execute(select(OFFSETS)).all()
        return {(row.topic, row.partition): row.next for row in found}

    def take(self, batch: Batch, now: float) -> None:
        with self._engine.begin() as connection:
            # First, so that it holds back every other feed of this database: two that update the same jobs in another
            # order would wait for each other.
            connection.execute(update(SOURCE).values(read_at=now))
            _take_videos(connection, batch)
            if batch.forgotten:
                for table in (JOBS, STEPS):
                    connection.execute(delete(table).where(table.c.job.in_(batch.forgotten)))
            steps = [values_of_step(step, batch.percents[job]) for job, step in batch.steps.items()]
            offsets = [
                {"topic": topic, "partition": partition, "next": next_}
                for (topic, partition), next_ in batch.offsets.items()
            ]
            _put(connection, put_jobs, [values_of_job(state, data) for state, data in batch.states.values()])
            _show_catalogued(connection, batch)
            _put(connection, put_steps, steps)
            _put(connection, put_offsets, offsets)
        if batch.deletes:
            self._erasure.ask()

    def erase(self, now: float) -> None:
        """Wipe what batches have deleted, when it is time. `now`: seconds on a monotonic clock. For the feed's thread.

        A row that is overwritten or deleted is zeroed in the database, and stays in its log until then.
        """
        self._erasure.turn(now)

    def expect(self, states: Sequence[JobState]) -> list[int]:
        """Jobs of which `jobs` is still to tell, the earliest first. Returns how many come before each.

        Called by one thread at a time.
        """
        with self._engine.begin() as connection:
            _put(connection, put_jobs, [values_of_job(state, state.to_bytes()) | {"version": 0} for state in states])
            return [min(self._queues.ahead_of(state, partial(_ahead_of, connection)), FARTHEST) for state in states]

    def give_up(self, job: str, error: ErrorReport, now: float) -> bool:
        """A job of which `jobs` never told has failed; whether it was still expected. What `jobs` tells wins."""
        with self._engine.begin() as connection:
            found = connection.execute(select(JOBS.c.state).where(JOBS.c.job == job, EXPECTED)).scalar()
            if found is None:
                return False
            state = JobState.read(found).replace(status=JobStatus.FAILED, ended_at=now, updated_at=now, error=error)
            values = {"status": str(state.status), "state": state.to_bytes()}
            connection.execute(update(JOBS).where(JOBS.c.job == job, EXPECTED).values(values))
        return True

    def forget_expected(self, before: float) -> None:
        """Let go of jobs that were accepted before a time, unix seconds, and of which `jobs` never told."""
        old = [JOBS.c.version == 0, JOBS.c.accepted_at < before]
        with self._engine.begin() as connection:
            if connection.execute(delete(JOBS).where(*old)).rowcount:
                self._erasure.ask()

    def hide(self, job: str) -> None:
        """Show it to nobody any more: its deletion has been accepted."""
        with self._engine.begin() as connection:
            connection.execute(update(JOBS).where(JOBS.c.job == job).values(hidden=True))

    # -- reading -------------------------------------------------------------------------------------------------

    def find(self, job: str) -> Row | None:
        """Whoever's it is, and also when it is deleted."""
        if "\0" in job:
            # PostgreSQL refuses to look for it.
            return None
        with self._engine.connect() as connection:
            found = connection.execute(FIND, {"job": job}).one_or_none()
        return None if found is None else row_of(found)

    def get(self, tenant: str, job: str) -> Row | None:
        """None unless it is this tenant's and is not deleted."""
        row = self.find(job)
        return row if row is not None and row.state.tenant == tenant and row.is_visible else None

    def page(self, tenant: str, after: Row | None, limit: int, newest_first: bool) -> tuple[list[Row], bool]:
        """Jobs of which `jobs` has told, in the order of their acceptance, and whether there are more.

        That order never changes, so a page begins where the one before it ended.
        """
        place = tuple_(JOBS.c.accepted_at, JOBS.c.job)
        order = [JOBS.c.accepted_at.desc(), JOBS.c.job.desc()] if newest_first else [JOBS.c.accepted_at, JOBS.c.job]
        wanted = ROWS.where(JOBS.c.tenant == tenant, JOBS.c.version > 0, VISIBLE).order_by(*order)
        if after is not None:
            mark = tuple_(after.state.accepted_at, after.state.job)
            wanted = wanted.where(place < mark if newest_first else place > mark)
        with self._engine.connect() as connection:
            found = connection.execute(wanted.limit(limit + 1), {"now": time.time()}).all()
        return [row_of(each) for each in found[:limit]], len(found) > limit

    def expected(self, tenant: str, since: float) -> list[str]:
        """Jobs that were accepted after `since` and of which `jobs` has not told yet."""
        wanted = select(JOBS.c.job).where(JOBS.c.tenant == tenant, JOBS.c.version == 0, JOBS.c.accepted_at > since)
        with self._engine.connect() as connection:
            return list(connection.execute(wanted).scalars())

    def all_expected(self, before: float) -> list[str]:
        """Jobs of any tenant that were accepted before a time, and of which `jobs` has not told yet."""
        wanted = select(JOBS.c.job).where(EXPECTED, JOBS.c.accepted_at < before)
        with self._engine.connect() as connection:
            return list(connection.execute(wanted).scalars())

    def since(self, tenant: str, moment: float) -> list[Row]:
        """Jobs that were accepted after `moment`, the latest first."""
        wanted = ROWS.where(JOBS.c.tenant == tenant, JOBS.c.accepted_at > moment, VISIBLE)
        with self._engine.connect() as connection:
            found = connection.execute(wanted.order_by(JOBS.c.accepted_at.desc()), {"now": time.time()})
            return [row_of(each) for each in found]

    def ahead_of(self, state: JobState) -> int:
        """How many jobs wait for the same stage and come first; `FARTHEST` where there are more."""
        with self._engine.connect() as connection:
            return _ahead_of(connection, state)

    def latest(self, status: JobStatus, limit: int) -> list[JobState]:
        """The last accepted of those that ended like this."""
        known = JOBS.c.status == str(status), JOBS.c.catalogued.is_(False)
        wanted = select(JOBS.c.state).where(*known).order_by(JOBS.c.accepted_at.desc())
        with self._engine.connect() as connection:
            return [JobState.read(data) for data in connection.execute(wanted.limit(limit)).scalars()]


def _take_videos(connection: Connection, batch: Batch) -> None:
    gone = [job for job, record in batch.videos.items() if record is None]
    if gone:
        connection.execute(delete(VIDEOS).where(VIDEOS.c.job.in_(gone)))
        connection.execute(delete(JOBS).where(JOBS.c.job.in_(gone), JOBS.c.catalogued))
    records = [record for record in batch.videos.values() if record is not None]
    _put(connection, put_videos, [{"job": record.job, "record": record.to_bytes()} for record in records])


def _show_catalogued(connection: Connection, batch: Batch) -> None:
    """A job that is forgotten, or that `jobs` has not told of, is what the catalogue says of it."""
    jobs = [job for job, record in batch.videos.items() if record is not None] + [*batch.forgotten]
    if not jobs:
        return
    wanted = select(VIDEOS.c.record).where(VIDEOS.c.job.in_(jobs))
    records = [VideoRecord.read(data) for data in connection.execute(wanted).scalars()]
    _put(connection, put_catalogued, [values_of_record(record) for record in records])


def _put(connection: Connection, statement: Callable[[str], Any], rows: Sequence[dict[str, Any]]) -> None:
    """`statement`: by dialect."""
    if rows:
        connection.execute(statement(connection.dialect.name), rows)


def _ahead_of(connection: Connection, state: JobState) -> int:
    place = {"stage": str(state.stage), "priority": state.priority, "accepted_at": state.accepted_at}
    return min(connection.execute(AHEAD, place).scalar_one(), FARTHEST)
