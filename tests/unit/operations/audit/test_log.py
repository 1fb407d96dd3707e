"""What a long reader of the log does when the broker was restarted under it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from operations.audit import log
from operations.audit.log import Log
from runtime.settings import Settings
from streams.kafka.errors import Unreachable
from streams.kafka.topics import JOBS


class Fenced:
    """An admin client that goes on with a leader epoch of before."""

    def list_offsets(self, asked: dict[Any, Any], **how: Any) -> dict[Any, Future[Any]]:
        futures: dict[Any, Future[Any]] = {place: Future() for place in asked}
        for future in futures.values():
            future.set_exception(KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)))
        return futures


def test_an_admin_client_that_was_refused_asks_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka never learns the new leader epoch there: the janitor stood still for minutes after a restart."""
    made: list[Fenced] = []

    def make(settings: Settings) -> Fenced:
        made.append(Fenced())
        return made[-1]

    monkeypatch.setattr(log, "admin_client", make)
    monkeypatch.setattr(Log, "_partitions", lambda self, topic: [("jobs", 0)])
    with Log(Settings(kafka_bootstrap="127.0.0.1:1")) as reader:
        for times in (1, 2):
            with pytest.raises(Unreachable):
                next(reader.read(JOBS))
            assert len(made) == times + 1
