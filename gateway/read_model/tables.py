"""The tables of the read model."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()
JOBS = Table(
    "jobs",
    metadata,
    Column("job", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("status", String, nullable=False),
    Column("stage", String),
    Column("priority", Integer, nullable=False),
    Column("accepted_at", Float(53), nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("expires_at", Float(53)),
    Column("catalogued", Boolean, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Index("jobs_of_a_tenant", "tenant", "accepted_at", "job"),
    # All that the place in a queue asks, so that it is counted without looking at jobs.
    Index("jobs_in_queues", "status", "stage", "hidden", "priority", "accepted_at"),
)
"""Of a job that the line has forgotten, `catalogued`, the state is the record of its video."""
VIDEOS = Table(
    "videos",
    metadata,
    Column("job", String, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)
"""The catalogue: what is left to show once a job is forgotten."""
STEPS = Table(
    "steps",
    metadata,
    Column("job", String, primary_key=True),
    Column("percent", Integer, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("step_seconds", Float),
    Column("preview_step", Integer),
)
"""Apart from the jobs, since nothing says which of the two topics is read first."""
OFFSETS = Table(
    "offsets",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)
SOURCE = Table(
    "source",
    metadata,
    Column("name", String, primary_key=True),
    Column("read_at", Float(53), nullable=False),
)
"""Which log this is a view of, and when it was last read: a view of another one, or of long ago, is worth nothing."""
