"""The views on the real broker: a process of their own, fed by transactions, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import orjson
import pytest
from confluent_kafka import OFFSET_BEGINNING, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from infra.local import ports
from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.usage import UsageWindow
from schemas.job import JobState, JobStatus
from streams.kafka import clients
from streams.kafka.topics import COMPLETIONS, JOBS, USAGE, Topic
from streams.usage.lag import SOURCES, Progress, behind
from streams.usage.reducers import window_start
from tests.processes import environment_of
from tests.support import eventually
from tests.unit.streams.usage.test_reducers import completion_of, ended_state, waiting

pytestmark = pytest.mark.broker

NOW = time.time()
"""Windows must lie within what the views keep."""


@dataclass(frozen=True)
class Process:
    """A running views service."""

    popen: subprocess.Popen[bytes]
    settings: Settings

    def page(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.settings.views_port}{path}", timeout=5) as answer:
            return orjson.loads(answer.read())

    def health(self) -> str | None:
        """What /healthz says; None while nobody listens."""
        try:
            with urlopen(f"http://127.0.0.1:{self.settings.metrics_port}/healthz", timeout=5) as answer:
                return bytes(answer.read()).decode().strip()
        except HTTPError as error:
            return error.read().decode().strip()
        except (URLError, OSError):
            return None

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.popen.poll() is None, "the views ended"
            return self.health() == "ready"

        eventually(ready, 60)


@contextmanager
def views(line: Settings) -> Iterator[Process]:
    views_port, metrics_port = ports.choose([0, 0])
    settings = line.model_copy(update={"views_port": views_port, "metrics_port": metrics_port})
    environment = environment_of(settings)
    popen = subprocess.Popen(
        [sys.executable, "-m", "streams.usage.main"], env={**os.environ, **environment, "LATENTLINE_LOG_FORMAT": "json"}
    )
    try:
        process = Process(popen, settings)
        process.wait_until_ready()
        yield process
    finally:
        popen.kill()
        popen.wait()


@contextmanager
def transaction(line: Settings, commit: bool = True) -> Iterator[Producer]:
    producer = clients.producer(clients.TRANSACTIONAL, line, transactional_id=f"{line.topic_prefix}{uuid.uuid4()}")
    producer.init_transactions(30)
    producer.begin_transaction()
    yield producer
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def send(producer: Producer, line: Settings, topic: Topic, key: str, event: Frozen) -> None:
    value, headers = envelope.write(event, id=str(uuid.uuid4()), source="test", time=NOW)
    producer.produce(topic.named(line.topic_prefix), value, key, headers=[*headers])


def end(producer: Producer, line: Settings, state: JobState) -> None:
    """What the coordinator sends when a job ends."""
    send(producer, line, JOBS, state.job, state)
    send(producer, line, COMPLETIONS, state.tenant, completion_of(state))


def completed(job: str, tenant: str = "acme") -> JobState:
    return ended_state(job, JobStatus.COMPLETED, NOW, tenant, seconds=1.5)


def published(line: Settings) -> list[UsageWindow]:
    """Every record of `usage` so far, in order."""
    reader = clients.consumer(clients.READER, line, enable_partition_eof=True)
    reader.assign([TopicPartition(USAGE.named(line.topic_prefix), 0, OFFSET_BEGINNING)])
    windows: list[UsageWindow] = []
    try:
        while True:
            message = reader.poll(30)
            assert message is not None, "no end of `usage`"
            if message.error() is not None:
                clients.raise_for(message.error())
                return windows
            event, read = envelope.read(message.value(), cast(list[tuple[str, bytes | None]], message.headers()))
            assert isinstance(event, UsageWindow)
            assert (message.key(), read.subject) == (event.tenant.encode(), event.tenant)
            windows.append(event)
    finally:
        reader.close()


def test_committed_records_become_usage_and_aborted_ones_do_not(line: Settings) -> None:
    with transaction(line) as producer:
        send(producer, line, JOBS, "video_0", waiting("video_0", 1))
        end(producer, line, completed("video_1"))
    with transaction(line, commit=False) as producer:
        end(producer, line, completed("video_2"))
    with views(line) as process:
        with transaction(line, commit=False) as producer:
            end(producer, line, completed("video_3"))
        with transaction(line) as producer:
            end(producer, line, completed("video_4", "globex"))
        eventually(lambda: process.page("/usage/globex")["windows"])
        acme = process.page("/usage/acme")
        assert acme["now"] == {"waiting": 1, "running": 0}
        (window,) = acme["windows"]
        assert window["jobs"] == {"completed": 1}
        assert window["compute_seconds"] == {"encode": 1.5, "denoise": 1.5, "decode": 1.5, "mux": 1.5}
        assert [page["tenant"] for page in process.page("/usage")["tenants"]] == ["acme", "globex"]
        stages = process.page("/stages")["stages"]
        assert [(page["stage"], page["windows"][0]["jobs"]) for page in stages] == [
            (stage, {"completed": 2}) for stage in ("encode", "denoise", "decode", "mux")
        ]


def test_killed_and_wiped_it_rebuilds_the_same_view_and_goes_on(line: Settings) -> None:
    with transaction(line) as producer:
        for number in range(20):
            end(producer, line, completed(f"video_{number}", f"tenant-{number % 3}"))
        send(producer, line, JOBS, "video_99", waiting("video_99", 1))
    with views(line) as process:
        before = process.page("/usage"), process.page("/stages")
        eventually(lambda: len(published(line)) >= 3)
        process.popen.kill()
    shutil.rmtree(line.data_dir, ignore_errors=True)
    with views(line) as process:
        assert (process.page("/usage"), process.page("/stages")) == before
        with transaction(line) as producer:
            end(producer, line, completed("video_20", "tenant-0"))
        grown = eventually(lambda: [w for w in published(line) if w.tenant == "tenant-0" and w.jobs["completed"] == 8])
    assert grown[-1].window_start == window_start(NOW)
    counts = [window.jobs["completed"] for window in published(line) if window.tenant == "tenant-0"]
    assert counts == sorted(counts), "a window of `usage` shrank"


def test_a_record_that_cannot_be_read_does_not_stop_the_view(line: Settings) -> None:
    with transaction(line) as producer:
        producer.produce(COMPLETIONS.named(line.topic_prefix), b"no json", "acme")
        producer.produce(JOBS.named(line.topic_prefix), None, "video_0")
        send(producer, line, COMPLETIONS, "acme", waiting("video_7", 1))
        end(producer, line, completed("video_1"))
    with views(line) as process:
        (window,) = process.page("/usage/acme")["windows"]
        assert window["jobs"] == {"completed": 1}


def test_it_leaves_when_told_to_and_shows_its_lag_until_then(line: Settings) -> None:
    with views(line) as process:
        with urlopen(f"http://127.0.0.1:{process.settings.metrics_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        lag = {
            sample.labels["topic"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "latentline_views_lag_records"
        }
        assert lag == {"jobs": 0, "completions": 0}
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 0
        assert process.health() is None


def test_markers_of_transactions_are_no_lag_and_uncommitted_records_neither(line: Settings) -> None:
    jobs = JOBS.named(line.topic_prefix)
    with transaction(line) as producer:
        send(producer, line, JOBS, "video_0", waiting("video_0", 1))
    with transaction(line, commit=False) as producer:
        send(producer, line, JOBS, "video_1", waiting("video_1", 1))
    reader = clients.consumer(clients.READER, line)
    try:
        assert behind(reader, jobs, 0, None) >= 1
        assert behind(reader, jobs, 0, 0) >= 1
        assert behind(reader, jobs, 0, 1) == 0
    finally:
        reader.close()


def test_a_reader_that_takes_nothing_in_is_found_out(line: Settings) -> None:
    taken: dict[tuple[str, int], int] = {}
    stuck = Event()
    with Progress(line, taken, stuck_after=0.5, interval=0.2) as progress:
        progress.on_stuck = stuck.set
        eventually(lambda: progress.reason() is None)
        with transaction(line) as producer:
            send(producer, line, JOBS, "video_0", waiting("video_0", 1))
        assert stuck.wait(60)
        assert "no record taken in" in (progress.reason() or "")
        taken[JOBS.named(line.topic_prefix), 0] = 1
        eventually(lambda: progress.reason() is None)
    assert progress.lag == {topic.name: 0 for topic in SOURCES}
