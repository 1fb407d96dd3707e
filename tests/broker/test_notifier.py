"""The notifier process on the real broker: what it makes of a log, whoever answers what and whoever dies."""

from __future__ import annotations

import signal
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr
from standardwebhooks import WebhookVerificationError

from operations.tenants import rotate_webhook_secret
from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.progress import StepProgress
from schemas.job import JobState, JobStatus, StageState
from schemas.stage import Stage
from schemas.webhooks import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PROGRESS,
    STARTED,
    EndpointDisabled,
    WebhookDelivery,
    WebhookEndpoint,
)
from streams.kafka import clients
from streams.kafka.topics import COMPLETIONS, ENDPOINTS, JOBS, WEBHOOKS, Topic
from streams.kafka.topics import PROGRESS as STEPS
from tests.contract.examples import STATE, first
from tests.processes import Service, services, tail
from tests.receiver import Receiver, endless_continue
from tests.support import eventually
from webhooks import secrets

pytestmark = pytest.mark.broker

ROOT = SecretStr("of these tests alone")


class Log:
    """What gateways and coordinator write."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.topic_prefix
        self._producer: Producer = clients.producer(clients.PRODUCER, settings)

    def write(self, topic: Topic, key: str, event: Frozen | None) -> None:
        value, headers = (None, []) if event is None else envelope.write(
            event, id=uuid.uuid4().hex, source="test", time=time.time()
        )  # fmt: skip
        self._producer.produce(topic.named(self._prefix), value, key, 0, headers=[*headers])
        assert self._producer.flush(30) == 0

    def endpoint(self, url: str, tenant: str = "acme", *types: str) -> WebhookEndpoint:
        made = WebhookEndpoint(
            id=f"we_{uuid.uuid4().hex}", tenant=tenant, name="test", url=url, event_types=types or (COMPLETED, FAILED),
            created_at=1.0, updated_at=1.0,
        )  # fmt: skip
        self.write(ENDPOINTS, made.id, made)
        return made

    def end(self, kind: str = "job_completed", job: str = "", **fields: Any) -> str:
        """A job of tenant acme that has ended just now."""
        job = job or f"video_{uuid.uuid4().hex}"
        self.write(COMPLETIONS, "acme", first(kind).model_copy(update={"job": job, "ended_at": time.time(), **fields}))
        return job


@pytest.fixture
def settings(line: Settings) -> Settings:
    own = {"webhook_allow": "127.0.0.0/8:*", "webhook_secret": ROOT, "webhook_pace": 1e-5, "webhook_timeout_s": 1.0}
    return line.model_copy(update=own)


@pytest.fixture
def log(settings: Settings) -> Log:
    return Log(settings)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def heard(receiver: Receiver, endpoint: WebhookEndpoint, path: str = "/") -> list[tuple[str, str]]:
    """Types and jobs of what came there, each signed as it should be."""
    events = receiver.verified(path, secrets.secret_of_endpoint(ROOT, endpoint))
    return [(event["type"], event["data"]["id"]) for event in events]


@pytest.mark.long
def test_each_hears_of_what_it_asked_for_and_a_broken_one_is_given_up(
    settings: Settings, log: Log, receiver: Receiver
) -> None:
    with Receiver(500) as broken, Receiver(410) as gone, services(settings, notifier="notifier"):
        good = log.endpoint(f"{receiver.url}/")
        curious = log.endpoint(f"{receiver.url}/all", "acme", COMPLETED, CANCELLED, STARTED)
        log.endpoint(f"{receiver.url}/foreign", "globex")
        bad, left = log.endpoint(f"{broken.url}/"), log.endpoint(f"{gone.url}/")
        dead = log.endpoint("http://127.0.0.1:9/")
        done, cancelled = log.end(), log.end("job_cancelled")
        begun = begin(log)
        eventually(lambda: len(receiver.requests) == 5)
        assert sorted(heard(receiver, good)) == sorted([(COMPLETED, done), (FAILED, cancelled)])
        assert sorted(heard(receiver, curious, "/all")) == sorted(
            [(COMPLETED, done), (CANCELLED, cancelled), (STARTED, begun)]
        )
        with tail(settings, WEBHOOKS) as said:
            eventually(lambda: {bad.id, left.id, dead.id} <= disabled(said.events()), 60)
            assert disabled(said.events()) == {bad.id, left.id, dead.id}
            final = {each.id: each for each in said.events() if isinstance(each, WebhookDelivery)}
        ends = {(each.endpoint, each.job): (each.outcome, each.attempts) for each in final.values()}
        assert ("failed", 10) in (ends[bad.id, done], ends[bad.id, cancelled])
        assert ends[left.id, done][0] in ("failed", "dropped")
        assert len(gone.requests) <= 2
        assert len({headers["webhook-id"] for _, headers, _ in broken.requests}) == 2


def begin(log: Log) -> str:
    """The id of a job of which `jobs` says three times that it runs its first task."""
    job = f"video_{uuid.uuid4().hex}"
    stages = {Stage.DENOISE: StageState(key="k", dispatches=1)}
    for version in (1, 2, 3):
        changes = {"job": job, "version": version, "status": JobStatus.RUNNING, "stages": stages}
        log.write(JOBS, job, JobState.model_validate(STATE.model_copy(update=changes).model_dump()))
    return job


def disabled(events: list[Frozen]) -> set[str]:
    return {each.endpoint for each in events if isinstance(each, EndpointDisabled)}


@pytest.mark.long
def test_progress_is_told_while_a_job_runs_never_after_its_end_and_is_written_down_nowhere(
    settings: Settings, log: Log, receiver: Receiver
) -> None:
    with services(settings, notifier="notifier") as running, tail(settings, WEBHOOKS) as said:
        curious = log.endpoint(f"{receiver.url}/", "acme", COMPLETED, PROGRESS)
        settled(log, receiver, curious)
        job = begin(log)
        eventually(lambda: told_after(log, job, 40, receiver, curious))
        for number in (41, 42, 60, 30):
            step(log, job, number)
        eventually(lambda: percents(receiver, curious, job)[-1] == 50)
        running["notifier"].send_signal(signal.SIGTERM)
        assert running["notifier"].wait() == 0
        running["notifier"].start()
        eventually(lambda: told_after(log, job, 80, receiver, curious)[-1] == 70)
        log.end(job=job)
        eventually(lambda: (COMPLETED, job) in heard(receiver, curious))
        step(log, job, 99)
        settled(log, receiver, curious)
        told = heard(receiver, curious)
        assert (PROGRESS, job) not in told[told.index((COMPLETED, job)) :]
        assert PROGRESS not in [each.type for each in said.events() if isinstance(each, WebhookDelivery)]


def settled(log: Log, receiver: Receiver, endpoint: WebhookEndpoint) -> None:
    """Something later than all that was written has been told."""
    other = log.end()
    eventually(lambda: (COMPLETED, other) in heard(receiver, endpoint))


def step(log: Log, job: str, number: int) -> None:
    """Of a hundred, under the lease that runs."""
    done = {"job": job, "tenant": "acme", "stage": Stage.DENOISE, "lease": 7, "step": number, "steps": 100}
    log.write(STEPS, job, StepProgress.model_validate(done))


def told_after(log: Log, job: str, number: int, receiver: Receiver, endpoint: WebhookEndpoint) -> list[int]:
    """What has been told by now; the notifier may not have begun to listen when an earlier step was written."""
    step(log, job, number)
    return percents(receiver, endpoint, job)


def percents(receiver: Receiver, endpoint: WebhookEndpoint, job: str) -> list[int]:
    events = receiver.verified("/", secrets.secret_of_endpoint(ROOT, endpoint))
    return [each["data"]["progress"] for each in events if (each["type"], each["data"]["id"]) == (PROGRESS, job)]


@pytest.mark.long
def test_a_rotated_secret_of_a_tenant_signs_what_goes_to_the_url_of_a_prompt(
    settings: Settings, log: Log, receiver: Receiver
) -> None:
    first, second, third = (secrets.secret_of_tenant(ROOT, "acme", generation) for generation in (1, 2, 3))

    def told_to(path: str) -> str:
        job = log.end(webhook_url=f"{receiver.url}{path}")
        eventually(lambda: path in receiver.paths())
        return job

    with services(settings, notifier="notifier"):
        told_to("/never")
        assert len(receiver.verified("/never", first)) == 1
        rotate_webhook_secret(settings, "acme", time.time(), keep_old=True)
        job = told_to("/once")
        for secret in (first, second):
            assert [event["data"]["id"] for event in receiver.verified("/once", secret)] == [job]
        rotate_webhook_secret(settings, "acme", time.time(), keep_old=False)
        told_to("/twice")
        assert len(receiver.verified("/twice", third)) == 1
        with pytest.raises(WebhookVerificationError):
            receiver.verified("/twice", second)


@pytest.mark.long
def test_an_end_that_is_read_again_and_one_from_before_the_endpoint_are_no_news(
    settings: Settings, log: Log, receiver: Receiver
) -> None:
    with services(settings, notifier="notifier") as running:
        endpoint = log.endpoint(f"{receiver.url}/")
        job = log.end()
        eventually(lambda: heard(receiver, endpoint) == [(COMPLETED, job)])
        again = first("job_completed").model_copy(update={"job": job, "ended_at": time.time()})
        log.write(COMPLETIONS, "acme", again)
        log.end(ended_at=0.5)
        running["notifier"].send_signal(signal.SIGTERM)
        assert running["notifier"].wait() == 0
        other = log.end()
        running["notifier"].start()
        eventually(lambda: (COMPLETED, other) in heard(receiver, endpoint))
        assert heard(receiver, endpoint) == [(COMPLETED, job), (COMPLETED, other)]


@pytest.mark.long
def test_a_standby_takes_over_what_is_still_to_be_delivered(settings: Settings, log: Log) -> None:
    patient, receiver = settings.model_copy(update={"webhook_pace": 0.002}), Receiver()
    with services(patient, one="notifier") as running:
        endpoint = log.endpoint(f"{receiver.url}/")
        job = log.end()
        with services(patient, other="notifier"), tail(settings, WEBHOOKS) as said:
            eventually(lambda: [each for each in said.events() if isinstance(each, WebhookDelivery) and each.attempts])
            running["one"].kill()
            with receiver:
                eventually(lambda: heard(receiver, endpoint) == [(COMPLETED, job)], 60)


@pytest.mark.long
def test_a_flood_to_a_slow_receiver_delays_nobody_else(settings: Settings, log: Log, receiver: Receiver) -> None:
    slow = settings.model_copy(update={"webhook_timeout_s": 30.0})
    # Connections are taken there, and nothing is ever said.
    with socket.create_server(("127.0.0.1", 0), backlog=100) as deaf, services(slow, notifier="notifier"):
        log.endpoint(f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        for _ in range(50):
            log.end()
        quick = log.endpoint(f"{receiver.url}/")
        job = log.end()
        eventually(lambda: (COMPLETED, job) in heard(receiver, quick), 15)


def test_receivers_that_answer_without_end_stop_nobody_else(settings: Settings, log: Log, receiver: Receiver) -> None:
    """As many as a tenant may have under way, of two tenants: each is given up, and a third tenant's arrives."""
    with endless_continue() as endless, services(settings, notifier="notifier"), tail(settings, WEBHOOKS) as said:
        for number in range(10):
            for tenant in ("globex", "initech"):
                log.endpoint(f"{endless}/{number}", tenant)
        quick = log.endpoint(f"{receiver.url}/")
        for tenant in ("globex", "initech"):
            log.write(
                COMPLETIONS,
                tenant,
                first("job_completed").model_copy(
                    update={
                        "job": f"video_{uuid.uuid4().hex}",
                        "tenant": tenant,
                        "ended_at": time.time(),
                    }
                ),
            )
        job = log.end()
        eventually(lambda: (COMPLETED, job) in heard(receiver, quick), 15)
        eventually(lambda: "TooLong" in errors_of(said.events()))
        assert errors_of(said.events()) == {"TooLong"}


def errors_of(events: list[Frozen]) -> set[str]:
    """Kinds of failure that the logs of deliveries tell of."""
    attempts = [entry for each in events if isinstance(each, WebhookDelivery) for entry in each.log]
    return {entry.error.split(":")[0] for entry in attempts if entry.error}


@pytest.mark.long
def test_a_weak_secret_stops_production(settings: Settings) -> None:
    weak = settings.model_copy(update={"gateway_mode": "production", "webhook_secret": SecretStr("short")})
    service = Service(weak, "notifier", "notifier").start()
    assert service.wait() == 1
    assert "LATENTLINE_WEBHOOK_SECRET" in service.tail()
