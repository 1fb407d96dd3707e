"""Finished work that waits at its worker for the store: it keeps its lease, but not for ever (protocol rule 11)."""

from __future__ import annotations

from schemas.events.reports import HeldLease, HeldState
from schemas.job import JobState
from streams.coordinator.core import transitions
from streams.coordinator.core.effects import Count, Effect
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.free_slots import preferred
from streams.coordinator.core.state.ledger import Ledger, LiveLease


def note(ledger: Ledger, held: HeldLease) -> None:
    """From the first heartbeat that lists a lease as parked its wait is counted, in ticks."""
    live = ledger.leases[held.lease]
    is_parked = held.state is HeldState.PARKED
    if is_parked != (live.parked_tick is not None):
        ledger.leases[held.lease] = live._replace(parked_tick=ledger.tick if is_parked else None)


def check(ledger: Ledger, policy: Policy, live: LiveLease, state: JobState, now: float) -> list[Effect]:
    """Compute it again once it has waited longer than that takes, where another worker is free and so has the store.

    The first manifest wins, and the parked one may still be it: its lease is let go, not cancelled.
    """
    assert live.parked_tick is not None
    assert state.lease is not None
    cost = live.parked_tick - live.tick
    if ledger.tick - live.parked_tick <= max(policy.parked_after, cost) or not is_served_elsewhere(ledger, state):
        return []
    stage = state.lease.stage
    state = transitions.lease_ended(state, "overdue", now)
    ledger.put(transitions.wait_for(state, stage, now), now)
    return [Count("retry", (stage, "overdue"))]


def is_served_elsewhere(ledger: Ledger, state: JobState) -> bool:
    assert state.lease is not None
    assert state.recipe is not None
    here, offers = state.lease.incarnation, preferred(state.lease.stage, state.recipe.model, state.recipe.revision)
    return any(name != here for offer in offers for name in ledger.open.of(offer))
