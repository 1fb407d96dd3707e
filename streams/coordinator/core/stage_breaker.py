"""The circuit breaker of a stage: when most of its tasks fail, and not by the jobs' fault, dispatch to it stops.

While it is open only probes are dispatched, and a failure costs its job no attempt: the backlog waits instead of ending
in `dlq`. A tenant none of whose tasks has failed here gets one probe at the next tick, beside all others, so that
nobody waits for what another tenant's jobs do; beyond these there is one at a time, ever more rarely, of the tenant and
of the job that have been tried least. A probe that succeeds closes it, and so does what was dispatched before, once
most of it succeeds: in a wide cell a few jobs that fail soon would else stop what works for thousands.

Once it has been closed, the failures of before were the jobs' own: when such a job, or one of a tenant of which nothing
has succeeded, fails again, it pays with an attempt and opens nothing, for `BLAMED_TICKS` or until it succeeds. Ages
count in the coordinator's ticks, one a second: a clock that is set opens and closes nothing. After a takeover it is
rebuilt from the ended leases that `jobs` holds.
"""

from __future__ import annotations

from schemas.errors import ErrorReport
from schemas.job import JobState
from schemas.stage import Stage
from streams.coordinator.core.effects import Count, Effect
from streams.coordinator.core.state.breaker import BLAMELESS, Breaker, Ended
from streams.coordinator.core.state.ledger import Ledger


def is_look_due(ledger: Ledger, stage: Stage) -> bool:
    """Whether the queue of a stage whose breaker is open is to be looked through for probes: once a tick."""
    breaker, tick = ledger.breakers[stage], ledger.tick
    if breaker.looked_tick == tick:
        return False
    ledger.breakers[stage] = breaker._replace(looked_tick=tick)
    return True


def lets_pass(ledger: Ledger, stage: Stage, tenant: str) -> bool:
    """Whether a task of this tenant may be a probe now."""
    breaker = ledger.breakers[stage]
    if tenant not in breaker.tried:
        return True
    return ledger.tick >= breaker.probe_tick and not any(probe in ledger.leases for probe in breaker.probes)


def record_dispatch(ledger: Ledger, stage: Stage, lease: int, tenant: str) -> None:
    breaker = ledger.breakers.get(stage)
    if breaker is not None and breaker.is_open:
        probes = frozenset(probe for probe in breaker.probes if probe in ledger.leases) | {lease}
        tried = {**breaker.tried, tenant: breaker.tried.get(tenant, 0) + 1}
        ledger.breakers[stage] = breaker._replace(probes=probes, tried=tried)


def succeeded(ledger: Ledger, stage: Stage, state: JobState, lease: int) -> list[Effect]:
    """Something was computed in this stage."""
    breaker, tick = ledger.breakers.get(stage) or Breaker(), ledger.tick
    if breaker.is_sound(tick):
        return []
    ended = Ended(state.job, False, tick, state.tenant)
    is_proof = breaker.is_open and lease in breaker.probes
    after = Breaker(blamed=breaker.blame(ended)) if is_proof else breaker.after(ended)
    ledger.breakers[stage] = after = after.acquitted(ended)
    return [Count("breaker", (stage, "closed"))] if breaker.is_open and not after.is_open else []


def failed(ledger: Ledger, stage: Stage, state: JobState, lease: int, error: ErrorReport) -> tuple[bool, list[Effect]]:
    """Whether the failure is the job's to answer for, and what follows for the breaker."""
    breaker, ended = ledger.breakers.get(stage) or Breaker(), Ended(state.job, True, ledger.tick, state.tenant)
    if error.kind not in BLAMELESS or (not breaker.is_open and breaker.is_blamed(ended)):
        return True, []
    after = breaker.after(ended)
    is_probe = lease in after.probes
    ledger.breakers[stage] = after.after_failed_probe(lease, ledger.tick) if is_probe else after
    return not after.is_open, [Count("breaker", (stage, "opened"))] if after.is_open and not breaker.is_open else []
