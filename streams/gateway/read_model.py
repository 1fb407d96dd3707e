"""What the gateway knows of jobs: a view of `jobs` and `progress` in a database, which may be wiped at any time.

Each batch goes in together with the offsets after it, in one transaction, so a restart goes on where it was. An older
state never replaces a newer one, so several readers may feed one database. A prompt that was just accepted stands in
it as a row of version 0 until `jobs` tells of it: its creator can ask for it at once.

`jobs` and `progress` come in no order between them, and `progress` is forgotten within the hour. So a job that has
ended is told of by its state alone, and of one that lives the farthest step and the latest are kept apart from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    and_,
    bindparam,
    case,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from schemas.events import StepProgress
from schemas.job import JobState, JobStatus
from streams.gateway.queues import Queues
from streams.gateway.tables import JOBS, OFFSETS, SOURCE, STEPS, metadata
from streams.percent import percent_of_state, percent_of_step

CONNECTIONS = 40
"""As many as there are threads for requests."""
OPENING = 0x6C61_7465
"""The advisory lock of who opens the database."""
FARTHEST = 1000
"""Nobody asks how far beyond; and counting a long queue for each job of a page would take long."""
Position = tuple[str, int]
"""Topic and partition."""


def _first(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    waiting = [JOBS.c.status == str(JobStatus.WAITING), JOBS.c.stage == bindparam("stage"), JOBS.c.hidden.is_(False)]
    some = select(literal(1)).select_from(JOBS).where(*waiting, *conditions).limit(FARTHEST).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


# Asked for each job of each page: put together once. Two ranges of the index, where an `or` would read all of it.
ROWS = select(JOBS, *[column for column in STEPS.c if column is not STEPS.c.job]).select_from(
    JOBS.outerjoin(STEPS, JOBS.c.job == STEPS.c.job)
)
FIND = ROWS.where(JOBS.c.job == bindparam("job"))
AHEAD = select(
    _first(JOBS.c.priority > bindparam("priority"))
    + _first(JOBS.c.priority == bindparam("priority"), JOBS.c.accepted_at < bindparam("accepted_at"))
)


@dataclass(frozen=True)
class Row:
    """A job as the gateway knows it. `step` of `steps` belongs to the lease that runs."""

    state: JobState
    version: int
    percent: int = 0
    hidden: bool = False
    step: int | None = None
    steps: int | None = None
    step_seconds: float | None = None
    preview_step: int | None = None
    """The step that the preview in the store shows, whichever lease made it."""
    ahead: int | None = None
    """Jobs that come first, where they were counted when the row was made."""

    @property
    def is_visible(self) -> bool:
        return not (self.hidden or self.state.deleting or self.state.status is JobStatus.DELETED)


@dataclass
class Batch:
    """What was read in one turn: the latest of each job."""

    states: dict[str, tuple[JobState, bytes]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    steps: dict[str, StepProgress] = field(default_factory=dict)
    percents: dict[str, int] = field(default_factory=dict)
    offsets: dict[Position, int] = field(default_factory=dict)

    def state(self, job: str, state: JobState | None, data: bytes = b"") -> None:
        """The next record of `jobs`; None is a tombstone."""
        self.states.pop(job, None)
        self.forgotten.discard(job)
        if state is None:
            self.forgotten.add(job)
        else:
            self.states[job] = state, data

    def step(self, step: StepProgress) -> None:
        """The next record of `progress`. Of a job that began again the farthest step counts and the latest shows."""
        percent, before = percent_of_step(step.stage, step.step, step.steps), self.steps.get(step.job)
        if step.preview_step is None and before is not None:
            step = step.changed(preview_step=before.preview_step)
        self.steps[step.job] = step
        self.percents[step.job] = max(percent, self.percents.get(step.job, 0))


class ReadModel:
    """Every call may be made from any thread."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_size=CONNECTIONS, pool_pre_ping=not url.startswith("sqlite"))
        self._queues = Queues()
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _tune)
        with self._engine.begin() as connection:
            _alone(connection)
            if _is_outdated(connection):
                metadata.drop_all(connection)
            metadata.create_all(connection)

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
            _alone(connection)
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
            if batch.forgotten:
                for table in (JOBS, STEPS):
                    connection.execute(delete(table).where(table.c.job.in_(batch.forgotten)))
            _put(connection, [_values(state, data) for state, data in batch.states.values()])
            if batch.steps:
                steps = [_step_values(step, batch.percents[job]) for job, step in batch.steps.items()]
                connection.execute(_upsert_step(connection.dialect.name), steps)
            _advance(connection, batch.offsets)

    def expect(self, states: Sequence[JobState]) -> list[int]:
        """Jobs of which `jobs` is still to tell, the earliest first. Returns how many come before each.

        Called by one thread at a time.
        """
        with self._engine.begin() as connection:
            _put(connection, [_values(state, state.to_bytes()) | {"version": 0} for state in states])
            return [min(self._queues.ahead_of(state, partial(_ahead_of, connection)), FARTHEST) for state in states]

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
        return None if found is None else _row(found)

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
        wanted = ROWS.where(JOBS.c.tenant == tenant, JOBS.c.version > 0, _visible()).order_by(*order)
        if after is not None:
            mark = tuple_(after.state.accepted_at, after.state.job)
            wanted = wanted.where(place < mark if newest_first else place > mark)
        with self._engine.connect() as connection:
            found = connection.execute(wanted.limit(limit + 1)).all()
        return [_row(each) for each in found[:limit]], len(found) > limit

    def expected(self, tenant: str, since: float) -> list[str]:
        """Jobs that were accepted after `since` and of which `jobs` has not told yet."""
        wanted = select(JOBS.c.job).where(JOBS.c.tenant == tenant, JOBS.c.version == 0, JOBS.c.accepted_at > since)
        with self._engine.connect() as connection:
            return list(connection.execute(wanted).scalars())

    def since(self, tenant: str, moment: float) -> list[Row]:
        """Jobs that were accepted after `moment`, the latest first."""
        wanted = ROWS.where(JOBS.c.tenant == tenant, JOBS.c.accepted_at > moment, _visible())
        with self._engine.connect() as connection:
            return [_row(found) for found in connection.execute(wanted.order_by(JOBS.c.accepted_at.desc()))]

    def ahead_of(self, state: JobState) -> int:
        """How many jobs wait for the same stage and come first; `FARTHEST` where there are more."""
        with self._engine.connect() as connection:
            return _ahead_of(connection, state)

    def latest(self, status: JobStatus, limit: int) -> list[JobState]:
        """The last accepted of those that ended like this."""
        wanted = select(JOBS.c.state).where(JOBS.c.status == str(status)).order_by(JOBS.c.accepted_at.desc())
        with self._engine.connect() as connection:
            return [JobState.read(data) for data in connection.execute(wanted.limit(limit)).scalars()]


