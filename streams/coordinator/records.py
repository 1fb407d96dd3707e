"""Effects and changed job states as Kafka records: which topic, which partition, which headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers
from schemas.events import Tick
from schemas.job import JobState
from streams import topics
from streams.addressing import extensions_of
from streams.coordinator.effects import Catalogue, Complete, DeadLetter, Effect, Forward, Send
from streams.outgoing import Outgoing

LARGEST_STATE_BYTES = 256 * 1024


class StateTooLarge(ValueError):
    """A job state over the cap: the event that made it is dead-lettered."""


def kept_headers(headers: Headers) -> Headers:
    """What is kept of the headers of somebody else's record."""
    return [(name, (text or b"")[:500]) for name, text in headers[:40]]


@dataclass(frozen=True)
class Writer:
    """Makes the records of one cell. `now` is unix seconds."""

    cell: int
    coordinator: str
    now: float

    @property
    def source(self) -> str:
        return f"latentline/coordinator/{self.cell}"

    def effects(self, effects: Iterable[Effect]) -> Iterable[Outgoing]:
        for number, effect in enumerate(effects):
            if isinstance(effect, Send):
                yield self._send(effect, number)
            elif isinstance(effect, Complete):
                yield self._complete(effect)
            elif isinstance(effect, DeadLetter):
                yield self._dead_letter(effect)
            elif isinstance(effect, Catalogue):
                yield self._catalogue(effect)
            elif isinstance(effect, Forward):
                headers = kept_headers(effect.headers)
                yield Outgoing(topics.VIDEOS, effect.origin, effect.value, headers, self.cell)

    def _catalogue(self, effect: Catalogue) -> Outgoing:
        if effect.record is None:
            return Outgoing(topics.VIDEOS, effect.job, None, partition=self.cell)
        value, headers = self._write(effect.record, f"{effect.job}-video", effect.job, None)
        return Outgoing(topics.VIDEOS, effect.job, value, headers, self.cell)

    def _send(self, effect: Send, number: int) -> Outgoing:
        event = effect.event
        lease = getattr(event, "lease", 0)
        name = f"{type(event).__name__}-{lease}-{event.incarnation}-{self.now}-{number}"
        value, headers = self._write(event, name, None, effect.traceparent, extensions_of(event))
        return Outgoing(topics.TASKS[effect.stage], event.incarnation, value, headers, effect.partition)

    def _complete(self, effect: Complete) -> Outgoing:
        event = effect.event
        value, headers = self._write(event, f"{event.job}-end", event.job, effect.traceparent)
        return Outgoing(topics.COMPLETIONS, event.tenant, value, headers)

    def _dead_letter(self, letter: DeadLetter) -> Outgoing:
        """The original headers come first, ours after them: what a redrive strips is everything named `dlq_`."""
        largest = topics.LARGEST_VALUE_BYTES
        value = letter.value if letter.value is None else letter.value[:largest]
        about = {
            "dlq_reason": letter.reason,
            "dlq_message": letter.message[:4000],
            "dlq_origin": letter.origin,
            "dlq_time": f"{self.now:.3f}",
        }
        if letter.value is not None and len(letter.value) > largest:
            about["dlq_truncated_from"] = str(len(letter.value))
        headers = kept_headers(letter.headers)
        return Outgoing(
            topics.DLQ, letter.key, value, headers + [(name, text.encode()) for name, text in about.items()]
        )

    def states(self, changes: Iterable[tuple[str, JobState | None]]) -> Iterable[Outgoing]:
        """The changelog; None is the tombstone of a stub that nobody can ask for any more."""
        for job, state in changes:
            if state is None:
                yield Outgoing(topics.JOBS, job, None, partition=self.cell)
                continue
            value, headers = self._write(state, f"{job}-{state.version}", job, state.traceparent)
            if len(value) > LARGEST_STATE_BYTES:
                raise StateTooLarge(f"the state of {job} is too large: {len(value)} bytes")
            yield Outgoing(topics.JOBS, job, value, headers, self.cell)

    def tick(self, tick: Tick) -> Outgoing:
        value, headers = self._write(tick, f"tick-{self.coordinator}-{tick.number}", None, None)
        return Outgoing(topics.REPORTS, self.coordinator, value, headers, self.cell)

    def _write(
        self, event: Frozen, name: str, subject: str | None, traceparent: str | None,
        extensions: dict[str, str] | None = None,
    ) -> tuple[bytes, Headers]:  # fmt: skip
        return envelope.write(
            event, id=name, source=self.source, time=self.now, subject=subject, traceparent=traceparent,
            extensions=extensions,
        )  # fmt: skip
