"""Workers, as their heartbeats and the coordinator's own ticks show them; leases that are lost, void or taken back.

Ages count in ticks read back through `reports`: a pause of the coordinator, or of the broker, ages nobody.
"""

from __future__ import annotations

from functools import partial

from schemas.base import construct
from schemas.errors import ErrorReport, PoisonJob
from schemas.events.reports import Heartbeat, HeldLease, HeldState, Tick
from schemas.events.tasks import CancelTask, Drain
from schemas.job import JobState, JobStatus, Lease
from streams.coordinator.core import awaiting_upload, completion, drains, transitions
from streams.coordinator.core import poison as suspicion
from streams.coordinator.core.completion import guarded
from streams.coordinator.core.effects import Count, Effect, Send
from streams.coordinator.core.intake import cancel_lease
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger, LiveLease, WorkerView

SUPERSEDED = "a newer life of this worker runs"


def heartbeat(ledger: Ledger, policy: Policy, beat: Heartbeat, now: float) -> list[Effect]:
    """Take in what a worker holds and offers."""
    effects: list[Effect] = []
    current = ledger.workers.get(ledger.names.get(beat.worker) or "")
    if current is not None and current.beat.incarnation != beat.incarnation:
        if current.beat.started_at > beat.started_at:
            for held in beat.leases:
                withdraw_suspicion(ledger, held.job, held.lease, now)
            return [] if beat.leaving else told_to_leave(beat)
        effects += told_to_leave(current.beat)
        effects += forget(ledger, policy, current, now, suspect=True, last_end=beat.last_end)
    ledger.raise_lease(max((inbox.echo for inbox in beat.inboxes), default=0))
    before = ledger.workers.get(beat.incarnation) or adopted(ledger, beat)
    listed = {held.lease for held in beat.leases}
    view = before._replace(
        beat=beat, seen_tick=ledger.tick, cancelled=before.cancelled & listed, ended=before.ended & listed
    )
    unread = tuple((stage, echo) for stage, echo in view.unread if view.echo(stage) <= echo)
    ledger.put_worker(view._replace(unread=unread))
    ledger.names[beat.worker] = beat.incarnation
    effects += drains.deliver_deferred(ledger, beat)
    effects += compare(ledger, policy, beat, now)
    if beat.leaving:
        effects += forget(ledger, policy, ledger.workers[beat.incarnation], now, suspect=False)
    return effects


def adopted(ledger: Ledger, beat: Heartbeat) -> WorkerView:
    """A worker seen for the first time in this coordinator's life, with the leases that jobs say it holds.

    Also those that it does not list: they may be on their way to it, and take a slot.
    """
    ours = frozenset(number for number in ledger.orphans.get(beat.incarnation, ()) if number in ledger.leases)
    return WorkerView(beat, ledger.tick, ours)


def compare(ledger: Ledger, policy: Policy, beat: Heartbeat, now: float) -> list[Effect]:
    """Leases against the heartbeat (protocol rules 8 and 9)."""
    effects: list[Effect] = []
    view = ledger.workers[beat.incarnation]
    listed = {held.lease: held for held in beat.leases}
    for number in sorted(view.leases):
        state = ledger.job_of(number)
        if state is None or state.lease is None:
            continue
        if number in listed:
            record_progress(ledger, state, listed[number], beat.bit_class, now)
            awaiting_upload.note(ledger, listed[number])
        elif number <= view.echo(state.lease.stage):
            effects += lost(ledger, policy, state, now, "voided", suspect=False)
    for held in beat.leases:
        if held.lease not in view.leases:
            effects += stray(ledger, view, held, now)
    return effects


def record_progress(ledger: Ledger, state: JobState, held: HeldLease, bit_class: str, now: float) -> None:
    """Written down for suspects alone: of others, how far they got matters when their worker is lost."""
    if transitions.is_suspect(state):
        after = suspicion.progressed(state, held.stage, bit_class, held.checkpoint_step)
        if after is not state:
            ledger.put(after, now)


