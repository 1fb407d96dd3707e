"""A broker that restarts is found again by each of its clients, however many they are.

Now and then one does not: told of no broker for a moment, librdkafka may ask nobody any more (its issue 5301). It must
be noticed, and a reader of these tests then begins anew, as a service does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from confluent_kafka import TopicPartition

from infra.local.stack import Stack
from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.topics import COMPLETIONS
from tests.conftest import forget, new_line
from tests.processes import Tail, Upstream
from tests.support import eventually

pytestmark = pytest.mark.broker

READERS = 50


@pytest.fixture
def line_of_its_own(lonely: Stack, tmp_path: Path) -> Iterator[Settings]:
    settings = new_line(lonely, tmp_path)
    yield settings
    forget(settings)


@pytest.mark.parametrize("restarts", [2, pytest.param(6, marks=pytest.mark.long)])
def test_every_client_finds_a_broker_again_that_has_left_in_order(
    lonely: Stack, line_of_its_own: Settings, restarts: int
) -> None:
    upstream = Upstream(line_of_its_own)
    readers = [Tail(line_of_its_own, COMPLETIONS) for _ in range(READERS)]
    for records in range(1, restarts + 2):
        if records > 1:
            restart_in_order(lonely)
        upstream.send_raw(b"{}", [], COMPLETIONS)
        all_hear(readers, records)
    for reader in readers:
        reader.close()


def test_what_a_client_tells_of_itself_is_looked_at_and_names_its_broker(line_of_its_own: Settings) -> None:
    """At the interval of production, and in librdkafka's own words: these are what a lost broker is known by."""
    watch = KeepsWhatItSaw()
    reader = clients.consumer(clients.READER, line_of_its_own, watch)
    reader.assign([TopicPartition(COMPLETIONS.named(line_of_its_own.topic_prefix), 0)])

    def is_looked_at() -> bool:
        reader.poll(0.1)
        return bool(watch.seen)

    eventually(is_looked_at)
    watch.check()
    told = orjson.loads(watch.seen[-1])
    told["brokers"] = {name: one for name, one in told["brokers"].items() if one["source"] not in clients.BROKERS}
    for _ in range(2):
        watch.look(orjson.dumps(told).decode())
    with pytest.raises(clients.FatalClientError):
        watch.check()
    reader.close()


class KeepsWhatItSaw(clients.ErrorWatch):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def look(self, statistics: str) -> None:
        self.seen.append(statistics)
        super().look(statistics)


def all_hear(readers: list[Tail], records: int) -> None:
    eventually(lambda: all(len(reader.raw) == records or len(reader.poll()) == records for reader in readers))


def restart_in_order(stack: Stack) -> None:
    """The keeper of the stack starts another."""
    broker = stack.status()["pids"]["kafka"]
    os.kill(broker, signal.SIGTERM)
    eventually(lambda: stack.status()["pids"].get("kafka", broker) != broker, 60)
