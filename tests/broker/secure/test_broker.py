"""Who may do something on the broker does it, and every other act is refused."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import NewTopic, ScramCredentialInfo, UserScramCredentialUpsertion

from infra.local import topics
from infra.security import broker
from infra.security.rights import Rights
from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.topics import PROMPTS, TOPICS
from tests.broker.secure.line import NAMES, Secure
from tests.support import eventually

pytestmark = pytest.mark.broker
DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
          KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)  # fmt: skip


def refused_writes(settings: Settings, wanted: set[str]) -> set[str]:
    """Of those topics, the ones that take no record for want of rights."""
    producer, answers = clients.producer(clients.PROGRESS, settings, message_timeout_ms=10_000), dict[str, int]()

    def delivered(error: KafkaError | None, message: Message) -> None:
        answers[message.topic() or ""] = error.code() if error else 0

    for topic in wanted:
        producer.produce(topic, b"{}", "forbidden", on_delivery=delivered)
    assert producer.flush(30) == 0
    return {name for name, code in answers.items() if code in DENIED}


def read(settings: Settings) -> set[str]:
    """Topics whose first partition can be read."""
    reader = clients.consumer(clients.READER, settings)
    found = {topic.named() for topic in TOPICS if is_readable(reader, topic.named())}
    reader.close()
    return found


def is_readable(reader: Consumer, topic: str) -> bool:
    """Any answer but a record, the end, or a refusal for want of rights fails."""
    seen = reader.list_topics(topic, 20).topics[topic].error
    if seen is None:
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        (message,) = eventually(lambda: reader.consume(1, 1))
        seen = message.error()
    assert seen is None or seen.code() in (*DENIED, KafkaError._PARTITION_EOF)
    return seen is None or seen.code() not in DENIED


@pytest.mark.parametrize("name", NAMES)
def test_each_reads_what_the_table_says_and_no_other_topic(secure: Secure, name: str) -> None:
    assert read(secure.of(name)) == {topic.named() for topic in secure.rights(name).reads}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_writes_to_a_topic_that_the_table_does_not_give(secure: Secure, name: str) -> None:
    forbidden = {topic.named() for topic in TOPICS} - {topic.named() for topic in secure.rights(name).writes}
    assert forbidden
    assert refused_writes(secure.of(name), forbidden) == forbidden


def refusal(future: Future[Any]) -> str:
    """The name of the error that a request of an administrator was answered with; nothing if it was done."""
    try:
        future.result(20)
    except KafkaException as error:
        return str(error.args[0].name())
    return ""


def test_nobody_else_fences_a_coordinator(secure: Secure) -> None:
    for name in ("worker-denoise", "views", "operator"):
        producer = clients.producer(clients.TRANSACTIONAL, secure.of(name), transactional_id="latentline.cell-0")
        with pytest.raises(KafkaException, match=r"(?i)authorization failed"):
            producer.init_transactions(10)


def test_nobody_else_joins_the_coordinators_group(secure: Secure) -> None:
    """The right to join is the one to move its offsets too."""
    for name in ("worker-denoise", "views", "downstream", "upstream-acme", "operator"):
        reader = clients.consumer(clients.READER, secure.of(name), group_id="latentline.coordinator")
        reader.subscribe([PROMPTS.named()])
        (message,) = eventually(partial(reader.consume, 1, 1))
        error = message.error()
        assert error is not None, name
        assert error.code() in DENIED, name
        reader.close()


def test_only_the_owner_makes_users_and_rights_and_nobody_a_topic_beyond_the_table(secure: Secure) -> None:
    user = UserScramCredentialUpsertion("friend", ScramCredentialInfo(broker.MECHANISM, broker.ITERATIONS), b"known")
    for name in NAMES:
        client = topics.admin(secure.of(name))
        asked = [
            *client.alter_user_scram_credentials([user], request_timeout=20).values(),
            *client.create_acls([*broker.bindings("", name, Rights(reads=TOPICS))], request_timeout=20).values(),
            *client.create_topics([NewTopic("anything", 1)], request_timeout=20).values(),
        ]
        assert len(asked) > 2 + len(TOPICS)
        assert all(refusal(future).endswith("AUTHORIZATION_FAILED") for future in asked), name
    assert topics.check(secure.operator) == []
    topics.apply(secure.operator)
