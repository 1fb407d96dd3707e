"""The process that keeps a stack: starts its parts in order, restarts services that die, stops all in order.

`python -m infra.local.keeper DATA` reads the plan there and reports through `stack.json` beside it. Its children
die with it (also when it is SIGKILLed). Own code rather than a process manager: none of those at hand ties the
death of its children to its own, and the whole of it is this page.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import orjson
from minio import Minio

from infra.local import topics
from infra.local.kafka import Kafka
from infra.local.minio import MinioServer, apply_bucket
from infra.local.plan import PROJECT, Plan
from infra.local.ports import HOST
from infra.local.process import Process
from infra.local.services import SERVICES, Service
from streams.settings import Settings

FIRST_DELAY, LONGEST_DELAY, STEADY_SECONDS = 0.5, 30.0, 60.0
STOP_GRACE = 25.0


@dataclass
class Kept:
    """A service under watch: when to start it again, and how often that was needed."""

    service: Service
    process: Process
    restarts: int = 0
    delay: float = FIRST_DELAY
    started_at: float = 0.0
    start_at: float | None = 0.0

    def watch(self, now: float) -> bool:
        """Start or restart as needed; whether anything changed. A service that ended with 0 has left on purpose."""
        if self.start_at is not None and now >= self.start_at:
            self.process.start()
            self.started_at, self.start_at = now, None
            return True
        if self.start_at is not None or self.process.is_running:
            return False
        if self.process.exit_code == 0:
            return False
        if now - self.started_at > STEADY_SECONDS:
            self.delay = FIRST_DELAY
        self.start_at, self.restarts = now + self.delay, self.restarts + 1
        self.delay = min(self.delay * 2, LONGEST_DELAY)
        return True


class Keeper:
    def __init__(self, plan: Plan) -> None:
        self.plan, logs = plan, plan.data / "logs"
        self.kafka = Kafka(plan.data / "kafka", logs / "kafka.log", plan.kafka_port, plan.controller_port)
        self.store = MinioServer(
            plan.data / "minio", logs / "minio.log", plan.store_port, plan.console_port, plan.credentials
        )
        self.kept = [self._kept(service) for service in SERVICES if service.name in plan.services]
        self.stopping = False

    def _kept(self, service: Service) -> Kept:
        log = self.plan.data / "logs" / f"{service.name}.log"
        return Kept(service, Process(service.name, service.argv, log, self.plan.service_environment(service)))

    def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self.start()
            while not self.stopping:
                self.turn()
                time.sleep(0.1)
        except Exception as error:
            self.report("failed", str(error))
            return 1
        finally:
            self.stop()
        return 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def start(self) -> None:
        self.report("starting")
        for server in (self.store, self.kafka):
            server.prepare()
            server.process.start()
        self.store.wait()
        self.kafka.wait()
        settings = Settings()
        topics.apply(self.kafka.bootstrap, settings.topic_prefix, settings.cells)
        keys = self.plan.credentials
        client = Minio(
            endpoint=self.store.endpoint, access_key=keys.access_key, secret_key=keys.secret_key, secure=False
        )
        apply_bucket(client, settings.store_bucket)
        (self.plan.data / "prometheus-targets.json").write_bytes(orjson.dumps(self.plan.scrape_targets()))
        self.report("running")

    def turn(self) -> None:
        now = time.monotonic()
        for server in (self.kafka, self.store):
            if not server.process.is_running:
                server.process.start()
        changed = [kept.watch(now) for kept in self.kept]
        if any(changed):
            self.report("running")

    def stop(self) -> None:
        """Workers and views first (they drain at the same time), then the coordinator, store and broker."""
        for kept in self.kept:
            if kept.process.is_running and kept.service.name != "coordinator":
                os.kill(kept.process.pid or 0, signal.SIGTERM)
        for kept in sorted(self.kept, key=lambda kept: kept.service.name == "coordinator"):
            kept.process.stop(STOP_GRACE)
        self.store.process.stop(10.0)
        self.kafka.process.stop(20.0)
        if self.stopping:
            self.report("stopped")

    def report(self, state: str, message: str = "") -> None:
        """Write `stack.json` whole: a reader sees the old one or the new one."""
        processes = [self.kafka.process, self.store.process, *(kept.process for kept in self.kept)]
        status = {
            "state": state,
            "message": message,
            "keeper": os.getpid(),
            "pids": {process.name: process.pid for process in processes if process.is_running},
            "restarts": {kept.service.name: kept.restarts for kept in self.kept},
            "health": {name: f"http://{HOST}:{port}/healthz" for name, port in self.plan.services.items()},
            "environment": self.plan.environment(),
        }
        target = self.plan.data / "stack.json"
        partial = target.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_bytes(orjson.dumps(status))
        partial.replace(target)


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def main() -> int:
    os.chdir(PROJECT)
    return Keeper(Plan.load(Path(sys.argv[1]))).run()


if __name__ == "__main__":
    sys.exit(main())
