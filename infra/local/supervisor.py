"""The process that keeps a stack: starts its parts in order, restarts what dies, stops all in order.

`python -m infra.local.supervisor DATA` reads the plan there and reports through `stack.json` beside it. What it has
started dies with it, also when it is SIGKILLed (`reaper.py`). Own code rather than a process manager: none of those
at hand ties the death of its children to its own.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import sys
import time
import uuid
from pathlib import Path
from types import FrameType

import orjson

from infra.local import bucket, topics
from infra.local.kafka import Kafka
from infra.local.minio import MinioServer
from infra.local.owner_only import write_private
from infra.local.plan import PROJECT, Plan, settings_in
from infra.local.process import Process
from infra.local.reaper import Guard
from infra.local.services import Service
from infra.local.supervised_process import SupervisedProcess
from runtime.settings import Settings

STOP_GRACE, SERVER_STOP_GRACE = 25.0, 20.0
REPORT_AGAIN_S = 1.0

log = logging.getLogger(__name__)


class Keeper:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # Of this life alone: the guard of a former one must not kill what this one starts.
        self.guard = Guard(f"{plan.data}/{uuid.uuid4().hex}/")
        self.servers: list[SupervisedProcess] = []
        self.services: list[SupervisedProcess] = []
        self.stopping = False
        self._unreported, self._report_at = False, 0.0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until the process that the stack is tied to ends. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self.report("starting")
            self.guard.check()
            self._start_servers()
            self.services = [self._kept(service) for service in self.plan.services]
            self.report("running")
            while not self.stopping and self._is_wanted():
                self._turn()
                time.sleep(0.1)
        except Exception as error:
            log.exception("the stack failed")
            self._stop_all()
            self.report("failed", f"{error}" or repr(error))
            return 1
        self._stop_all()
        self.report("stopped")
        return 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _is_wanted(self) -> bool:
        return self.plan.tied_to in (None, os.getppid())

    def _kept(self, service: Service) -> SupervisedProcess:
        log, environment = self.plan.log(service.name), self.plan.service_environment(service)
        return SupervisedProcess(Process(service.name, service.argv, log, self._mark(service.name), environment))

    def _mark(self, name: str) -> str:
        return f"{self.guard.mark}{name}/"

    def _start_servers(self) -> None:
        plan, port = self.plan, self.plan.ports
        kafka = Kafka(
            plan.data / "kafka", plan.temporary, plan.log("kafka"), self._mark("kafka"), port["kafka"],
            port["kafka-controller"], plan.access.broker,
        )  # fmt: skip
        store = MinioServer(
            plan.data / "minio", plan.log("minio"), self._mark("minio"), port["minio"], port["minio-console"],
            plan.credentials,
        )  # fmt: skip
        shutil.rmtree(plan.temporary, ignore_errors=True)
        plan.temporary.mkdir()
        for server in (store, kafka):
            server.prepare()
            kept = SupervisedProcess(server.process, leaves_with=None)
            self.servers.append(kept)
            kept.turn(time.monotonic())
        store.wait()
        kafka.wait()
        self._prepare_line()

    def _prepare_line(self) -> None:
        settings = settings_in(self.plan.owner_environment(), Settings())
        self.plan.access.admit(settings)
        topics.apply(settings)
        self.plan.access.issue_keys(settings)
        bucket.apply(bucket.connect(settings), settings.store_bucket)
        (self.plan.data / "prometheus-targets.json").write_bytes(orjson.dumps(self.plan.scrape_targets()))

    def _turn(self) -> None:
        now = time.monotonic()
        self.guard.check()
        changed = [kept.turn(now) for kept in (*self.servers, *self.services)]
        if any(changed) or (self._unreported and now >= self._report_at):
            self._report_at = now + REPORT_AGAIN_S
            self.report("running")

    def _stop_all(self) -> None:
        """Workers and views first (they drain at the same time), then the coordinator, broker and store."""
        processes = [kept.process for kept in self.services]
        first = [process for process in processes if process.name != "coordinator"]
        for process in first:
            process.terminate()
        for process in first + [process for process in processes if process not in first]:
            process.stop(STOP_GRACE)
        for kept in reversed(self.servers):
            kept.process.stop(SERVER_STOP_GRACE)
        self.guard.close()
        shutil.rmtree(self.plan.temporary, ignore_errors=True)

    def report(self, state: str, message: str = "") -> None:
        """Write `stack.json` whole: a reader sees the old one or the new one. A full disk costs the report alone."""
        kept = [*self.servers, *self.services]
        status = {
            "state": state,
            "message": message,
            "keeper": os.getpid(),
            "pids": {one.process.name: one.process.pid for one in kept if one.process.is_running},
            "restarts": {one.process.name: one.restarts for one in kept},
            "last_exit": {one.process.name: one.last_exit for one in kept},
            "health": self.plan.health(),
            "environment": self.plan.environment(),
        }
        try:
            write_private(self.plan.data / "stack.json", orjson.dumps(status))
        except OSError as error:
            if not self._unreported:
                log.warning("the status cannot be written: %s; the stack goes on, and it is tried again", error)
            self._unreported = True
        else:
            self._unreported = False


def main() -> int:
    data = Path(sys.argv[1])
    os.chdir(PROJECT)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # Whoever holds the lock keeps the folder; the kernel lets go of it when a keeper dies.
    with (data / "keeper.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another process keeps the stack in %s", data)
            return 1
        return Keeper(Plan.load(data)).run()


if __name__ == "__main__":
    sys.exit(main())
