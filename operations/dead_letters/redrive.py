"""Dead letters back into the line: as a new event that names its parent, never as the old one.

The new id is made from the letter, so a letter that is redriven twice is one job. It stands for the idempotency key of
a prompt too, which belongs to the job that the letter tells of.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from confluent_kafka import KafkaException

from operations.dead_letters.records import DeadLetterRecord
from operations.resubmit import NotRepeatable, resubmitted
from runtime.settings import Settings
from schemas import envelope
from schemas.digest import digest
from schemas.envelope import Headers
from streams.kafka import clients
from streams.kafka.errors import ClientError, NotDelivered
from streams.kafka.signing import signed
from streams.kafka.topics import DLQ, PROMPTS

SOURCE = "latentline/redrive"
DELIVERED_WITHIN_S = 15.0
ANY_PARTITION = -1


@dataclass(frozen=True)
class Redriven:
    """A record for `prompts`. `partition` -1: chosen by key."""

    letter: DeadLetterRecord
    id: str
    value: bytes
    headers: Headers
    key: str | None = None
    partition: int = ANY_PARTITION


class NotRedrivable(ClientError):
    """This letter holds nothing that can be asked for again."""

    def __init__(self, letter: DeadLetterRecord, why: str) -> None:
        super().__init__(f"{letter.place} ({letter.reason}) cannot be redriven: {why}")


def redriven(letter: DeadLetterRecord) -> Redriven:
    """The new event. Raises `NotRedrivable`."""
    if letter.topic == "jobs":
        return prompt_again(letter)
    if letter.topic != PROMPTS.name:
        raise NotRedrivable(letter, f"it comes from `{letter.topic}`, which the line writes itself")
    if letter.value is None or letter.truncated_from is not None:
        raise NotRedrivable(letter, "its original bytes are not whole")
    new, partition = new_id(letter), letter.origin.split("/")[1]
    named = {"ce_id": new, "ce_parent": parent_of(letter)}
    headers = [(name, text) for name, text in letter.headers if name not in named]
    headers += [(name, text.encode()) for name, text in named.items()]
    return Redriven(letter, new, rekeyed(letter.value, new), headers, letter.tenant, int(partition))


def rekeyed(value: bytes, key: str) -> bytes:
    """The value with another idempotency key, where it has one."""
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    data = event.get("data", event) if isinstance(event, dict) else None
    if not isinstance(data, dict) or data.get("idempotency_key") is None:
        return value
    data["idempotency_key"] = key
    return orjson.dumps(event)


def prompt_again(letter: DeadLetterRecord) -> Redriven:
    """The same recipe, asked for anew by a job that names the one that was given up."""
    job = letter.job
    if job is None:
        raise NotRedrivable(letter, "it holds no job")
    new = new_id(letter)
    try:
        prompt = resubmitted(job, new, job.runs)
    except NotRepeatable as error:
        raise NotRedrivable(letter, str(error)) from None
    value, headers = envelope.write(
        prompt, id=new, source=SOURCE, time=time.time(), extensions={"parent": parent_of(letter)}
    )
    return Redriven(letter, new, value, headers, job.tenant)


def new_id(letter: DeadLetterRecord) -> str:
    return "redrive-" + digest([letter.place, letter.origin, letter.time])[:32]


def parent_of(letter: DeadLetterRecord) -> str:
    return f"{DLQ.name}/{letter.place}"


def send(settings: Settings, records: Sequence[Redriven]) -> None:
    """Write them to `prompts` and wait until all are acknowledged. Raises `ClientError`."""
    delivered: list[str] = []
    why: list[str] = []
    producer = clients.producer(clients.PRODUCER, settings, message_timeout_ms=int(DELIVERED_WITHIN_S * 1000))
    for record in records:
        try:
            producer.produce(
                PROMPTS.named(settings.topic_prefix), record.value, record.key, record.partition,
                on_delivery=lambda error, _: why.append(error.str()) if error else delivered.append(""),
                headers=[*signed(settings, record.value, record.headers)],
            )  # fmt: skip
        except KafkaException as error:
            raise ClientError(f"{record.letter.place} cannot be sent: {error.args[0].str()}") from None
        producer.poll(0)
    producer.flush(DELIVERED_WITHIN_S + 5)
    if len(delivered) < len(records):
        lost = len(records) - len(delivered)
        reason = why[0] if why else "no answer"
        raise NotDelivered(f"{lost} of {len(records)} letters were not acknowledged, redrive them again: {reason}")
