"""What a delete leaves of a prompt: nothing in compacted topics and in the read model, once their lag has passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from pydantic import SecretStr

from infra.local import ports, topics
from runtime.settings import DEFAULT_KEY, Settings
from schemas.webhooks import COMPLETED, FULL, WebhookEndpoint
from streams.kafka.topics import ENDPOINTS, JOBS, PROMPTS, TOPICS, WEBHOOKS, Topic
from tests.broker.test_notifier import Log
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, services
from tests.receiver import Receiver
from tests.support import eventually

pytestmark = pytest.mark.broker

WORDS = "a lighthouse keeper named Ermintrude"
LAG_MS = 1000
BROKER = "1"


@pytest.fixture
def settings(quick: Settings) -> Settings:
    [port] = ports.choose([0])
    own = {"webhook_allow": "127.0.0.0/8:*", "webhook_secret": SecretStr("of these tests alone"), "gateway_port": port}
    return quick.model_copy(update=own)


@pytest.fixture
def hasty(settings: Settings) -> Iterator[Settings]:
    """The lag of an hour is a second here, and the cleaner of this broker looks ten times a second."""
    client = topics.admin(settings)
    compacted = [topic.named(settings.topic_prefix) for topic in TOPICS if topic.cleanup == "compact"]
    lags = {"max.compaction.lag.ms": LAG_MS, "segment.ms": LAG_MS}
    changes = [set_all(ResourceType.TOPIC, name, lags) for name in compacted]
    changes.append(set_all(ResourceType.BROKER, BROKER, {"log.cleaner.backoff.ms": 100}))
    for done in client.incremental_alter_configs(changes).values():
        done.result(topics.TIMEOUT)
    yield settings
    for done in client.incremental_alter_configs(
        [set_all(ResourceType.BROKER, BROKER, {"log.cleaner.backoff.ms": 15000})]
    ).values():
        done.result(topics.TIMEOUT)


def set_all(kind: ResourceType, name: str, values: dict[str, int]) -> ConfigResource:
    entries = [
        ConfigEntry(key, str(value), incremental_operation=AlterConfigOpType.SET) for key, value in values.items()
    ]
    return ConfigResource(kind, name, incremental_configs=entries)


def test_after_a_delete_compacted_topics_and_the_read_model_hold_no_word_of_the_prompt(
    hasty: Settings, worker: PlayedWorker
) -> None:
    log = Log(hasty)
    base = f"http://127.0.0.1:{hasty.gateway_port}/v1"
    with (
        Receiver() as receiver,
        services(hasty, coordinator="coordinator", gateway="gateway", notifier="notifier"),
        httpx.Client(headers={"authorization": f"Bearer {DEFAULT_KEY}"}, timeout=30) as http,
    ):
        log.write(ENDPOINTS, ENDPOINT_ID, endpoint(f"{receiver.url}/"))
        video = http.post(f"{base}/videos", json={"prompt": WORDS, "webhook_url": f"{receiver.url}/mine"}).json()["id"]
        eventually(lambda: worked(worker, lambda: {"/", "/mine"} <= {*receiver.paths()}), 60)
        for topic in (PROMPTS, JOBS, WEBHOOKS):
            assert is_said(hasty, topic), f"{topic.name} had the prompt before the delete"
        assert is_on_disk(hasty.data_dir)
        assert http.delete(f"{base}/videos/{video}").status_code == 200
        for topic in (JOBS, WEBHOOKS):
            eventually(partial(is_gone, log, hasty, topic), 90)
        eventually(lambda: not is_on_disk(hasty.data_dir), 60)


ENDPOINT_ID = "we_" + "7" * 32


def endpoint(url: str) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=ENDPOINT_ID,
        tenant="default",
        url=url,
        event_types=(COMPLETED,),
        created_at=1.0,
        updated_at=1.0,
        payload=FULL,
    )


def worked(worker: PlayedWorker, is_done: Callable[[], bool]) -> bool:
    worker.work()
    return is_done()


def is_said(settings: Settings, topic: Topic) -> bool:
    """Whether a record on the broker's disk has the words: read from the first offset on, so unpacked by the client."""
    reader = Tail(settings, topic)
    try:
        eventually(reader.poll)
        return any(WORDS.encode() in (value or b"") for _, value, _ in reader.poll())
    finally:
        reader.close()


def is_gone(log: Log, settings: Settings, topic: Topic) -> bool:
    """A segment is closed by the first record that comes after its time, as one does all the time on a line at work."""
    log.write(topic, f"later-{time.monotonic_ns()}", None)
    return not is_said(settings, topic)


def is_on_disk(folder: Path) -> bool:
    """Whether a file of the gateway's read model, or of a spool, has the words."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert any(path.name == "jobs.sqlite" for path in files)
    return any(WORDS.encode() in path.read_bytes() for path in files)
