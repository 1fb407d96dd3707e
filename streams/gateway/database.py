"""The database of the read model, opened with the tables of this release."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select

from streams.gateway.tables import metadata

CONNECTIONS = 40
"""As many as there are threads for requests."""
OPENING = 0x6C61_7465
"""The advisory lock of who opens the database."""


def opened(url: str) -> Engine:
    """`url`: SQLAlchemy's, of SQLite or PostgreSQL."""
    engine = create_engine(url, pool_size=CONNECTIONS, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _tune)
    with engine.begin() as connection:
        alone(connection)
        if _is_outdated(connection):
            metadata.drop_all(connection)
        metadata.create_all(connection)
    return engine


def alone(connection: Connection) -> None:
    """One gateway at a time opens a database that several share: PostgreSQL fails who makes a table twice."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(OPENING)))


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
