"""The topics as ordered lists, and the transaction that writes them whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from schemas import envelope
from schemas.base import Frozen
from schemas.events import CancelTask, Drain, JobCancelled, JobCompleted, JobFailed, Task, Tick
from schemas.job import JobState
from schemas.stage import Stage
from streams.addressing import extensions_of
from streams.coordinator.core import Record
from streams.coordinator.effects import Complete, DeadLetter, Effect, Send
from streams.topics import PROMPTS, REPORTS

POISON = ("simulated_poison", b"1")
"""Header of a record that the core fails to take in, every time."""

Order = Task | CancelTask | Drain
Inbox = tuple[Stage, int]


class Fenced(Exception):
    """A newer life of the coordinator has begun."""


@dataclass
class Logs:
    """`committed`: the next offset to read, a topic. `epoch`: which life of the coordinator may write."""

    records: dict[str, list[Record]] = field(default_factory=lambda: {PROMPTS.name: [], REPORTS.name: []})
    jobs: list[tuple[str, JobState | None]] = field(default_factory=list)
    completions: list[JobCompleted | JobFailed | JobCancelled] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    inboxes: defaultdict[Inbox, list[Order]] = field(default_factory=lambda: defaultdict(list))
    committed: dict[str, int] = field(default_factory=lambda: {PROMPTS.name: 0, REPORTS.name: 0})
    epoch: int = 0
    on_record: Callable[[], None] = lambda: None
    readers: defaultdict[Inbox, list[Callable[[], None]]] = field(default_factory=lambda: defaultdict(list))
    """Called when their inbox has grown."""

    def append(self, topic: str, event: Frozen, name: str, now: float, poison: bool = False) -> None:
        value, headers = envelope.write(event, id=name, source="sim", time=now, extensions=extensions_of(event))
        log = self.records[topic]
        log.append(Record(topic, 0, len(log), value, [*headers, POISON] if poison else headers))
        self.on_record()

    def begin_life(self) -> int:
        self.epoch += 1
        return self.epoch

    def commit(
        self, epoch: int, effects: Iterable[Effect], states: Iterable[tuple[str, JobState | None]],
        tick: Tick | None, offsets: dict[str, int], now: float,
    ) -> None:  # fmt: skip
        """One transaction. Raises `Fenced`."""
        if epoch != self.epoch:
            raise Fenced
        self.jobs += states
        self.committed |= offsets
        grown = dict.fromkeys(inbox for effect in effects if (inbox := self._write(effect)))
        if tick is not None:
            self.append(REPORTS.name, tick, f"tick-{tick.coordinator}-{tick.number}", now)
        for inbox in grown:
            for wake in self.readers[inbox]:
                wake()

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
        latest = dict(self.jobs)
        return {job: state for job, state in latest.items() if state is not None}
