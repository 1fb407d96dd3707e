"""One cell: a standby that follows its changelog, or its active coordinator, which turns records into transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from runtime import metrics
from runtime.settings import Settings
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Effect
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.records import Writer
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.service.archive import Archive
from streams.coordinator.service.changelog import Changelog
from streams.coordinator.service.observe import Observer
from streams.coordinator.service.record_source import Source
from streams.coordinator.service.stability import Stability
from streams.coordinator.service.ticker import Ticker
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.topics import REPORTS, TOPICS
from streams.kafka.transactions import Aborted, RecordRejected, ResultUnknown, Transactions

REPORTS_A_TURN = 500
DELETES_A_BATCH = 20
"""Each may have to read a state from the log: between so many of them, reports are read and work is dispatched."""
ABORTS_IN_A_ROW = 5
COMMITS_WITHIN_S = 15.0
"""There is a tick to commit each second, and a transaction lives no longer than 10 s."""

log = structlog.get_logger(__name__)


Decide = Callable[[float], list[Effect]]
"""What becomes of some records at a time, unix seconds."""


class Poison(NamedTuple):
    """A record of a batch that cannot be taken in, by its place there, and why."""

    number: int
    error: Exception


class Poisoned(Exception):
    """Some record of a batch cannot be taken in."""

    def __init__(self, poison: Poison) -> None:
        self.poison = poison


class Standby:
    """Follows `jobs`, so that a takeover reads only what is new."""

    def __init__(self, settings: Settings, cell: int, watch: ErrorWatch) -> None:
        self.ledger = Ledger()
        self.changelog = Changelog(settings, cell, watch)
        self.caught_up = False

    def turn(self, seconds: float) -> None:
        self.caught_up = self.changelog.follow(self.ledger, seconds) or self.caught_up

    def close(self) -> None:
        self.changelog.close()


class Cell:
    """The coordinator of a cell. Order at takeover: fence, replay to the end, fetch offsets, act."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        group: Consumer,
        standby: Standby,
        watch: ErrorWatch,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """`turned` is called between the steps of what may take long: the takeover, and a batch that is tried again."""
        self._turned = turned
        self.policy, self.group, self.ledger = policy, group, standby.ledger
        self.prefix = settings.topic_prefix
        name = f"{self.prefix}latentline.cell-{policy.cell}"
        self.transactions = Transactions(
            clients.producer(clients.TRANSACTIONAL, settings, watch, transactional_id=name), self.prefix
        )
        self.transactions.init_transactions()
        turned()
        standby.changelog.replay(self.ledger, turned)
        self.archive = Archive(settings, policy.cell, watch, standby.changelog.end)
        standby.close()
        self.ledger.take_over()
        self.reports = clients.consumer(clients.READER, settings, watch)
        self.reports.assign([self._committed_reports()])
        self.source = Source(self.reports, settings, watch)
        self.ticker = Ticker(policy.cell, policy.coordinator)
        self.observer = Observer()
        self.observer.load(self.ledger.jobs.values())
        self._positions: dict[tuple[str, int], int] = {}
        """Next offsets of what was taken in and not yet committed."""
        self.committed_at = time.monotonic()
        self.stability = Stability(settings, policy.cell)
        alive, ended = len(self.ledger.jobs.base), len(self.ledger.ended)
        log.info("the cell is ours", cell=policy.cell, jobs=alive + ended, alive=alive)

    def _committed_reports(self) -> TopicPartition:
        asked = TopicPartition(REPORTS.named(self.prefix), self.policy.cell)
        [found] = self.group.committed([asked], timeout=30)
        return found if found.offset >= 0 else TopicPartition(asked.topic, asked.partition, OFFSET_BEGINNING)

    def turn(self, prompts: list[Record], seconds: float) -> None:
        """Reports to where they end now, then the given prompts, in as few transactions as can be.

        Waits up to `seconds` for a first report when there is nothing else. Raises `ResultUnknown`.
        """
        for portion in portions(prompts):
            batch = [*self._read_reports(0.0 if prompts else seconds), *portion]
            if batch or self.ticker.due() or self._is_retry_due():
                self._process(batch)

    def _is_retry_due(self) -> bool:
        return bool(self.ledger.delayed) and self.ledger.delayed[0][0] <= time.time()

    def _read_reports(self, seconds: float) -> list[Record]:
        return self.source.read(REPORTS_A_TURN, seconds)

    def _process(self, batch: list[Record]) -> None:
        """Commit a batch whole, or around each record that cannot be taken in: that one goes to `dlq`."""
        while (poison := self._committed(batch)) is not None:
            before, record, batch = batch[: poison.number], batch[poison.number], batch[poison.number + 1 :]
            if before:
                self._process(before)
            self._dead_letter(record, poison.error)
            if not batch:
                return

    def _committed(self, batch: list[Record]) -> Poison | None:
        """Commit a batch, or say which of its records cannot be taken in. Raises `ResultUnknown`.

        What fails once all were taken in is no record's doing: then nothing is placed with them.
        """
        failure: Exception | None = None
        for places in (True, False):
            try:
                self._retry_until(partial(self._take, batch), batch, places)
                return None
            except ResultUnknown:
                raise
            except Poisoned as error:
                self._roll_back("a record cannot be taken in", records=len(batch), error=repr(error.poison.error))
                return error.poison
            except Exception as error:
                failure = error
                self._roll_back("a turn cannot be written", records=len(batch), places=places, error=repr(error))
        assert failure is not None
        return self._halved(batch, failure)

    def _halved(self, batch: list[Record], error: Exception) -> Poison | None:
        """The broker, say, refuses what one of these led to. It is found by halving."""
        if len(batch) > 1:
            middle = len(batch) // 2
            self._process(batch[:middle])
            self._process(batch[middle:])
            return None
        if not batch:
            raise error
        return Poison(0, error)

    def _dead_letter(self, record: Record, error: Exception) -> None:
        log.error("poison event", origin=record.raw.origin, exc_info=error)
        reason = "too_large" if isinstance(error, RecordRejected) else "poison_event"
        dead_letter = partial(dispatch.dead_letter, self.ledger, self.policy, record, reason, repr(error)[:1000])
        try:
            self._retry_until(dead_letter, [record], places=False)
        except ResultUnknown:
            raise
        except Exception as again:
            raise ResultUnknown(f"a poison event cannot be dead-lettered: {again!r}") from again

    def _retry_until(self, decide: Decide, batch: list[Record], places: bool) -> None:
        for attempt in range(ABORTS_IN_A_ROW):
            self._turned()
            try:
                return self._commit(decide, batch, places)
            except Aborted as error:
                self._roll_back("transaction aborted", attempt=attempt, error=str(error))
                self.ticker.record_gap()
        raise ResultUnknown(f"{ABORTS_IN_A_ROW} transactions in a row were aborted")

    def _roll_back(self, what: str, **about: object) -> None:
        self.ledger.rollback()
        metrics.TRANSACTION_ABORTS.inc()
        log.warning(what, **about)

    def _take(self, batch: list[Record], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for number, record in enumerate(batch):
            try:
                effects += dispatch.take(self.ledger, self.policy, self._with_state(record), now)
            except Exception as error:
                raise Poisoned(Poison(number, error)) from error
        return effects

    def _with_state(self, record: Record) -> Record:
        """With the whole state of the ended job that it asks for."""
        ended = dispatch.asks_for(self.ledger, record)
        return record if ended is None else record._replace(state=self.archive.state(ended))

    def _commit(self, decide: Decide, batch: list[Record], places: bool) -> None:
        now = time.time()
        decided = decide(now)
        if places:
            decided += dispatch.place(self.ledger, now)
        tick = self.ticker.due()
        writer = Writer(self.policy.cell, self.policy.coordinator, now)
        effects, outgoing = dispatch.written(self.ledger, writer, decided)
        positions = self._positions | {(r.topic, r.partition): r.next_offset for r in batch}
        offsets: dict[str, int] = {}
        if outgoing or effects or tick:
            with metrics.TRANSACTION_SECONDS.time():
                records = [*outgoing, writer.tick(tick)] if tick else outgoing
                self.transactions.commit(records, self._offsets(positions), self.group.consumer_group_metadata())
            offsets, positions = self.archive.offsets(self.transactions.written), {}
        self._positions = positions
        states = [state for state in self.ledger.jobs.changes.values() if state is not None]
        self.ledger.commit(offsets)
        self.committed_at = time.monotonic()
        self.observer.committed(effects, states)
        if tick:
            self.ticker.sent(tick)
            self.observer.gauges(self.ledger)

    def _offsets(self, positions: dict[tuple[str, int], int]) -> list[TopicPartition]:
        names = {topic.name: topic.named(self.prefix) for topic in TOPICS}
        return [TopicPartition(names[topic], partition, offset) for (topic, partition), offset in positions.items()]

    def reason(self) -> str | None:
        """Why the cell does not do its work. Called from other threads."""
        now = time.monotonic()
        silent = now - self.committed_at
        idle = [f"nothing was committed for {silent:.0f} s"] if silent > COMMITS_WITHIN_S else []
        return "; ".join([*idle, *self.observer.standstill.idle_words(now), *self.stability.words(now)]) or None

    def warnings(self) -> list[str]:
        """What an operator has to see to though the cell does its work. Called from other threads."""
        return self.observer.warnings(time.monotonic())

    def close(self) -> None:
        self.stability.close()
        self.reports.close()
        metrics.clear(metrics.CELL_GAUGES)
        self.archive.close()


def portions(prompts: list[Record]) -> Iterator[list[Record]]:
    """In order, `DELETES_A_BATCH` in each; an empty one where there is nothing."""
    portion, deletes = list[Record](), 0
    for record in prompts:
        if dispatch.is_delete(record):
            if deletes == DELETES_A_BATCH:
                yield portion
                portion, deletes = [], 0
            deletes += 1
        portion.append(record)
    yield portion
