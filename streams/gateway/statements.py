"""The SQL of the read model that is asked for each job of each page or batch: put together once."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, case, func, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from schemas.job import JobStatus
from streams.gateway.tables import JOBS, OFFSETS, STEPS

FARTHEST = 1000
"""Nobody asks how far beyond; and counting a long queue for each job of a page would take long."""


def _first(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    waiting = [JOBS.c.status == str(JobStatus.WAITING), JOBS.c.stage == bindparam("stage"), JOBS.c.hidden.is_(False)]
    some = select(literal(1)).select_from(JOBS).where(*waiting, *conditions).limit(FARTHEST).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


ROWS = select(JOBS, *[column for column in STEPS.c if column is not STEPS.c.job]).select_from(
    JOBS.outerjoin(STEPS, JOBS.c.job == STEPS.c.job)
)
FIND = ROWS.where(JOBS.c.job == bindparam("job"))
EXPECTED = and_(JOBS.c.status == str(JobStatus.WAITING), JOBS.c.version == 0)
"""`jobs` has not told of it. The status comes first in an index: of those that wait there are few."""
VISIBLE = and_(JOBS.c.hidden.is_(False), JOBS.c.status != str(JobStatus.DELETED))
# Two ranges of the index, where an `or` would read all of it.
AHEAD = select(
    _first(JOBS.c.priority > bindparam("priority"))
    + _first(JOBS.c.priority == bindparam("priority"), JOBS.c.accepted_at < bindparam("accepted_at"))
)


def _insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


@cache
def put_jobs(dialect: str) -> Any:
    """Newer states replace older ones, and what is hidden stays hidden."""
    statement = _insert(dialect)(JOBS)
    new = statement.excluded
    changed = {name: new[name] for name in ("version", "status", "stage", "priority", "accepted_at", "state")}
    kept = {"hidden": or_(JOBS.c.hidden, new.hidden)}
    return statement.on_conflict_do_update(
        index_elements=[JOBS.c.job], set_=changed | kept, where=new.version > JOBS.c.version
    )


@cache
def put_steps(dialect: str) -> Any:
    """The latest step and preview show; percents only rise."""
    statement = _insert(dialect)(STEPS)
    new = statement.excluded
    changed = {name: new[name] for name in ("lease", "step", "steps", "step_seconds")}
    kept = {
        "percent": case((STEPS.c.percent > new.percent, STEPS.c.percent), else_=new.percent),
        "preview_step": func.coalesce(new.preview_step, STEPS.c.preview_step),
    }
    return statement.on_conflict_do_update(index_elements=[STEPS.c.job], set_=changed | kept)


@cache
def put_offsets(dialect: str) -> Any:
    """Offsets move forward alone: another reader of this database may be ahead."""
    statement = _insert(dialect)(OFFSETS)
    new, same = statement.excluded.next, [OFFSETS.c.topic, OFFSETS.c.partition]
    return statement.on_conflict_do_update(index_elements=same, set_={"next": new}, where=new > OFFSETS.c.next)
