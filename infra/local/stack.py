"""A local stack as a person uses it: `up`, `down`, what runs. One data folder is one stack."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from infra.local.cache import cache_folder, cache_path, locked
from infra.local.health import unready
from infra.local.leftover_processes import end_leftovers
from infra.local.plan import PROJECT, Plan
from infra.local.ports import wait_until
from infra.local.process import tail
from infra.local.services import SERVICES, Service
from infra.local.stack_discovery import KEEPER, is_keeper, keeper_of, plans

Say = Callable[[str], None]
HOPELESS_RESTARTS = 4

_keepers: dict[int, subprocess.Popen[bytes]] = {}
"""Keepers that this process started, so that it can collect them when they end."""


def reap() -> None:
    """Collect the keepers that have ended, however that came."""
    for pid, keeper in [*_keepers.items()]:
        if keeper.poll() is not None:
            del _keepers[pid]


class StackError(RuntimeError):
    """The stack could not be started or stopped; the message says what failed and where to look."""


DATA_REMEDY = "name another folder in LATENTLINE_DATA_DIR, or make this one writable"
CACHE_REMEDY = "name another folder in XDG_CACHE_HOME, or make this one writable"


@contextmanager
def in_words(folder: Path, remedy: str) -> Iterator[None]:
    """Raises `StackError` that names the folder where the system refuses to write there."""
    try:
        yield
    except OSError as error:
        raise StackError(f"cannot write in {folder}: {error.strerror or error}. What to do: {remedy}") from error


@dataclass(frozen=True)
class Stack:
    """The stack whose data lives in `data`; nothing of it is anywhere else."""

    data: Path

    def status(self) -> dict[str, Any]:
        """What the keeper last said; its `state` is `down` when none runs.

        One that runs and has not been able to say so, as on a full disk, is `starting`.
        """
        said = self._said()
        if said and is_keeper(said["keeper"], self.data):
            return said
        if keeper := keeper_of(self.data):
            return said | {"state": "starting", "keeper": keeper}
        return said | {"state": "down", "pids": {}}

    def _said(self) -> dict[str, Any]:
        try:
            said: dict[str, Any] = orjson.loads((self.data / "stack.json").read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return said

    @property
    def is_running(self) -> bool:
        return bool(self.status()["state"] == "running")

    def environment(self) -> dict[str, str]:
        """`LATENTLINE_*` for clients of this stack. Raises `StackError` when it is down."""
        status = self.status()
        if status["state"] != "running":
            raise StackError(f"no line is running in {self.data}: start one with `latentline up`")
        environment: dict[str, str] = status["environment"]
        return environment

    # -- up --------------------------------------------------------------------------------------------------------

    def up(
        self, services: tuple[Service, ...] = SERVICES, any_ports: bool = False, seconds: float = 120.0,
        stays: bool = True, say: Say = lambda line: None, tenants: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Start it unless it runs; returns when all of it is healthy. Raises `StackError`.

        `any_ports` keeps clear of the usual ports. One that does not stay ends with the process that calls this.
        `tenants`: whom a secure line takes prompts of; none: as the last time, else an open line.
        """
        deadline = time.monotonic() + seconds
        # One start at a time on this machine: the next one sees the ports that this one has taken.
        with in_words(cache_path(), CACHE_REMEDY):
            lock = cache_folder() / "starting.lock"
            lock.touch()
        with locked(lock):
            if self.status()["state"] == "down":
                if ended := self._end_leftovers():
                    say(f"ended {ended} processes that an earlier life of this line had left")
                with in_words(self.data, DATA_REMEDY):
                    self._draw(services, any_ports, stays, tenants)
                    self._launch()
        say("starting Kafka and MinIO")
        # A keeper that has failed says so and then ends.
        wait_until(lambda: self.status()["state"] not in ("starting", "failed"), seconds)
        if not self.is_running:
            raise StackError(self._failure(seconds))
        for name, url in self.status()["health"].items():
            say(f"waiting for {name}")
            self._wait_ready(name, url, deadline)

    def _draw(self, services: tuple[Service, ...], any_ports: bool, stays: bool, tenants: tuple[str, ...]) -> None:
        if self.data.exists() and any(self.data.iterdir()) and not self._is_ours:
            raise StackError(
                f"{self.data} is not empty and holds no stack: name another folder in LATENTLINE_DATA_DIR, or empty it"
            )
        last = Plan.last(self.data)
        if last is None and not tenants and (self.data / "secrets").exists():
            raise StackError(
                f"{self.data} holds a secure line whose plan.json cannot be read: name its tenants again "
                "(`latentline up --secure --tenant NAME`), or remove it with `latentline down --wipe`"
            )
        if last and tenants and not last.tenants:
            raise StackError(
                f"{self.data} holds an open line, whose broker knows no users: start the secure one in another folder "
                "(LATENTLINE_DATA_DIR), or remove this one with `latentline down --wipe`"
            )
        taken = {port for plan in plans() for port in plan.ports.values()}
        known = tenants or (last.tenants if last else ())
        Plan.draw(self.data, services, any_ports, taken, None if stays else os.getpid(), known).save()

    @property
    def _is_ours(self) -> bool:
        return (self.data / "plan.json").exists()

    def _launch(self) -> None:
        (self.data / "logs").mkdir(exist_ok=True)
        (self.data / "stack.json").unlink(missing_ok=True)
        with (self.data / "logs" / "keeper.log").open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", KEEPER, str(self.data.resolve())],
                cwd=PROJECT, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        _keepers[keeper.pid] = keeper
        wait_until(lambda: bool(self._said()) or keeper.poll() is not None, 30.0)

    def _failure(self, seconds: float) -> str:
        logs = self.data / "logs"
        if self.status()["state"] == "starting":
            return f"the stack is still starting after {seconds:g} s: `latentline up` waits on. Its logs: {logs}"
        why = self._said().get("message") or tail(logs / "keeper.log") or "no word from it"
        return f"the stack did not start: {why}\nIts logs: {logs}"

    def _wait_ready(self, name: str, url: str, deadline: float) -> None:
        """Raises `StackError` when this one is not ready in time, or when any is seen to fail again and again."""
        left = max(deadline - time.monotonic(), 0.1)
        wait_until(lambda: unready(url) is None or self._hopeless() is not None, left, 0.1)
        why, failed = unready(url), self._hopeless()
        if failed is not None:
            raise StackError(self._not_ready(*failed))
        if why is not None:
            raise StackError(self._not_ready(name, why))

    def _hopeless(self) -> tuple[str, str] | None:
        """A service that will not become ready, and what it did instead."""
        status = self.status()
        for name in status["health"]:
            code, restarts = status["last_exit"].get(name), status["restarts"].get(name, 0)
            if name not in status["pids"] and (code == 0 or restarts >= HOPELESS_RESTARTS):
                return name, f"it ended with exit code {code}, restarted {restarts} times"
        return None

    def _not_ready(self, name: str, why: str) -> str:
        log = self.data / "logs" / f"{name}.log"
        return f"{name} is not ready: {why}\n{tail(log)}\nIts log: {log}\nThe rest runs on; `latentline down` stops it."

    # -- down ------------------------------------------------------------------------------------------------------

    def down(self, wipe: bool = False, seconds: float = 90.0) -> int:
        """Stop everything in order; data stays unless `wipe`. Raises `StackError`.

        Returns how many processes were ended that an earlier life had left, its supervisor gone.
        """
        status = self.status()
        if status["state"] != "down":
            self._end(status["keeper"], seconds)
        reap()
        ended = self._end_leftovers()
        if wipe and self.data.exists():
            with in_words(self.data, DATA_REMEDY):
                self._wipe()
        return ended

    def _end_leftovers(self) -> int:
        ended, left = end_leftovers(self.data)
        if left:
            pids = ", ".join(str(process.pid) for process in left)
            raise StackError(f"processes of an earlier life of the line in {self.data} cannot be ended: {pids}")
        return ended

    def _end(self, keeper: int, seconds: float) -> None:
        os.kill(keeper, signal.SIGTERM)
        if not wait_until(lambda: not is_keeper(keeper, self.data), seconds):
            os.kill(keeper, signal.SIGKILL)
        if keeper in _keepers:
            _keepers[keeper].wait()

    def _wipe(self) -> None:
        if any(self.data.iterdir()) and not self._is_ours:
            raise StackError(f"{self.data} holds no stack: nothing was removed")
        shutil.rmtree(self.data)
