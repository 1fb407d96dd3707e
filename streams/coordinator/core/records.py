"""Effects and changed job states as Kafka records: which topic, which partition, which headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers
from schemas.errors import InvalidJob
from schemas.events.reports import Tick
from schemas.job import JobState
from streams.coordinator.core.effects import Catalogue, Complete, DeadLetter, Effect, Forward, Send
from streams.kafka import topics
from streams.kafka.addressing import extensions_of
from streams.kafka.producer_record import ProducerRecord

LARGEST_STATE_BYTES = 256 * 1024
"""What a job can come to is below this: 4 texts of 4096 characters of at most 4 bytes (prompt and negative prompt, of
what was asked and of what is served), 16 metadata of 64 + 512 characters of at most 6 bytes as JSON, a webhook of 2048
characters of at most 2, a cancel's reason of 512 of 6; errors: the last of 2000, 4 of 1000 and 16 of 200, of 6; and
some 400 bytes an attempt, 4 kB a stage and 6 kB for all else: 65,536 + 55,296 + 4,096 + 3,072 + 12,000 + 24,000
+ 19,200 + 8,000 + 16,000 + 6,000 = 213,200. The rest, a fifth, is reserve."""
LARGEST_HEADERS_BYTES = 32 * 1024
"""Of a dead letter, names included: what its topic has left beside the largest value, with room for ours."""
HEADERS_KEPT, HEADER_BYTES_KEPT = 40, 500


def too_large(size: int) -> InvalidJob:
    """A job whose state is over the cap cannot be carried on."""
    limit = f"its state may have at most {LARGEST_STATE_BYTES} bytes: shorten prompt and metadata"
    return InvalidJob("job", f"{size} bytes", limit)


@dataclass(frozen=True)
class Writer:
    """Makes the records of one cell. `now` is unix seconds."""

    cell: int
    coordinator: str
    now: float

    @property
    def source(self) -> str:
        return f"latentline/coordinator/{self.cell}"

    def effects(self, effects: Iterable[Effect]) -> Iterable[ProducerRecord]:
        for number, effect in enumerate(effects):
            if (record := self.effect(effect, number)) is not None:
                yield record

    def effect(self, effect: Effect, number: int) -> ProducerRecord | None:
        """The record of an effect, if it is one. `number`: its place in the turn."""
        if isinstance(effect, Send):
            return self._send(effect, number)
        if isinstance(effect, Complete):
            return self._complete(effect)
        if isinstance(effect, Catalogue):
            return self._catalogue(effect)
        if isinstance(effect, Forward):
            return ProducerRecord(topics.VIDEOS, effect.origin, effect.value, kept_headers(effect.headers), self.cell)
        return self._dead_letter(effect) if isinstance(effect, DeadLetter) else None

    def _catalogue(self, effect: Catalogue) -> ProducerRecord:
        if effect.record is None:
            return ProducerRecord(topics.VIDEOS, effect.job, None, partition=self.cell)
        value, headers = self._write(effect.record, f"{effect.job}-video", effect.job, None)
        return ProducerRecord(topics.VIDEOS, effect.job, value, headers, self.cell)

    def _send(self, effect: Send, number: int) -> ProducerRecord:
        event = effect.event
        lease = getattr(event, "lease", 0)
        name = f"{type(event).__name__}-{lease}-{event.incarnation}-{self.now}-{number}"
        value, headers = self._write(event, name, None, effect.traceparent, extensions_of(event))
        return ProducerRecord(topics.TASKS[effect.stage], event.incarnation, value, headers, effect.partition)

    def _complete(self, effect: Complete) -> ProducerRecord:
        event = effect.event
        value, headers = self._write(event, f"{event.job}-end", event.job, effect.traceparent)
        return ProducerRecord(topics.COMPLETIONS, event.tenant, value, headers)

    def _dead_letter(self, letter: DeadLetter) -> ProducerRecord:
        """The original headers come first, ours after them: what a redrive strips is everything named `dlq_`."""
        largest = topics.LARGEST_VALUE_BYTES
        value = letter.value if letter.value is None else letter.value[:largest]
        about = {
            "dlq_reason": letter.reason[:200],
            "dlq_message": letter.message[:4000],
            "dlq_origin": letter.origin,
            "dlq_time": f"{self.now:.3f}",
        }
        if letter.value is not None and len(letter.value) > largest:
            about["dlq_truncated_from"] = str(len(letter.value))
        headers = kept_headers(letter.headers)
        if len(headers) < min(len(letter.headers), HEADERS_KEPT):
            about["dlq_headers_dropped"] = str(len(letter.headers) - len(headers))
        ours = [(name, text.encode(errors="replace")) for name, text in about.items()]
        return ProducerRecord(topics.DLQ, letter.key and letter.key[:200], value, headers + ours)

    def state(self, job: str, state: JobState | None) -> ProducerRecord:
        """A record of the changelog; None is the tombstone of a stub that nobody can ask for any more.

        Raises `InvalidJob` for a state over the cap.
        """
        if state is None:
            return ProducerRecord(topics.JOBS, job, None, partition=self.cell)
        value, headers = self._write(state, f"{job}-{state.version}", job, state.traceparent)
        if len(value) > LARGEST_STATE_BYTES:
            raise too_large(len(value))
        return ProducerRecord(topics.JOBS, job, value, headers, self.cell)

    def tick(self, tick: Tick) -> ProducerRecord:
        value, headers = self._write(tick, f"tick-{self.coordinator}-{tick.number}", None, None)
        return ProducerRecord(topics.REPORTS, self.coordinator, value, headers, self.cell)

    def _write(
        self, event: Frozen, name: str, subject: str | None, traceparent: str | None,
        extensions: dict[str, str] | None = None,
    ) -> tuple[bytes, Headers]:  # fmt: skip
        return envelope.write(
            event, id=name, source=self.source, time=self.now, subject=subject, traceparent=traceparent,
            extensions=extensions,
        )  # fmt: skip


def kept_headers(headers: Headers) -> Headers:
    """What is kept of the headers of somebody else's record: the first of them, as long as their sum allows."""
    kept: Headers = []
    left = LARGEST_HEADERS_BYTES
    for name, text in headers[:HEADERS_KEPT]:
        cut = (text or b"")[:HEADER_BYTES_KEPT]
        left -= len(name.encode(errors="replace")) + len(cut)
        if left < 0:
            break
        kept.append((name, cut))
    return kept
