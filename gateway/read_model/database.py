"""The database of the read model, opened with the tables of this release."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select

from gateway.read_model.tables import metadata

CONNECTIONS = 40
"""As many as there are threads for requests."""
BUSY_MS = 10_000
ERASE_EVERY_S = 10.0
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
    """Readers beside the one writer, and no wait for the disk: what a power cut takes is read again.

    `secure_delete`: what a deleted row said is overwritten with zeros, not left in the free space of its page.
    """
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = OFF", f"busy_timeout = {BUSY_MS}", "secure_delete = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class Erasure:
    """Makes what was deleted gone from the files of the database as well, some seconds after it is asked for.

    SQLite's write-ahead log holds pages as they were before a row was overwritten, until it is put into the database
    and cut to nothing. PostgreSQL keeps a log of its own, which its operator looks after. For one thread.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_wanted = False
        self._next = 0.0

    def ask(self) -> None:
        """Something was deleted."""
        self._is_wanted = True

    def turn(self, now: float) -> None:
        """Erase if it is wanted and time. `now`: seconds on a monotonic clock. A reader at work puts it off."""
        if self._is_wanted and now >= self._next:
            self._next = now + ERASE_EVERY_S
            self._is_wanted = not cut_log(self._engine)


def cut_log(engine: Engine) -> bool:
    """Whether no log is left. Waits for readers no longer than for a request: the feed stands still meanwhile."""
    if engine.dialect.name != "sqlite":
        return True
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 100")
        busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_MS}")
    return not busy


def _is_outdated(connection: Connection) -> bool:
    """Whether an earlier release made the tables: all that is in them can be read again."""
    found = inspect(connection)
    known = set(found.get_table_names())
    return any(
        {column["name"] for column in found.get_columns(table.name)} != set(table.columns.keys())
        for table in metadata.sorted_tables if table.name in known
    )  # fmt: skip
