"""What an operator must not see green: made so on the real broker, and told by /healthz, doctor, metrics and audit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.local import doctor
from infra.local.finding import Finding, Subject
from infra.local.health import unready, warnings
from infra.local.plan import Plan
from infra.local.stack import Stack
from operations import diagnosis
from operations.audit.run import notices_of
from runtime import health, metrics
from runtime.settings import Settings
from streams.coordinator.core import dispatch, standstill
from streams.coordinator.service import stability
from streams.kafka.topics import DLQ, JOBS, PROMPTS, REPORTS, Topic
from tests.broker.coordinating import Watched, coordinating
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds where production has more: tests wait for them."""
    for module, name, seconds in (
        (standstill, "AFTER_S", 1.0), (standstill, "QUIET_S", 0.5), (stability, "EVERY_S", 0.2),
        (stability, "HELD_AFTER_S", 1.0), (diagnosis, "HELD_AFTER_S", 1.0), (diagnosis, "WAITS_TOO_LONG_S", 1.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def nothing(tmp_path: Path) -> Stack:
    """A stack that is down: the doctor asks the broker that the settings name."""
    Plan.draw(tmp_path / "nothing", any_ports=True).save()
    return Stack(tmp_path / "nothing")


def finding(settings: Settings, stack: Stack, name: str) -> Finding:
    [check] = [check for check in doctor.CHECKS if check.name == name]
    return doctor._finding(check, Subject(settings, stack))


@contextmanager
def healthz(settings: Settings, coordinator: Watched) -> Iterator[str]:
    """The address of the coordinator's /healthz, as its process serves it."""
    registry = metrics.registry_of("coordinator")
    with health.serve(settings, registry, coordinator.reason, coordinator.warnings) as server:
        yield f"http://127.0.0.1:{server.port}/healthz"


@contextmanager
def open_transaction(settings: Settings, topic: Topic) -> Iterator[None]:
    """What a producer upstream does that dies in the middle, or takes its time."""
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": settings.topic_prefix + topic.name,
         "transaction.timeout.ms": 60_000}
    )  # fmt: skip
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic.named(settings.topic_prefix), b"{}", key=b"key", partition=0)
    assert producer.flush(30) == 0
    yield
    producer.abort_transaction(30)


@pytest.mark.parametrize("topic", [PROMPTS, REPORTS, JOBS], ids=lambda topic: topic.name)
def test_an_open_transaction_that_holds_a_topic_is_named_with_its_time(
    topic: Topic, quick: Settings, nothing: Stack
) -> None:
    with open_transaction(quick, topic):
        found = eventually(lambda: None if (found := finding(quick, nothing, "readable")).ok else found)
        assert f"{topic.name} cannot be read beyond offset 0: a producer has held a transaction open" in found.message
        assert time.strftime("%H:", time.gmtime()) in found.message
        assert "describe-producers" in found.remedy
        assert any(topic.name in notice for notice in notices_of(quick, []))
    assert eventually(lambda: finding(quick, nothing, "readable").ok)


def test_a_coordinator_whose_prompts_are_held_says_so_until_they_are_free(quick: Settings) -> None:
    with coordinating(quick) as coordinator, healthz(quick, coordinator) as url:
        assert eventually(lambda: unready(url) is None)
        with open_transaction(quick, PROMPTS):
            words = eventually(lambda: unready(url))
            assert words.startswith("prompts cannot be read beyond offset 0 for ")
            registry = metrics.registry_of("coordinator")
            assert (registry.get_sample_value("latentline_stable_offset_lag_records", {"topic": "prompts"}) or 0) >= 1
            assert (registry.get_sample_value("latentline_stable_offset_held_seconds", {"topic": "prompts"}) or 0) > 0
        eventually(lambda: unready(url) is None)


def test_jobs_that_wait_beside_a_free_worker_are_told(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, jobs: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when every placement fails: heartbeats are read, ticks are committed, and nobody gets a task."""
    monkeypatch.setattr(dispatch, "place", lambda ledger, now: [])
    with coordinating(quick) as coordinator, healthz(quick, coordinator) as url:
        upstream.submit()

        def told() -> str | None:
            worker.work()
            return unready(url)

        words = eventually(told)
        assert words.startswith("encode: jobs with model tiny wait, a worker that fits is free")
        registry = metrics.registry_of("coordinator")
        assert (registry.get_sample_value("latentline_standstill_seconds", {"stage": "encode"}) or 0) >= 1

        def noticed() -> bool:
            worker.work()
            notices = notices_of(quick, states_of(jobs.events()).values())
            return notices == ("1 job(s) of encode: wait with model tiny though a worker that fits is free",)

        assert eventually(noticed)


def test_jobs_with_a_model_that_no_worker_serves_are_told_though_the_coordinator_is_ready(
    quick: Settings, upstream: Upstream, jobs: Tail
) -> None:
    with coordinating(quick) as coordinator, healthz(quick, coordinator) as url:
        upstream.submit()
        [words] = eventually(lambda: warnings(url))
        assert words.endswith("with model tiny, which no worker serves there")
        assert unready(url) is None
        expected = "1 job(s) of encode: wait with model tiny, which no worker that is heard serves there"
        assert eventually(lambda: notices_of(quick, states_of(jobs.events()).values()) == (expected,))


def test_reports_that_are_dead_lettered_are_told_by_reason(quick: Settings, nothing: Stack) -> None:
    assert finding(quick, nothing, "dead reports").ok
    producer = Producer({"bootstrap.servers": quick.kafka_bootstrap})
    with coordinating(quick) as coordinator, healthz(quick, coordinator) as url, tail(quick, DLQ) as letters:
        producer.produce(REPORTS.named(quick.topic_prefix), b"no JSON", partition=0)
        producer.produce(PROMPTS.named(quick.topic_prefix), b"no JSON either", partition=0)
        assert producer.flush(30) == 0
        eventually(lambda: len(letters.poll()) == 2)
        found = finding(quick, nothing, "dead reports")
        assert not found.ok
        assert found.message == "reports were dead-lettered in the last 10 minutes (not_json: 1)"
        [words] = eventually(lambda: warnings(url))
        assert words.startswith("1 reports were dead-lettered in the last 10 minutes")
        assert notices_of(quick, []) == (found.message,)
        registry = metrics.registry_of("coordinator")
        labels = {"topic": "reports", "reason": "not_json"}
        assert (registry.get_sample_value("latentline_dead_letters_total", labels) or 0) >= 1


def test_a_line_whose_coordinator_does_not_turn_is_told(
    quick: Settings, nothing: Stack, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finding(quick, nothing, "coordinator").ok, "nothing has run here yet"
    worker.work()
    found = eventually(lambda: None if (found := finding(quick, nothing, "coordinator")).ok else found)
    assert found.message.startswith("no coordinator has committed anything for 30 s")
    with coordinating(quick) as coordinator, healthz(quick, coordinator) as url:
        eventually(lambda: finding(quick, nothing, "coordinator").ok)
        [cell] = coordinator.cells.values()
        monkeypatch.setattr(cell, "turn", lambda prompts, seconds: time.sleep(0.01))
        cell.committed_at -= 20
        assert (unready(url) or "").startswith("nothing was committed for 2")
