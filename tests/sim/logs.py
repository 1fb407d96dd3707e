"""The topics as ordered lists, and the transaction that writes them whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Envelope, Headers
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed
from schemas.events.reports import Tick
from schemas.events.tasks import CancelTask, Drain, Task
from schemas.job import JobState
from schemas.stage import Stage
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Complete, DeadLetter, Effect, Send
from streams.kafka.addressing import extensions_of
from streams.kafka.topics import PROMPTS, REPORTS
from tests.sim.tape import Tape

POISON = ("simulated_poison", b"1")
"""Header of a record that the core fails to take in, every time."""

Order = Task | CancelTask | Drain
Inbox = tuple[Stage, int]


class Spoken(NamedTuple):
    """A record that is read as what was said, not through its bytes: most of a line of full size."""

    topic: str
    partition: int
    offset: int
    event: Frozen
    attributes: Envelope
    headers: Headers = []

    @property
    def record(self) -> Record:
        return Record(self.topic, self.partition, self.offset, None, self.headers)


class Fenced(Exception):
    """A newer life of the coordinator has begun."""


class Reader(Protocol):
    """Who reads an inbox."""

    @property
    def is_over(self) -> bool:
        """Whether it will never read again."""

    def position(self, stage: Stage) -> int: ...

    def grew(self, stage: Stage) -> None:
        """Called when the inbox has grown."""


@dataclass
class Logs:
    """`committed`: the next offset to read, a topic. `epoch`: which life of the coordinator may write.

    `bytes_every`: of so many records that are written one is encoded, and decoded and validated where it is read.
    """

    records: dict[str, Tape[Record | Spoken]] = field(
        default_factory=lambda: {PROMPTS.name: Tape(), REPORTS.name: Tape()}
    )
    bytes_every: int = 1
    jobs: Tape[tuple[str, JobState | None]] = field(default_factory=Tape)
    completions: Tape[JobCompleted | JobFailed | JobCancelled] = field(default_factory=Tape)
    letters: list[DeadLetter] = field(default_factory=list)
    inboxes: defaultdict[Inbox, Tape[Order]] = field(default_factory=lambda: defaultdict(Tape))
    committed: dict[str, int] = field(default_factory=lambda: {PROMPTS.name: 0, REPORTS.name: 0})
    epoch: int = 0
    on_record: Callable[[], None] = lambda: None
    readers: defaultdict[Inbox, list[Reader]] = field(default_factory=lambda: defaultdict(list))
    compacted: dict[str, JobState] = field(default_factory=dict)
    """The newest states in what `jobs` has let go."""

    def append(self, topic: str, event: Frozen, name: str, now: float, poison: bool = False) -> None:
        log = self.records[topic]
        if len(log) % self.bytes_every and not poison:
            log.append(Spoken(topic, 0, len(log), event, Envelope(name, envelope.type_of(type(event)), "sim")))
            return self.on_record()
        value, headers = envelope.write(event, id=name, source="sim", time=now, extensions=extensions_of(event))
        log.append(Record(topic, 0, len(log), value, [*headers, POISON] if poison else headers))
        self.on_record()

    def init_transactions(self) -> int:
        self.epoch += 1
        return self.epoch

    def commit(
        self, epoch: int, effects: Iterable[Effect], states: Iterable[tuple[str, JobState | None]],
        tick: Tick | None, offsets: dict[str, int], now: float,
    ) -> None:  # fmt: skip
        """One transaction. Raises `Fenced`."""
        if epoch != self.epoch:
            raise Fenced
        for state in states:
            self.jobs.append(state)
        self.committed |= offsets
        grown = dict.fromkeys(inbox for effect in effects if (inbox := self._write(effect)))
        if tick is not None:
            self.append(REPORTS.name, tick, f"tick-{tick.coordinator}-{tick.number}", now)
        for inbox in grown:
            for reader in self.readers[inbox]:
                reader.grew(inbox[0])

    def _write(self, effect: Effect) -> Inbox | None:
        if isinstance(effect, Complete):
            self.completions.append(effect.event)
        elif isinstance(effect, DeadLetter):
            self.letters.append(effect)
        elif isinstance(effect, Send):
            self.inboxes[effect.stage, effect.partition].append(effect.event)
            return effect.stage, effect.partition
        return None

    def latest_states(self) -> dict[str, JobState]:
        """The changelog after compaction."""
        latest = self.compacted | dict(self.jobs)
        return {job: state for job, state in latest.items() if state is not None}

    # -- retention -----------------------------------------------------------------------------------------------

    def forget(self, prompts: int, jobs: int, completions: int) -> None:
        """Let go of what lies before these offsets, and of what every reader has read."""
        self.records[PROMPTS.name].forget(min(prompts, self.committed[PROMPTS.name]))
        self.records[REPORTS.name].forget(self.committed[REPORTS.name])
        self.completions.forget(completions)
        for job, state in self.jobs.forget(jobs):
            if state is None:
                self.compacted.pop(job, None)
            else:
                self.compacted[job] = state
        for inbox, tape in self.inboxes.items():
            readers = [reader for reader in self.readers[inbox] if not reader.is_over]
            self.readers[inbox] = readers
            tape.forget(min((reader.position(inbox[0]) for reader in readers), default=len(tape)))
