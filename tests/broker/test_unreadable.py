"""What nobody can unpack: the broker refuses it on `prompts`; where it got in, it is dead-lettered and got past."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from infra.local import topics
from operations.dead_letters.records import Filter, dead_letters
from runtime.settings import Settings
from streams.coordinator.core.effects import DeadLetter
from streams.coordinator.core.records import Writer
from streams.kafka import clients
from streams.kafka.topics import DLQ, PROMPTS, Topic
from tests.broker.coordinating import coordinating
from tests.processes import Tail, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

ZEROS = bytes(120_000_000)
"""More than librdkafka unpacks of a batch in zstd, and some kilobytes as it travels."""


def keep_as_it_comes(settings: Settings, topic: Topic) -> None:
    """As a broker does that does not look into the records of a topic."""
    entry = ConfigEntry("compression.type", "producer", incremental_operation=AlterConfigOpType.SET)
    name = topic.named(settings.topic_prefix)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    client = topics.admin(settings)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(30)
    # A broker acknowledges a change before it acts by it.
    eventually(lambda: [one.found for one in topics.check(settings, [topic])] == ["producer"])


def send(
    settings: Settings, topic: Topic, *values: bytes, codec: str = "zstd", linger: int = 3000
) -> KafkaError | None:
    """All in one batch. What the broker says to it."""
    errors: list[KafkaError | None] = []
    upstream = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap, "compression.type": codec, "linger.ms": linger,
         "message.max.bytes": 400_000_000, "batch.size": 400_000_000}
    )  # fmt: skip

    def told(error: KafkaError | None, message: Message) -> None:
        errors.append(error)

    for value in values:
        upstream.produce(topic.named(settings.topic_prefix), value, "default", on_delivery=told)
    assert upstream.flush(60) == 0
    assert len({error and error.code() for error in errors}) == 1
    return errors[0]


def committed(settings: Settings) -> int:
    group = clients.consumer(clients.TOOL, settings, group_id=f"{settings.topic_prefix}latentline.coordinator")
    try:
        [found] = group.committed([TopicPartition(PROMPTS.named(settings.topic_prefix), 0)], timeout=30)
        return int(found.offset)
    finally:
        group.close()


def test_the_broker_measures_what_a_prompt_unpacks_to(line: Settings) -> None:
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        error = send(line, PROMPTS, bytes(2 * PROMPTS.max_message_bytes), codec=codec, linger=0)
        assert error is not None
        assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE
        assert send(line, PROMPTS, bytes(1000), codec=codec, linger=0) is None


def test_a_batch_that_nobody_can_unpack_costs_none_of_its_neighbours(
    quick: Settings, upstream: Upstream, jobs: Tail
) -> None:
    keep_as_it_comes(quick, PROMPTS)
    before = [upstream.submit() for _ in range(3)]
    assert send(quick, PROMPTS, b"first", ZEROS, b"third", b"fourth", b"fifth") is None
    after = [upstream.submit() for _ in range(3)]
    with tail(quick, DLQ) as dead_letters:
        with coordinating(quick) as coordinator:
            eventually(lambda: states_of(jobs.events()).keys() == {*before, *after})
            [(_, value, headers)] = eventually(dead_letters.poll)
            told = dict(headers)
            assert (value, told["dlq_reason"], told["dlq_origin"]) == (None, b"unreadable", b"prompts/0/3")
            assert told["dlq_message"].startswith(b"offsets 3 to 7: Decompression")
            eventually(lambda: committed(quick) == 11)
            assert coordinator.failures == []
        with coordinating(quick):
            later = upstream.submit()
            eventually(lambda: later in states_of(jobs.events()))
        assert len(dead_letters.poll()) == 1


def test_a_header_whose_name_is_no_text_costs_none_of_its_neighbours(
    quick: Settings, upstream: Upstream, jobs: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka takes any bytes as a name; librdkafka's Python client cannot give them."""
    before = upstream.submit()
    for module in (message_accumulator, producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)

    class Odd(str):
        def encode(self, *ignored: Any) -> bytes:
            return b"\xff\xfe"

    async def send_odd() -> None:
        client = AIOKafkaProducer(bootstrap_servers=quick.kafka_bootstrap)
        await client.start()
        await client.send_and_wait(PROMPTS.named(quick.topic_prefix), b"odd", headers=[(Odd("odd"), b"")])
        await client.stop()

    asyncio.run(send_odd())
    after = upstream.submit()
    with coordinating(quick), tail(quick, DLQ) as dead_letters:
        eventually(lambda: states_of(jobs.events()).keys() == {before, after})
        [(_, value, headers)] = eventually(dead_letters.poll)
        assert (value, dict(headers)["dlq_reason"]) == (b"odd", b"unreadable")


def test_a_tool_reads_what_stands_behind_a_batch_that_nobody_can_unpack(line: Settings) -> None:
    def put(reason: str) -> None:
        [record] = Writer(0, "c", 1.8e9).effects([DeadLetter(reason, "", b"{}", [])])
        Upstream(line).send_raw(record.value, record.headers, DLQ)

    put("empty")
    assert send(line, DLQ, b"first", ZEROS, b"third") is None
    put("not_json")
    assert [letter.reason for letter in dead_letters(line, Filter())] == ["empty", "not_json"]


def test_the_broker_refuses_a_transaction_that_could_hold_readers_for_longer_than_a_minute(line: Settings) -> None:
    def life(milliseconds: int) -> None:
        settings = clients.config(clients.PRODUCER, line, transactional_id=f"{line.topic_prefix}upstream")
        Producer(settings | {"transaction.timeout.ms": milliseconds}).init_transactions(30)

    life(60_000)
    with pytest.raises(KafkaException) as refused:
        life(60_001)
    assert refused.value.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT
