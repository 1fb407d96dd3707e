"""The SQL of the read model that is asked for each job of each page or batch: put together once."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, case, func, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.read_model.tables import JOBS, OFFSETS, STEPS, VIDEOS
from schemas.job import JobStatus

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
VISIBLE = and_(
    JOBS.c.hidden.is_(False), JOBS.c.status != str(JobStatus.DELETED),
    or_(JOBS.c.expires_at.is_(None), JOBS.c.expires_at > bindparam("now")),
)  # fmt: skip
# Two ranges of the index, where an `or` would read all of it.
AHEAD = select(
    _first(JOBS.c.priority > bindparam("priority"))
    + _first(JOBS.c.priority == bindparam("priority"), JOBS.c.accepted_at < bindparam("accepted_at"))
)


STATED = ("version", "status", "stage", "priority", "accepted_at", "state", "expires_at", "catalogued")


def _insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


@cache
def put_jobs(dialect: str) -> Any:
    """Newer states replace older ones, and any of them a record of the catalogue; what is hidden stays hidden."""
    statement = _insert(dialect)(JOBS)
    new = statement.excluded
    changed = {name: new[name] for name in STATED}
    kept = {"hidden": or_(JOBS.c.hidden, new.hidden)}
    newer = or_(new.version > JOBS.c.version, JOBS.c.catalogued)
    return statement.on_conflict_do_update(index_elements=[JOBS.c.job], set_=changed | kept, where=newer)


@cache
def put_catalogued(dialect: str) -> Any:
    """What the catalogue says of a job shows where nothing else is known of it."""
    statement = _insert(dialect)(JOBS)
    changed = {name: statement.excluded[name] for name in STATED}
    return statement.on_conflict_do_update(index_elements=[JOBS.c.job], set_=changed, where=JOBS.c.catalogued)


@cache
def put_videos(dialect: str) -> Any:
    statement = _insert(dialect)(VIDEOS)
    return statement.on_conflict_do_update(
        index_elements=[VIDEOS.c.job], set_={"record": statement.excluded.record}
    )  # fmt: skip


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
