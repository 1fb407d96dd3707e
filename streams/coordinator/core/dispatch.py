"""The whole of the core behind three functions: take in one record, dead-letter one that cannot be, place what waits.

Pure: `(ledger, policy, record, now)` in, changed ledger and effects out. The service and the simulator run this code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Envelope, Headers, UnreadableEvent
from schemas.errors import UnreadableOutcome
from schemas.events.prompts import CancelRequested, DeleteRequested, PromptSubmitted
from schemas.events.reports import DrainRequested, ExpiryDue, Heartbeat, Outcome, Tick
from schemas.job import JobState
from schemas.rejected_prompt import rejected_prompt
from schemas.signature import verdict_on
from schemas.stage_keys import identity_of
from streams.coordinator.core import drains, intake, membership, outcomes
from streams.coordinator.core.effects import Effect
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.placement import place
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.state.tombstone import EndedJob
from streams.coordinator.core.turn import written
from streams.kafka.addressing import address_of
from streams.kafka.topics import PROMPTS

__all__ = ["Record", "asks_for", "dead_letter", "decide", "is_delete", "place", "take", "written"]

DELETE, EXPIRY = envelope.type_of(DeleteRequested).encode(), ("ce_type", envelope.type_of(ExpiryDue).encode())


class Record(NamedTuple):
    """A record of `prompts` or `reports` as it was read. `topic` is its name in the table, without prefix.

    `fault`: why its bytes or headers cannot be had. Where a whole batch is such, this stands for its `length` records.
    `state`: the whole state of the ended job that it asks for (see `asks_for`). `tokens`: of a prompt, by field.
    """

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: Headers
    fault: str | None = None
    length: int = 1
    state: JobState | None = None
    tokens: Mapping[str, int] | None = None

    @property
    def next_offset(self) -> int:
        return self.offset + self.length

    @property
    def raw(self) -> Raw:
        return Raw(self.value, self.headers, f"{self.topic}/{self.partition}/{self.offset}")


def is_delete(record: Record) -> bool:
    """Whether it may be one: so much is seen without reading it."""
    return record.topic == PROMPTS.name and any(DELETE in text for text in texts_of(record))


def texts_of(record: Record) -> Iterator[bytes]:
    """Where the type of an event may stand: in a header, or in the value of a structured one."""
    yield record.value or b""
    yield from (text for _, text in record.headers)


def asks_for(ledger: Ledger, record: Record) -> EndedJob | None:
    """The ended job whose whole state `take` needs with this record: the ledger has its tombstone alone."""
    if not is_delete(record) and EXPIRY not in record.headers:
        return None
    try:
        event, _ = envelope.read(record.value, record.headers)
    except UnreadableEvent:
        return None
    return intake.asks_for(ledger, event) if isinstance(event, DeleteRequested | ExpiryDue) else None


def take(ledger: Ledger, policy: Policy, record: Record, now: float) -> list[Effect]:
    """Apply one record. What cannot be read is dead-lettered here; an exception is a bug (see `dead_letter`)."""
    if record.fault is not None:
        return dead_letter(ledger, policy, record, "unreadable", record.fault, now)
    try:
        event, attributes = envelope.read(record.value, record.headers)
    except UnreadableEvent as error:
        return dead_letter(ledger, policy, record, error.reason, str(error), now)
    return decide(ledger, policy, record, event, attributes, now)


def decide(
    ledger: Ledger, policy: Policy, record: Record, event: Frozen, attributes: Envelope, now: float
) -> list[Effect]:
    """Apply the event that a record was read as."""
    if record.topic == PROMPTS.name:
        return take_prompt(ledger, policy, event, attributes, record, now)
    return take_report(ledger, policy, event, record, now)


def take_prompt(
    ledger: Ledger, policy: Policy, event: Frozen, attributes: Envelope, record: Record, now: float
) -> list[Effect]:
    if not isinstance(event, PromptSubmitted | CancelRequested | DeleteRequested):
        message = f"{attributes.type} does not belong into {record.topic}"
        return [record.raw.dead_letter("unexpected_event", message)]
    verdict = verdict_on(policy.signers, event.tenant, attributes, record.value or b"", record.headers)
    if verdict.refusal is not None:
        return [record.raw.dead_letter("not_authorised", verdict.refusal)]
    if isinstance(event, PromptSubmitted):
        identity = identity_of(event, attributes.source if verdict.vouches_for_source else None, attributes.id)
        return intake.submit(ledger, policy, event, identity, record.raw, now, attributes.traceparent, record.tokens)
    if isinstance(event, CancelRequested):
        return intake.cancel(ledger, event, record.raw, now)
    return intake.delete(ledger, event, record.raw, now, record.state)


def take_report(ledger: Ledger, policy: Policy, event: Frozen, record: Record, now: float) -> list[Effect]:
    if isinstance(event, Heartbeat):
        return membership.heartbeat(ledger, policy, event, now)
    if isinstance(event, Outcome):
        return outcomes.resolve(ledger, policy, event, now)
    if isinstance(event, Tick):
        return membership.tick(ledger, policy, event, now)
    if isinstance(event, DrainRequested):
        return drains.request(ledger, event, record.raw)
    if isinstance(event, ExpiryDue):
        return intake.expire(ledger, event, now, record.state)
    return [record.raw.dead_letter("unexpected_event", f"{type(event).__name__} does not belong into {record.topic}")]


def dead_letter(ledger: Ledger, policy: Policy, record: Record, reason: str, message: str, now: float) -> list[Effect]:
    """Dead-letter a record, and end what waits for it: the job that a prompt asks for, the lease that headers name."""
    if record.topic == PROMPTS.name:
        return dead_letter_prompt(ledger, policy, record, reason, message, now)
    address = address_of(record.headers)
    effects: list[Effect] = [record.raw.dead_letter(reason, message, address.job or None)]
    state = ledger.jobs.get(address.job)
    if state is None or state.lease is None or state.lease.number != address.lease:
        return effects
    error = UnreadableOutcome(f"{reason}: {message}")
    return [*effects, *outcomes.failed(ledger, policy, state, error.report(), now)]


def dead_letter_prompt(
    ledger: Ledger, policy: Policy, record: Record, reason: str, message: str, now: float
) -> list[Effect]:
    """As `dead_letter`. A stranger's record ends nothing, even unreadable: its signature is looked at first.

    One with a `fault` is not read once more: reading it may be what earlier lives of the coordinator hung on.
    """
    rejected = None if record.fault is not None else rejected_prompt(record.value, record.headers)
    letter = record.raw.dead_letter(reason, message)
    if rejected is None:
        return [letter]
    prompt, about = rejected.prompt, rejected.about
    verdict = verdict_on(policy.signers, prompt.tenant, about, record.value or b"", record.headers)
    if verdict.refusal is not None:
        return [letter]
    identity = identity_of(prompt, about.source if verdict.vouches_for_source else None, about.id)
    return intake.reject(ledger, rejected, identity.job, letter, now)
