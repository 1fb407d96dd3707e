"""The line's own processes, started by tests: each a real OS process of one `Settings`, killed at the end."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from confluent_kafka import OFFSET_BEGINNING, KafkaError, Producer, TopicPartition
from pydantic import SecretStr

from infra.local import ports
from infra.local.reaper import MARK, Guard
from infra.local.services import THREADING
from infra.local.topics import partitions
from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.job import JobState
from schemas.stage_keys import job_id
from streams.kafka import clients
from streams.kafka.topics import PROMPTS, Topic
from tests.support import eventually

QUICK = {"heartbeat_interval_s": 0.5, "worker_lost_after_s": 4.0, "unread_lease_after_s": 3.0, "drain_grace_s": 2.0,
         "step_deadline_s": 15.0}  # fmt: skip
"""Seconds where production has more: tests wait for them."""


GUARD = Guard(f"tests/{os.getpid()}/")
"""Ends what a killed test run leaves behind."""
atexit.register(GUARD.close)


def environment_of(settings: Settings) -> dict[str, str]:
    """Variables that make a process read the same settings."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in values.items()}
    return {f"LATENTLINE_{name.upper()}": str(value) for name, value in plain.items() if value is not None}


class Service:
    """One process. Its log goes to a file that a failed test can show."""

    def __init__(self, settings: Settings, name: str, *arguments: str, module: str = "latentline") -> None:
        self.name, self.arguments, self.module = name, arguments, module
        [port] = ports.choose([0])
        self.settings = settings.model_copy(update={"metrics_port": port, "worker_name": name, "node_name": name})
        self.log_file: Path = settings.data_dir / f"{name}.log"
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        environment = environment_of(self.settings)
        GUARD.check()
        out: IO[bytes] = self.log_file.open("ab")
        self.popen = subprocess.Popen(
            [sys.executable, "-m", self.module, *self.arguments], stdout=out, stderr=out,
            env={**os.environ, **THREADING, **environment, "LATENTLINE_LOG_FORMAT": "json", MARK: GUARD.mark},
        )  # fmt: skip
        out.close()
        return self

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.settings.metrics_port}{path}"

    @property
    def is_ready(self) -> bool:
        assert self.popen is not None
        assert self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:\n{self.tail()}"
        try:
            with urlopen(self.url("/healthz"), timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def wait_ready(self, seconds: float = 90.0) -> Service:
        eventually(lambda: self.is_ready, seconds)
        return self

    def send_signal(self, number: int) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory killer or a power cut would."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = 60.0) -> int:
        assert self.popen is not None
        return self.popen.wait(seconds)

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def services(settings: Settings, **arguments: str) -> Iterator[dict[str, Service]]:
    """Started and ready: `services(line, coordinator="coordinator", denoise="worker denoise")`, by name."""
    running = {name: Service(settings, name, *words.split()) for name, words in arguments.items()}
    try:
        for service in running.values():
            service.start()
        for service in running.values():
            service.wait_ready()
        yield running
    finally:
        for service in running.values():
            if service.popen is not None and service.popen.poll() is None:
                service.kill()


WHOLE_LINE = {
    "coordinator": "coordinator",
    "encode": "worker encode",
    "denoise": "worker denoise",
    "decode": "worker decode",
    "mux": "worker mux",
}


class Upstream:
    """What an upstream service does: puts events into `prompts`."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.topic_prefix
        self._producer: Producer = clients.producer(clients.PRODUCER, settings)

    def submit(self, prompt: str = "a red square moving right on a blue background", **fields: object) -> str:
        """The id of the job."""
        asked = PromptSubmitted.model_validate({"prompt": prompt, "idempotency_key": uuid.uuid4().hex} | fields)
        self.send(asked)
        return job_id(asked.tenant, asked.idempotency_key or "")

    def cancel(self, job: str, tenant: str = "default") -> None:
        self.send(CancelRequested(job=job, tenant=tenant))

    def send(self, event: Frozen) -> None:
        value, headers = envelope.write(event, id=uuid.uuid4().hex, source="test", time=1.8e9)
        self.send_raw(value, headers)

    def send_raw(self, value: bytes | None, headers: envelope.Headers, topic: Topic = PROMPTS) -> None:
        errors: list[KafkaError] = []
        self._producer.produce(
            topic.named(self._prefix), value, "default", headers=[*headers],
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )  # fmt: skip
        assert self._producer.flush(30) == 0
        assert errors == []


class Tail:
    """Everything that is committed in some topics so far, read again and again from where it was left."""

    def __init__(self, settings: Settings, *topics: Topic) -> None:
        self._settings = settings
        self._next = {
            (topic.named(settings.topic_prefix), partition): OFFSET_BEGINNING
            for topic in topics
            for partition in range(partitions(topic, settings.cells))
        }
        self._open()
        self.raw: list[tuple[bytes | None, bytes | None, envelope.Headers]] = []
        """Key, value and headers."""
        self._events: list[Frozen] = []
        self._decoded = 0

    def _open(self) -> None:
        self._watch = clients.ErrorWatch()
        self._consumer = clients.consumer(clients.READER, self._settings, self._watch, enable_partition_eof=False)
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def poll(self) -> list[tuple[bytes | None, bytes | None, envelope.Headers]]:
        if self._watch.fatal:
            # A service would end and be started again.
            self._consumer.close()
            self._open()
        # What keeps coming must not keep us: a topic of steps is never silent while something is computed.
        for message in self._consumer.consume(1000, 0.05):
            clients.raise_for(message.error())
            self._next[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            self.raw.append((message.key(), message.value(), clients.headers_of(message)))
        return self.raw

    def events(self) -> list[Frozen]:
        """Every event so far; each is decoded once."""
        for _, value, headers in self.poll()[self._decoded :]:
            self._decoded += 1
            if value is not None:
                self._events.append(envelope.read(value, headers)[0])
        return self._events

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def tail(settings: Settings, topic: Topic) -> Iterator[Tail]:
    reader = Tail(settings, topic)
    try:
        yield reader
    finally:
        reader.close()


def states_of(events: list[Frozen]) -> dict[str, JobState]:
    """The newest state of each job."""
    return {event.job: event for event in events if isinstance(event, JobState)}
