"""Dead letters: what could not be used, with its original bytes and headers, and why.

`dlq` is kept by time, not by key: a letter leaves by retention alone, and until then it is evidence. A letter that was
dropped is named by a later record of `dlq` and no longer listed; its bytes are still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import orjson
from confluent_kafka import Message

from runtime.settings import Settings
from schemas.envelope import Headers
from schemas.job import JobState
from streams.kafka import clients
from streams.kafka.reader import Reader
from streams.kafka.topics import DLQ

DROPPED = "dropped"
"""The reason of a record that is no letter: its value names those that were dropped, its message says why."""
ABOUT = "dlq_"
"""How the headers begin that the line has added."""


@dataclass(frozen=True)
class DeadLetterRecord:
    """One record of `dlq`. `place`: PARTITION/OFFSET there, by which a person names it. `time`: unix seconds.

    `headers` are the original ones.
    """

    place: str
    reason: str
    message: str
    origin: str
    time: float
    value: bytes | None
    headers: Headers = field(default_factory=list)
    truncated_from: int | None = None
    dropped: str | None = None
    """Why somebody has dropped it."""

    @property
    def topic(self) -> str:
        """Where it came from: `prompts`, `reports`, or `jobs` for a job that was given up."""
        return self.origin.partition("/")[0]

    @property
    def job(self) -> JobState | None:
        """The job that was given up; None where a record could not be taken in."""
        if self.topic != "jobs" or self.value is None:
            return None
        try:
            return JobState.read(self.value)
        except ValueError:
            return None

    @property
    def tenant(self) -> str | None:
        """None where the bytes do not say it."""
        try:
            said = orjson.loads(self.value or b"")
        except orjson.JSONDecodeError:
            return None
        tenant = said.get("tenant", "default") if isinstance(said, dict) else None
        return tenant if isinstance(tenant, str) else None


@dataclass(frozen=True)
class Filter:
    """Which letters are meant; what is None does not matter. Times are unix seconds."""

    reason: str | None = None
    tenant: str | None = None
    since: float | None = None
    until: float | None = None
    dropped: bool | None = False

    def __contains__(self, letter: DeadLetterRecord) -> bool:
        return (
            self.reason in (None, letter.reason)
            and self.tenant in (None, letter.tenant)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
            and self.dropped in (None, letter.dropped is not None)
        )


def dead_letters(settings: Settings, wanted: Filter = Filter()) -> Iterator[DeadLetterRecord]:
    """The dead letters that are meant, oldest first. Raises `ClientError`."""
    found: dict[str, DeadLetterRecord] = {}
    with Reader(settings) as reader:
        reader.assign(reader.from_start(DLQ))
        for message in reader.read_to_end():
            letter = dead_letter_of(message)
            if letter.reason != DROPPED:
                found[letter.place] = letter
            for place in places_of(letter).intersection(found):
                found[place] = replace(found[place], dropped=letter.message)
    yield from (letter for letter in found.values() if letter in wanted)


def places_of(letter: DeadLetterRecord) -> frozenset[str]:
    """The letters that a record drops; none for a letter."""
    if letter.reason != DROPPED:
        return frozenset()
    return frozenset((letter.value or b"").decode(errors="replace").split())


def dead_letter_of(message: Message) -> DeadLetterRecord:
    headers = clients.headers_of(message)
    about = {name: text.decode(errors="replace") for name, text in headers if name.startswith(ABOUT)}
    cut = about.get("dlq_truncated_from")
    return DeadLetterRecord(
        place=f"{message.partition()}/{message.offset()}", reason=about.get("dlq_reason", ""),
        message=about.get("dlq_message", ""), origin=about.get("dlq_origin", ""),
        time=float(about.get("dlq_time", 0.0)), value=message.value(),
        headers=[(name, text) for name, text in headers if not name.startswith(ABOUT)],
        truncated_from=int(cut) if cut else None,
    )  # fmt: skip