def stray(ledger: Ledger, view: WorkerView, held: HeldLease, now: float) -> list[Effect]:
    """A lease it still works on though it is void: taken back if nobody else has begun, else stopped.

    One whose outcome is on its way, or was read already, is neither.
    """
    state = withdraw_suspicion(ledger, held.job, held.lease, now)
    if held.lease in view.cancelled or held.lease in view.ended or held.state is HeldState.ENDING:
        return []
    partition = view.partition(held.stage)
    if partition is None:
        return []
    if state is not None and is_wanted_back(ledger, state, held):
        effects = [cancel_lease(state, "the earlier lease goes on")] if state.lease else []
        lease = construct(
            Lease, number=held.lease, incarnation=view.beat.incarnation, worker=view.beat.worker, stage=held.stage,
            partition=partition, dispatched_at=now, started_at=now,
        )  # fmt: skip
        ledger.put(state, now, status=JobStatus.RUNNING, lease=lease)
        return [*effects, Count("taken_back")]
    if held.state is HeldState.PARKED and still_counts(state, held):
        return []
    ledger.update_worker(
        view.beat.incarnation, lambda latest: latest._replace(cancelled=latest.cancelled | {held.lease})
    )
    command = CancelTask(incarnation=view.beat.incarnation, lease=held.lease, reason="the lease is void")
    return [Send(held.stage, partition, command)]


def withdraw_suspicion(ledger: Ledger, job: str, lease: int, now: float) -> JobState | None:
    """The worker of this lease speaks again; the job as it then is."""
    state = ledger.jobs.get(job)
    after = suspicion.withdrawn(state, lease) if state is not None else None
    return after if after is None or after is state else ledger.put(after, now)


def still_counts(state: JobState | None, held: HeldLease) -> bool:
    """Whether its output would be taken. Not if it was condemned meanwhile: the task that it works on does not know."""
    if state is None or state.status.ended or state.stage != held.stage or state.cancel_reason is not None:
        return False
    return state.stages[held.stage].condemned_etag is None


def is_wanted_back(ledger: Ledger, state: JobState, held: HeldLease) -> bool:
    """Whether a void lease is put in force again: it was given up too early, and nobody else is further."""
    if not still_counts(state, held):
        return False
    if not any(past.lease == held.lease and past.outcome in ("lost", "voided") for past in state.attempts):
        return False
    if state.lease is None:
        return True
    successor = ledger.workers.get(state.lease.incarnation)
    other = successor.held(state.lease.number) if successor else None
    return state.lease.started_at is None or (other is not None and (held.step or 0) > (other.step or 0))


def told_to_leave(beat: Heartbeat) -> list[Effect]:
    drain = Drain(incarnation=beat.incarnation, reason=SUPERSEDED, at_once=True)
    return [Send(inbox.stage, inbox.partition, drain) for inbox in beat.inboxes]


def forget(
    ledger: Ledger, policy: Policy, view: WorkerView, now: float, suspect: bool, last_end: str | None = None
) -> list[Effect]:
    """A worker is gone; what it held runs elsewhere. `last_end`: what its supervisor says of its end.

    Who leaves in order has handed over all that it began: a task that was still on its way to it is void, not lost.
    """
    effects: list[Effect] = []
    for number in sorted(view.leases):
        state = ledger.job_of(number)
        if state is not None and state.lease is not None:
            how = "voided" if view.beat.leaving and state.lease.started_at is None else "lost"
            lose = partial(lost, ledger, policy, state, now, how, suspect and not view.is_leaving, last_end)
            effects += guarded(ledger, state.job, now, lose)
    ledger.remove_worker(view.beat.incarnation)
    if ledger.names.get(view.beat.worker) == view.beat.incarnation:
        ledger.names.remove(view.beat.worker)
    return [*effects, Count("worker_gone")]


