"""One life of the coordinator: the real core, driven as `streams.coordinator.service.cell` drives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from schemas.events.reports import Tick
from schemas.job import JobState
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Effect
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.state.tombstone import read_record
from streams.coordinator.service.ticker import Ticker
from streams.kafka.topics import PROMPTS, REPORTS
from tests.sim.logs import POISON, Fenced, Logs, Spoken
from tests.sim.loop import Loop

REPORTS_A_TURN, PROMPTS_A_TURN = 500, 100
TURN_AFTER = 0.005


class Aborted(Exception):
    """The transaction was rolled back whole."""


class Killed(Exception):
    """This life ends here."""


class Driver:
    """`clock` is the wall clock, unix seconds. `committed` and `rolled_back` are told after each."""

    def __init__(
        self, loop: Loop, logs: Logs, policy: Policy, clock: Callable[[], float],
        committed: Callable[[Driver, list[Effect]], None], rolled_back: Callable[[Driver], None],
    ) -> None:  # fmt: skip
        self.loop, self.logs, self.policy, self.clock = loop, logs, policy, clock
        self._committed, self._rolled_back = committed, rolled_back
        self.epoch = logs.init_transactions()
        self.ledger = rebuilt(logs)
        self.ledger.take_over()
        self.position = dict(logs.committed)
        self.ticker = Ticker(policy.cell, policy.coordinator, clock=lambda: loop.now)
        self.born = loop.now
        self.alive, self.paused_until, self.aborts = True, 0.0, 0
        self.dies: Literal["before_commit", "after_commit"] | None = None
        self._turn_at: float | None = None
        self._offsets: dict[str, int] = {}
        """Next offsets of what was taken in and not yet committed."""
        self.wake()

    def wake(self, after: float = TURN_AFTER) -> None:
        """Ask for a turn soon."""
        at = max(self.loop.now + after, self.paused_until)
        if self.alive and (self._turn_at is None or at < self._turn_at):
            self._turn_at = at
            self.loop.at(at, lambda: self._turn_of(at))

    def _turn_of(self, at: float) -> None:
        if not self.alive or self._turn_at != at:
            return
        self._turn_at = None
        if self.loop.now < self.paused_until:
            return self.wake()
        try:
            more = self.turn()
        except (Fenced, Killed):
            self.alive = False
        else:
            self.wake(TURN_AFTER if more else self._seconds_to_next())

    def _seconds_to_next(self) -> float:
        delayed = self.ledger.delayed
        return max(min(1.0, delayed[0][0] - self.clock()), TURN_AFTER) if delayed else 1.0

    def turn(self) -> bool:
        """Whether there is more to read."""
        batch = [*self._read(REPORTS.name, REPORTS_A_TURN), *self._read(PROMPTS.name, PROMPTS_A_TURN)]
        self._process(batch)
        return any(self.position[topic] < len(log) for topic, log in self.logs.records.items())

    def rewind_prompts(self) -> None:
        self.position[PROMPTS.name] = self.logs.records[PROMPTS.name].start

    def _read(self, topic: str, most: int) -> list[Record | Spoken]:
        tape = self.logs.records[topic]
        start = max(self.position[topic], tape.start)
        batch = tape.read(start, most)
        self.position[topic] = start + len(batch)
        return batch

    def _process(self, batch: list[Record | Spoken], poison: Exception | None = None) -> None:
        while True:
            try:
                return self._commit(batch, poison)
            except (Fenced, Killed):
                raise
            except Aborted:
                self._roll_back()
                self.ticker.record_gap()
            except Exception as error:
                self._roll_back()
                if poison is not None:
                    raise
                return self._split(batch, error)

    def _roll_back(self) -> None:
        self.ledger.rollback()
        if self.epoch == self.logs.epoch:
            self._rolled_back(self)

    def _split(self, batch: list[Record | Spoken], error: Exception) -> None:
        if not any(POISON in record.headers for record in batch):
            raise error  # a bug of ours
        if len(batch) == 1:
            return self._process(batch, poison=error)
        middle = len(batch) // 2
        self._process(batch[:middle])
        self._process(batch[middle:])

    def _commit(self, batch: list[Record | Spoken], poison: Exception | None) -> None:
        now = self.clock()
        effects: list[Effect] = []
        for record in batch:
            effects += self._decide(record, poison, now)
        effects += dispatch.place(self.ledger, now)
        tick = self.ticker.due()
        offsets = self._offsets | {record.topic: record.offset + 1 for record in batch}
        states = list(self.ledger.jobs.changes.items())
        is_written = bool(effects or states or tick)
        if is_written:
            self._write(effects, states, tick, offsets, now)
        self._offsets = {} if is_written else offsets
        self.ledger.commit()
        if tick is not None:
            self.ticker.sent(tick)
        self._committed(self, effects)

    def _write(
        self, effects: list[Effect], states: list[tuple[str, JobState | None]], tick: Tick | None,
        offsets: dict[str, int], now: float,
    ) -> None:  # fmt: skip
        if self.dies == "before_commit":
            raise Killed
        if self.aborts:
            self.aborts -= 1
            raise Aborted
        self.logs.commit(self.epoch, effects, states, tick, offsets, now)
        if self.dies == "after_commit":
            raise Killed

    def _decide(self, record: Record | Spoken, poison: Exception | None, now: float) -> list[Effect]:
        if isinstance(record, Spoken):
            return dispatch.decide(self.ledger, self.policy, record.record, record.event, record.attributes, now)
        if poison is not None:
            return dispatch.dead_letter(self.ledger, self.policy, record, "poison_event", repr(poison), now)
        effects = dispatch.take(self.ledger, self.policy, record, now)
        if POISON in record.headers:
            raise ValueError("poison")
        return effects


def rebuilt(logs: Logs) -> Ledger:
    """The ledger that the changelog gives, through its bytes."""
    ledger = Ledger()
    for job, state in logs.latest_states().items():
        load_record(ledger, job, state.to_bytes())
    ledger.rebuild_queues()
    return ledger


def load_record(ledger: Ledger, job: str, value: bytes) -> None:
    """As the service replays a record of the changelog."""
    record = read_record(value)
    if record.status.ended:
        ledger.load_ended(record)
    else:
        ledger.load(job, JobState.read(value))
