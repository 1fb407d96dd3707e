"""The coordinator process: elected through the group of `prompts`, active in the cells it owns, else standby."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterable
from dataclasses import replace
from types import FrameType

import structlog
from confluent_kafka import Consumer, TopicPartition

from runtime import logs, metrics
from runtime.settings import Settings
from runtime.token_counter import TokenCounter
from runtime.watchdog import Turns, report_of
from schemas import envelope
from schemas.bundle import read_bundles
from schemas.events.prompts import PromptSubmitted
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.policy import Policy
from streams.coordinator.service.cautious_intake import Caution
from streams.coordinator.service.cell import Cell, Standby
from streams.coordinator.service.changelog import ChangelogUnreadable
from streams.coordinator.service.policy import policy_of
from streams.coordinator.service.record_source import Source
from streams.coordinator.service.tenants import Tenants
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.partitions import WrongPartitions, check_count, check_partitions
from streams.kafka.service import serve
from streams.kafka.topics import JOBS, PROMPTS, REPORTS, TASKS, VIDEOS

PROMPTS_A_TURN = 200
SERVED = (PROMPTS, REPORTS, JOBS, VIDEOS, *TASKS.values())
"""Topics in which a number names a cell, or an inbox."""
WAIT_S = 0.01
"""How long a turn with nothing to do waits for a report; prompts wait no longer than this either."""
STANDBY_WAIT_S = 0.2

logger = structlog.get_logger(__name__)


def run_coordinator(settings: Settings) -> int:
    """Coordinate until told to stop (0), or until the log and our memory may differ (1): a new life rebuilds."""
    logs.configure(settings, "coordinator")
    bundles = read_bundles(settings.bundles)
    # The state is large and has no cycles: collecting often costs half of a heartbeat.
    gc.set_threshold(100_000, 50, 100)
    life = f"{settings.worker_name}-{uuid.uuid4().hex[:8]}"
    coordinator = Coordinator(settings, policy_of(settings, bundles, life))
    coordinator.caution = Caution.after_former_life(settings, PROMPTS_A_TURN)
    refusals, models = (ChangelogUnreadable, WrongPartitions), (*bundles, "none")
    return serve(settings, "coordinator", coordinator, refusals, models)


class Coordinator:
    """Cells change hands only inside `poll` of the group's consumer, never in the middle of a transaction."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self.settings, self.policy = settings, policy
        self.watch = ErrorWatch()
        self.tokens = TokenCounter.of(settings.bundles)
        self.standbys: dict[int, Standby] = {}
        self.cells: dict[int, Cell] = {}
        self.owned: set[int] = set()
        self.tenants: Tenants | None = None
        self.group: Consumer = clients.consumer(
            clients.ELECTION, settings, self.watch, group_id=f"{settings.topic_prefix}{clients.COORDINATORS_GROUP}"
        )
        self.source = Source(self.group, settings, self.watch)
        self._stopping = False
        self.turns = Turns("coordinator")
        self.caution = Caution(report_of(settings, "coordinator").with_suffix(".json"))

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stopping = True

    def reason(self) -> str | None:
        """Why this instance is not ready; a standby that has read its changelog is."""
        if (stalled := self.turns.reason(self.settings.stuck_after_s)) is not None:
            return stalled
        behind = [cell for cell, standby in self.standbys.items() if not standby.caught_up]
        if behind or not (self.cells or self.standbys):
            return f"reading `jobs` of cell {behind}" if behind else "starting"
        return next((why for cell in [*self.cells.values()] if (why := cell.reason()) is not None), None)

    def warnings(self) -> list[str]:
        return [warning for cell in [*self.cells.values()] for warning in cell.warnings()]

    def run(self) -> None:
        """Until `stop`. A standby reads its changelog before it joins: a takeover is short (protocol rule 16)."""
        self._show("replaying")
        check_partitions(self.group, self.settings, SERVED)
        self.tenants = Tenants(self.settings, self.watch)
        self._follow_tenants(self.tenants, changed=True)
        self.standbys = {cell: self._standby(cell) for cell in range(self.settings.cells)}
        while not self._stopping and not all(standby.caught_up for standby in self.standbys.values()):
            self._turn_standbys(0.2)
        self.group.subscribe(
            [PROMPTS.named(self.settings.topic_prefix)],
            on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked,
        )  # fmt: skip
        self._show("standby")
        while not self._stopping:
            self.turn()

    def turn(self) -> None:
        self.watch.check()
        if self.tenants is not None:
            self._follow_tenants(self.tenants, self.tenants.follow())
        prompts = self._read_prompts()
        self._take_over()
        self._turn_standbys(0.0 if self.cells else STANDBY_WAIT_S)
        for number, cell in self.cells.items():
            self._turn_cell(cell, [record for record in prompts if record.partition == number])
        self.turns.turned()

    def _turn_cell(self, cell: Cell, prompts: list[Record]) -> None:
        """All prompts at once; one at a time as long as there is reason for caution."""
        while prompts and self.caution.left:
            cell.turn([self.caution.prepared(prompts.pop(0))], 0.0)
            self.caution.taken_in()
            self.turns.turned()
        cell.turn(prompts, WAIT_S)

    def _follow_tenants(self, tenants: Tenants, changed: bool) -> None:
        """A prompt is taken in by what was set for its tenant when it was read."""
        if changed:
            self.policy = replace(self.policy, tenants=dict(tenants.retentions))
            for number, cell in self.cells.items():
                cell.policy = self.policy.of_cell(number)

    def _read_prompts(self) -> list[Record]:
        return [
            with_tokens(record, self.tokens, self.settings.default_model) for record in self.source.read(PROMPTS_A_TURN)
        ]

    def _take_over(self) -> None:
        if surplus := [number for number in self.owned if number >= self.settings.cells]:
            # The group tells of partitions that were added while we run.
            check_count(PROMPTS, PROMPTS.named(self.settings.topic_prefix), max(surplus) + 1, self.settings.cells)
        for number in sorted(self.owned - self.cells.keys()):
            self._show("replaying")
            policy = self.policy.of_cell(number)
            self.cells[number] = Cell(
                self.settings, policy, self.group, self.standbys.pop(number), self.watch, self.turns.turned
            )
            self._show("active")

    def _turn_standbys(self, seconds: float) -> None:
        for standby in self.standbys.values():
            standby.turn(seconds)
        self.turns.turned()

    def _standby(self, cell: int) -> Standby:
        return Standby(self.settings, cell, self.watch)

    def _assigned(self, group: Consumer, partitions: Iterable[TopicPartition]) -> None:
        self.owned |= {partition.partition for partition in partitions}

    def _revoked(self, group: Consumer, partitions: Iterable[TopicPartition]) -> None:
        for number in {partition.partition for partition in partitions}:
            self.owned.discard(number)
            cell = self.cells.pop(number, None)
            if cell is not None:
                logger.warning("the cell goes to another coordinator", cell=number)
                cell.close()
                self.standbys[number] = self._standby(number)
        if not self.cells:
            self._show("standby")

    def _show(self, state: str) -> None:
        metrics.set_state(metrics.COORDINATOR_STATE, state)
        logger.info(f"coordinator {state}", cells=sorted(self.cells))

    def close(self) -> None:
        """Leave the group at once, so that a standby need not wait for the session to end."""
        self.group.close()
        for cell in self.cells.values():
            cell.close()
        for standby in self.standbys.values():
            standby.close()
        if self.tenants is not None:
            self.tenants.close()


def with_tokens(record: Record, counter: TokenCounter, default_model: str) -> Record:
    """A prompt with the tokens that its texts have, for the core to decide by; any other record as it is."""
    try:
        event, _ = envelope.read(record.value, record.headers)
        tokens = counter.counts(event, default_model) if isinstance(event, PromptSubmitted) else None
    except Exception:
        # What cannot be read or counted is the core's to refuse: it does so for this record alone.
        return record
    return record._replace(tokens=tokens) if tokens else record
