"""One cell: a standby that follows its changelog, or its active coordinator, which turns records into transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from streams import clients, metrics
from streams.clients import ErrorWatch
from streams.coordinator import core
from streams.coordinator.core import Record
from streams.coordinator.effects import Effect
from streams.coordinator.ledger import Ledger
from streams.coordinator.policy import Policy
from streams.coordinator.records import Writer
from streams.coordinator.service.archive import Archive
from streams.coordinator.service.changelog import Changelog
from streams.coordinator.service.observe import Observer
from streams.coordinator.service.source import Source
from streams.coordinator.service.stability import Stability
from streams.coordinator.service.ticker import Ticker
from streams.outgoing import Outgoing
from streams.settings import Settings
from streams.topics import REPORTS, TOPICS
from streams.transactions import Aborted, Lost, Transactions

REPORTS_A_TURN = 500
DELETES_A_BATCH = 20
"""Each may have to read a state from the log: between so many of them, reports are read and work is dispatched."""
ABORTS_IN_A_ROW = 5
COMMITS_WITHIN_S = 15.0
"""There is a tick to commit each second, and a transaction lives no longer than 10 s."""

log = structlog.get_logger(__name__)


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
        self.transactions.begin_life()
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

        Waits up to `seconds` for a first report when there is nothing else. Raises `Lost`.
        """
        for portion in portions(prompts):
            batch = [*self._read_reports(0.0 if prompts else seconds), *portion]
            if batch or self.ticker.due() or self._is_retry_due():
                self._process(batch)

    def _is_retry_due(self) -> bool:
        return bool(self.ledger.delayed) and self.ledger.delayed[0][0] <= time.time()

    def _read_reports(self, seconds: float) -> list[Record]:
        return self.source.read(REPORTS_A_TURN, seconds)

    def _process(self, batch: list[Record], poison: Exception | None = None) -> None:
        """Commit a batch whole, or find the poison in it by halving. `poison`: bury its one record."""
        for attempt in range(ABORTS_IN_A_ROW):
            self._turned()
            try:
                return self._commit(batch, time.time(), poison)
            except Lost:
                raise
            except Aborted as error:
                self._roll_back("transaction aborted", attempt=attempt, error=str(error))
                self.ticker.note_gap()
            except Exception as error:
                self._roll_back("a batch could not be taken in", records=len(batch), error=repr(error))
                if poison is not None:
                    raise Lost(f"a poison event cannot be buried: {error!r}") from error
                return self._split(batch, error)
        raise Lost(f"{ABORTS_IN_A_ROW} transactions in a row were aborted")

    def _roll_back(self, what: str, **about: object) -> None:
        self.ledger.rollback()
        metrics.TRANSACTION_ABORTS.inc()
        log.warning(what, **about)

    def _split(self, batch: list[Record], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            self._process(batch[:middle])
            self._process(batch[middle:])
        elif batch:
            log.error("poison event", origin=batch[0].raw.origin, exc_info=error)
            self._process(batch, poison=error)
        else:
            raise error

    def _commit(self, batch: list[Record], now: float, poison: Exception | None = None) -> None:
        effects: list[Effect] = []
        for record in batch:
            effects += self._decide(record, poison, now)
        effects += core.place(self.ledger, now)
        changes = self.ledger.jobs.changes.items()
        tick = self.ticker.due()
        writer = Writer(self.policy.cell, self.policy.coordinator, now)
        outgoing: Iterable[Outgoing] = chain(
            writer.effects(effects), writer.states(changes), [writer.tick(tick)] if tick else []
        )
        positions = self._positions | {(r.topic, r.partition): r.next_offset for r in batch}
        offsets: dict[str, int] = {}
        if effects or changes or tick:
            with metrics.TRANSACTION_SECONDS.time():
                self.transactions.commit(outgoing, self._offsets(positions), self.group.consumer_group_metadata())
            offsets, positions = self.archive.offsets(self.transactions.written), {}
        self._positions = positions
        states = [state for _, state in changes if state is not None]
        self.ledger.commit(offsets)
        self.committed_at = time.monotonic()
        self.observer.committed(effects, states)
        if tick:
            self.ticker.sent(tick)
            self.observer.gauges(self.ledger)

    def _decide(self, record: Record, poison: Exception | None, now: float) -> list[Effect]:
        if poison is None:
            ended = core.asks_for(self.ledger, record)
            if ended is not None:
                record = record._replace(state=self.archive.state(ended))
            return core.take(self.ledger, self.policy, record, now)
        reason = "too_large" if "large" in str(poison).lower() else "poison_event"
        return core.bury(self.ledger, self.policy, record, reason, repr(poison)[:1000], now)

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
        if core.is_delete(record):
            if deletes == DELETES_A_BATCH:
                yield portion
                portion, deletes = [], 0
            deletes += 1
        portion.append(record)
    yield portion
