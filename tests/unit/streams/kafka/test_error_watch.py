"""What ends a process whose Kafka client cannot go on."""

from __future__ import annotations

import orjson
import pytest
from confluent_kafka import KafkaError

from streams.kafka.clients import ErrorWatch, FatalClientError

KNOWN = {"127.0.0.1:9092/1": {"source": "learned"}, "GroupCoordinator": {"source": "logical"}}
FIRST = {"127.0.0.1:9092/bootstrap": {"source": "configured"}, "GroupCoordinator": {"source": "logical"}}
NOBODY = {"GroupCoordinator": {"source": "logical"}}


def statistics(brokers: dict[str, dict[str, str]], name: str = "latentline#consumer-1") -> str:
    return orjson.dumps({"name": name, "brokers": brokers}).decode()


def test_a_client_that_knows_no_broker_at_two_looks_cannot_go_on() -> None:
    watch = ErrorWatch()
    watch.look(statistics(NOBODY))
    watch.check()
    watch.look(statistics(NOBODY))
    with pytest.raises(FatalClientError, match="latentline#consumer-1 has lost its last broker"):
        watch.check()


@pytest.mark.parametrize("brokers", [KNOWN, FIRST])
def test_one_that_knows_a_broker_goes_on_whether_that_answers_or_not(brokers: dict[str, dict[str, str]]) -> None:
    watch = ErrorWatch()
    for seen in (brokers, NOBODY, brokers, NOBODY, brokers):
        watch.look(statistics(seen))
        watch.check()


def test_clients_that_share_a_watch_are_told_apart() -> None:
    watch = ErrorWatch()
    for name in ("producer-1", "consumer-1"):
        watch.look(statistics(NOBODY, name))
    watch.check()


def test_the_first_fatal_error_is_told_and_others_are_no_end() -> None:
    watch = ErrorWatch()
    watch(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    watch.check()
    watch(KafkaError(KafkaError._FENCED, "fenced by another", fatal=True))
    watch(KafkaError(KafkaError._FATAL, "and again", fatal=True))
    with pytest.raises(FatalClientError, match="fenced by another"):
        watch.check()
