"""Write to the public intake as an upstream service does: prompts and cancels, acknowledged by the broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message

from runtime.settings import Settings
from schemas import envelope
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.stage_keys import identity_of
from streams.kafka import clients
from streams.kafka.errors import ClientError, NotDelivered, Unreachable
from streams.kafka.signing import signed
from streams.kafka.topics import PROMPTS

DELIVERED_WITHIN_S = 15.0


@dataclass(frozen=True)
class Submitted:
    """A prompt that the broker has acknowledged. Sent again under the same source and `id` it is the same job."""

    job: str
    id: str
    prompt: PromptSubmitted


def submit(
    settings: Settings, prompts: Sequence[PromptSubmitted], source: str = "latentline", parent: str | None = None
) -> list[Submitted]:
    """The jobs of these prompts, in order. `parent`: what they come from, for the event's `ce_parent`.

    Raises `Unreachable`, `NotDelivered`, or another `ClientError` for a prompt that is too large.
    """
    ids = send(settings, prompts, source, parent=parent)
    return [Submitted(identity_of(prompt, source, id).job, id, prompt) for id, prompt in zip(ids, prompts, strict=True)]


def cancel(settings: Settings, job: str, tenant: str, reason: str = "asked by the user") -> None:
    """Ask for the end of a job. Raises as `submit` does."""
    send(settings, [CancelRequested(job=job, tenant=tenant, reason=reason)])


def send(
    settings: Settings, events: Sequence[PromptSubmitted | CancelRequested], source: str = "latentline",
    seconds: float = DELIVERED_WITHIN_S, parent: str | None = None,
) -> list[str]:  # fmt: skip
    """Write each event under a fresh `ce_id` and wait until all are acknowledged; returns the ids in order."""
    batch = _Batch(settings, seconds, {} if parent is None else {"parent": parent})
    ids = [str(uuid.uuid4()) for _ in events]
    for id, event in zip(ids, events, strict=True):
        batch.add(event, id, source)
    batch.wait()
    return ids


class _Batch:
    """Events on their way; the producer gives up on each after `seconds`."""

    def __init__(self, settings: Settings, seconds: float, extensions: dict[str, str]) -> None:
        self._settings, self._extensions = settings, extensions
        self._bootstrap, self._topic = settings.kafka_bootstrap, PROMPTS.named(settings.topic_prefix)
        self._seconds, self._errors, self._sent = seconds, list[KafkaError](), 0
        self._producer = clients.producer(clients.PRODUCER, settings, message_timeout_ms=int(seconds * 1000))

    def add(self, event: PromptSubmitted | CancelRequested, id: str, source: str) -> None:
        value, headers = envelope.write(event, id=id, source=source, time=time.time(), extensions=self._extensions)
        headers = signed(self._settings, value, headers)
        try:
            self._producer.produce(self._topic, value, event.tenant, headers=[*headers], on_delivery=self._delivered)
        except KafkaException as error:
            raise ClientError(f"the event {id} cannot be sent: {error.args[0].str()}") from None
        self._sent += 1
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._errors.append(error)

    def wait(self) -> None:
        unsent = self._producer.flush(self._seconds + 5)
        lost = unsent + len(self._errors)
        if not lost:
            return
        why = self._errors[0].str() if self._errors else "no answer"
        if lost == self._sent and (unsent or self._errors[0].code() == KafkaError._MSG_TIMED_OUT):
            raise Unreachable(self._bootstrap, why)
        raise NotDelivered(f"{lost} of {self._sent} events were not acknowledged by Kafka at {self._bootstrap}: {why}")
