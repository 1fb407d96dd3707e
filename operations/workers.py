"""The workers that are heard, and an operator's wish that one of them leaves: told in `reports`, as the line does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message

from runtime.settings import Settings
from schemas import envelope
from schemas.events.reports import DrainRequested, Heartbeat
from streams.kafka import clients
from streams.kafka.errors import ClientError, NothingHappened, Unreachable
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import REPORTS

DELIVERED_WITHIN_S = 15.0
TURN_S = 0.1


@dataclass(frozen=True)
class Heard:
    """A worker's last heartbeat, and the cell that it belongs to."""

    beat: Heartbeat
    cell: int

    @property
    def is_gone(self) -> bool:
        return self.beat.leaving


class WorkerRegistry:
    """The workers by name. Open it, read `workers`, then follow one to its end. Every call may raise `ClientError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._reader = settings, Reader(settings)
        self.workers: dict[str, Heard] = {}
        try:
            # Whoever has said nothing for longer is gone, or will be found gone.
            self._reader.assign(self._reader.since(REPORTS, time.time() - settings.worker_lost_after_s))
            for _ in self._take(self._reader.read_to_end()):
                pass
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WorkerRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

    def _take(self, messages: Iterator[Message] | list[Message]) -> Iterator[Heard]:
        for message in messages:
            beat = event_of(message)
            if isinstance(beat, Heartbeat) and self._is_newest(beat):
                heard = self.workers[beat.worker] = Heard(beat, message.partition() or 0)
                yield heard

    def _is_newest(self, beat: Heartbeat) -> bool:
        known = self.workers.get(beat.worker)
        return known is None or known.beat.started_at <= beat.started_at

    def names(self) -> list[str]:
        """Of those that have not left."""
        return sorted(name for name, heard in self.workers.items() if not heard.is_gone)

    def ask_to_leave(self, name: str, reason: str) -> None:
        """Write the wish and wait until the broker has it."""
        event = DrainRequested(worker=name, reason=reason)
        value, headers = envelope.write(event, id=uuid.uuid4().hex, source="latentline/operator", time=time.time())
        errors: list[KafkaError] = []
        producer = clients.producer(clients.PRODUCER, self._settings, message_timeout_ms=int(DELIVERED_WITHIN_S * 1000))
        try:
            producer.produce(
                REPORTS.named(self._settings.topic_prefix), value, name, self.workers[name].cell, headers=[*headers],
                on_delivery=lambda error, _: errors.append(error) if error else None,
            )  # fmt: skip
        except KafkaException as error:
            raise ClientError(f"the wish cannot be sent: {error.args[0].str()}") from None
        if producer.flush(DELIVERED_WITHIN_S + 5) or errors:
            raise Unreachable(self._settings.kafka_bootstrap, errors[0].str() if errors else "no answer")

    def wait_drained(self, name: str, seconds: float) -> Iterator[Heard]:
        """What this life of the worker says until it has left. Raises `NothingHappened` when it has not in time."""
        incarnation, deadline = self.workers[name].beat.incarnation, time.monotonic() + seconds
        while time.monotonic() < deadline:
            for heard in self._take(self._reader.read(TURN_S)):
                if heard.beat.worker != name:
                    continue
                yield heard
                if heard.is_gone or heard.beat.incarnation != incarnation:
                    return
        raise NothingHappened(f"{name} has not left within {seconds:g} s: `latentline show` tells how its job gets on")