def lost(
    ledger: Ledger, policy: Policy, state: JobState, now: float, outcome: str, suspect: bool,
    last_end: str | None = None,
) -> list[Effect]:  # fmt: skip
    """The lease is void and the stage waits again, with no delay. A started one may be a suspicion."""
    assert state.lease is not None
    started, stage = state.lease.started_at, state.lease.stage
    spent = max(now - started, 0.0) if started else 0.0
    live = ledger.leases.get(state.lease.number)
    is_parked = live is not None and live.parked_tick is not None
    suspicious = suspect and started is not None and not is_parked
    state = last_known(ledger, state)
    assert state.lease is not None
    alone, why = state.lease.alone, report_of_loss(ledger, state.lease, last_end) if suspicious else None
    state = transitions.lease_ended(state, outcome, now, spent, why, suspicious)
    if state.cancel_reason is not None:
        return completion.cancel(ledger, state, state.cancel_reason, now)
    if suspicious:
        state = suspicion.counted(state, stage, alone)
        if state.stages[stage].lost_alone >= policy.suspicion_limit:
            poison = PoisonJob("every worker that started this stage died with it; it is not tried again")
            return completion.fail(ledger, state, poison.report(), now, suspicion.evidence(state, stage))
    ledger.put(transitions.wait_for(state, stage, now), now)
    return [Count("retry", (stage, "worker_lost")), Count("wasted", ("worker_lost",), spent)]


def last_known(ledger: Ledger, state: JobState) -> JobState:
    """The state with what the last heartbeat said of its lease: how far it got, and whether it was alone."""
    assert state.lease is not None
    view = ledger.workers.get(state.lease.incarnation)
    if view is None:
        return state
    held = view.held(state.lease.number)
    if held is not None:
        state = suspicion.progressed(state, held.stage, view.beat.bit_class, held.checkpoint_step)
    if ledger.nodes.holders(view.beat.node) - {view.beat.incarnation}:
        state = suspicion.with_neighbours(state)
    return state


def report_of_loss(ledger: Ledger, lease: Lease, last_end: str | None) -> ErrorReport:
    view = ledger.workers.get(lease.incarnation)
    held = view.held(lease.number) if view else None
    return suspicion.report_of_loss(lease, view.beat if view else None, held, last_end)


def tick(ledger: Ledger, policy: Policy, event: Tick, now: float) -> list[Effect]:
    """One second of the coordinator's life. Ticks of another coordinator age nobody."""
    if event.coordinator != policy.coordinator:
        return []
    ledger.numbers["tick"] = ledger.tick + 1
    if event.after_gap:
        restart_grace(ledger, policy)
        return []
    effects: list[Effect] = []
    for view in list(ledger.workers.values()):
        if ledger.tick - view.seen_tick > policy.lost_after:
            effects += forget(ledger, policy, view, now, suspect=True)
    for live in [live for live in ledger.leases.values() if not is_settled(ledger, live)]:
        effects += guarded(ledger, live.job, now, partial(check_age, ledger, policy, live, now))
    ledger.forget_ended(now - policy.tombstone_seconds)
    return effects


def restart_grace(ledger: Ledger, policy: Policy) -> None:
    """Nobody is late because of our own pause, and nothing is placed before heartbeats have come in."""
    ledger.hold(policy.hold_after_gap)
    for view in list(ledger.workers.values()):
        ledger.put_worker(view._replace(seen_tick=ledger.tick))
    for number in list(ledger.leases.base):
        live = ledger.leases.get(number)
        if live is not None:
            since = None if live.parked_tick is None else ledger.tick
            ledger.leases[number] = live._replace(tick=ledger.tick, parked_tick=since)


def is_settled(ledger: Ledger, live: LiveLease) -> bool:
    """It runs on a worker that we hear: that worker's own age is all that matters."""
    return live.started and live.incarnation in ledger.workers and live.parked_tick is None


def check_age(ledger: Ledger, policy: Policy, live: LiveLease, now: float) -> list[Effect]:
    """A lease whose worker never came back after a takeover is lost; one that lies unread is voided."""
    state = ledger.jobs.get(live.job)
    if state is None or state.lease is None or state.lease.number not in ledger.leases:
        return []
    number = state.lease.number
    age = ledger.tick - live.tick
    view = ledger.workers.get(state.lease.incarnation)
    if view is None:
        return lost(ledger, policy, state, now, "lost", suspect=True) if age > policy.lost_after else []
    if live.parked_tick is not None:
        return awaiting_upload.check(ledger, policy, live, state, now)
    stage = state.lease.stage
    is_read = state.lease.started_at is not None or number <= view.echo(stage) or view.held(number) is not None
    if is_read or age <= policy.unread_after:
        return []
    ledger.put_worker(view._replace(unread=(*view.unread, (stage, view.echo(stage)))))
    return [cancel_lease(state, "the task was not read"), *lost(ledger, policy, state, now, "voided", suspect=False)]
