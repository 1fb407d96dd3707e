"""A local stack as a person uses it: `up`, `down`, what runs. One data folder is one stack."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from infra.local.keeper import is_healthy
from infra.local.plan import PROJECT, Plan
from infra.local.ports import wait_until
from infra.local.services import SERVICES, Service

_keepers: dict[int, subprocess.Popen[bytes]] = {}
"""Keepers that this process started, so that it can collect them when they end."""


class StackError(RuntimeError):
    """The stack could not be started or stopped; the message says what failed and where to look."""


@dataclass(frozen=True)
class Stack:
    """The stack whose data lives in `data`; nothing of it is anywhere else."""

    data: Path

    def status(self) -> dict[str, Any]:
        """What the keeper last said; `{"state": "down"}` when none runs."""
        try:
            status: dict[str, Any] = orjson.loads((self.data / "stack.json").read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {"state": "down"}
        return status if _is_keeper(status["keeper"], self.data) else status | {"state": "down", "pids": {}}

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

    def up(
        self, services: tuple[Service, ...] = SERVICES, any_ports: bool = False, seconds: float = 120.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        """Start what does not run yet; returns when all are healthy. Raises `StackError`."""
        if self.is_running:
            return
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        Plan.draw(self.data, services, any_ports).save()
        (self.data / "stack.json").unlink(missing_ok=True)
        log = (self.data / "logs" / "keeper.log").open("ab")
        keeper = subprocess.Popen(
            [sys.executable, "-m", "infra.local.keeper", str(self.data.resolve())],
            cwd=PROJECT, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        _keepers[keeper.pid] = keeper
        deadline = time.monotonic() + seconds
        say("starting Kafka and MinIO")
        wait_until(lambda: self.status()["state"] == "running" or keeper.poll() is not None, seconds)
        if not self.is_running:
            raise StackError(self._failure())
        self._wait_healthy(deadline, say)

    def _wait_healthy(self, deadline: float, say: Callable[[str], None]) -> None:
        for name, url in self.status()["health"].items():
            say(f"waiting for {name}")
            if not wait_until(lambda url=url: is_healthy(url), max(deadline - time.monotonic(), 0.1), 0.1):  # type: ignore[misc]
                raise StackError(f"{name} is not healthy yet; its log: {self.data / 'logs' / f'{name}.log'}")

    def _failure(self) -> str:
        try:
            message = orjson.loads((self.data / "stack.json").read_bytes())["message"]
        except (OSError, orjson.JSONDecodeError):
            message = "no word from it"
        return f"the stack did not start: {message}\nIts logs: {self.data / 'logs'}"

    def down(self, wipe: bool = False, seconds: float = 90.0) -> None:
        """Stop everything in order; data stays unless `wipe`."""
        status = self.status()
        if status["state"] != "down":
            keeper = status["keeper"]
            os.kill(keeper, signal.SIGTERM)
            if not wait_until(lambda: not _is_keeper(keeper, self.data), seconds):
                os.kill(keeper, signal.SIGKILL)
            if keeper in _keepers:
                _keepers.pop(keeper).wait()
        if wipe:
            shutil.rmtree(self.data, ignore_errors=True)


def _is_keeper(pid: int, data: Path) -> bool:
    """Whether that process is the keeper of this folder: pids are used again after a crash or a reboot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return stat[0] != "Z" and b"infra.local.keeper" in argv and str(data.resolve()).encode() in argv