def _tune(connection: Any, record: object) -> None:
    """Readers beside the one writer, and no wait for the disk: what a power cut takes is read again."""
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = OFF", "busy_timeout = 10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_outdated(connection: Connection) -> bool:
    """Whether an earlier release made the tables: all that is in them can be read again."""
    found = inspect(connection)
    known = set(found.get_table_names())
    return any(
        {column["name"] for column in found.get_columns(table.name)} != set(table.columns.keys())
        for table in metadata.sorted_tables if table.name in known
    )  # fmt: skip


def _alone(connection: Connection) -> None:
    """One gateway at a time opens a database that several share: PostgreSQL fails who makes a table twice."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(OPENING)))


def _insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def _values(state: JobState, data: bytes) -> dict[str, Any]:
    return {
        "job": state.job, "tenant": state.tenant, "version": state.version, "status": str(state.status),
        "stage": state.stage and str(state.stage), "priority": state.priority, "accepted_at": state.accepted_at,
        "hidden": state.deleting, "state": data,
    }  # fmt: skip


def _step_values(step: StepProgress, percent: int) -> dict[str, Any]:
    return {
        "job": step.job, "percent": percent, "lease": step.lease, "step": step.step, "steps": step.steps,
        "step_seconds": step.step_seconds, "preview_step": step.preview_step,
    }  # fmt: skip


def _put(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(_upsert(connection.dialect.name), rows)


@cache
def _upsert(dialect: str) -> Any:
    """Newer states replace older ones, and what is hidden stays hidden."""
    statement = _insert(dialect)(JOBS)
    new = statement.excluded
    changed = {name: new[name] for name in ("version", "status", "stage", "priority", "accepted_at", "state")}
    kept = {"hidden": or_(JOBS.c.hidden, new.hidden)}
    return statement.on_conflict_do_update(
        index_elements=[JOBS.c.job], set_=changed | kept, where=new.version > JOBS.c.version
    )


@cache
def _upsert_step(dialect: str) -> Any:
    """The latest step and preview show; percents only rise."""
    statement = _insert(dialect)(STEPS)
    new = statement.excluded
    changed = {name: new[name] for name in ("lease", "step", "steps", "step_seconds")}
    kept = {
        "percent": case((STEPS.c.percent > new.percent, STEPS.c.percent), else_=new.percent),
        "preview_step": func.coalesce(new.preview_step, STEPS.c.preview_step),
    }
    return statement.on_conflict_do_update(index_elements=[STEPS.c.job], set_=changed | kept)


def _advance(connection: Connection, offsets: Mapping[Position, int]) -> None:
    """Offsets move forward alone: another reader of this database may be ahead."""
    if not offsets:
        return
    statement = _insert(connection.dialect.name)(OFFSETS)
    new, same = statement.excluded.next, [OFFSETS.c.topic, OFFSETS.c.partition]
    rows = [{"topic": topic, "partition": partition, "next": next_} for (topic, partition), next_ in offsets.items()]
    connection.execute(
        statement.on_conflict_do_update(index_elements=same, set_={"next": new}, where=new > OFFSETS.c.next), rows
    )


def _ahead_of(connection: Connection, state: JobState) -> int:
    place = {"stage": str(state.stage), "priority": state.priority, "accepted_at": state.accepted_at}
    return min(connection.execute(AHEAD, place).scalar_one(), FARTHEST)


def _visible() -> ColumnElement[bool]:
    return and_(JOBS.c.hidden.is_(False), JOBS.c.status != str(JobStatus.DELETED))


def _row(found: Any) -> Row:
    state = JobState.read(found.state)
    percent = percent_of_state(state)
    if state.status.ended or found.lease is None:
        return Row(state, found.version, percent, found.hidden)
    running = state.lease is not None and state.lease.number == found.lease
    step, steps, seconds = (found.step, found.steps, found.step_seconds) if running else (None, None, None)
    return Row(
        state, found.version, max(percent, found.percent), found.hidden, step, steps, seconds, found.preview_step
    )
