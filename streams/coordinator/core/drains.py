"""An operator's wish that a worker leaves: a record in `reports`, so it has its order and its log (rule 24)."""

from __future__ import annotations

from schemas.events.reports import DrainRequested, Heartbeat
from schemas.events.tasks import Drain
from streams.coordinator.core.effects import Effect, Send
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.state.ledger import Ledger, WorkerView


def request(ledger: Ledger, asked: DrainRequested, raw: Raw) -> list[Effect]:
    """Tell the worker of that name. In a grace period, one that has not been heard yet is told when it is."""
    view = ledger.workers.get(ledger.names.get(asked.worker) or "")
    if view is not None:
        return deliver(ledger, view, asked.reason)
    if ledger.is_held:
        ledger.drains[asked.worker] = asked.reason
        return []
    return [raw.dead_letter("unknown_worker", f"no worker {asked.worker} is heard", asked.worker)]


def deliver_deferred(ledger: Ledger, beat: Heartbeat) -> list[Effect]:
    """What `ask` could not say. After the grace period nobody waits for it any more."""
    reason, view = ledger.drains.get(beat.worker), ledger.workers.get(beat.incarnation)
    if reason is None or view is None:
        return []
    ledger.drains.remove(beat.worker)
    return deliver(ledger, view, reason) if ledger.is_held else []


def deliver(ledger: Ledger, view: WorkerView, reason: str) -> list[Effect]:
    """Through every inbox (rule 2): whichever is read first. Nothing more is placed there meanwhile."""
    if view.is_leaving:
        return []
    ledger.put_worker(view._replace(told_to_leave=True))
    drain = Drain(incarnation=view.beat.incarnation, reason=reason)
    return [Send(inbox.stage, inbox.partition, drain) for inbox in view.beat.inboxes]
