"""What one turn writes: its effects and the states that it changed, encoded job by job.

A job of which a state, a task or a completion cannot be written ends here, in a state that always fits and in its one
completion; the rest of the turn is written as it was decided. So no record is blamed for what it, or the placement
after it, led to.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import report_of
from schemas.events.tasks import Task
from streams.coordinator.core import completion, transitions
from streams.coordinator.core.effects import Complete, Effect, Send
from streams.coordinator.core.records import Writer
from streams.coordinator.core.state.ledger import Ledger
from streams.kafka.producer_record import ProducerRecord


def written(ledger: Ledger, writer: Writer, effects: list[Effect]) -> tuple[list[Effect], list[ProducerRecord]]:
    """The effects that stand, and the records of these and of all changed states.

    Raises what an effect raises that is of no job.
    """
    unfit: dict[str, Exception] = {}
    records = list(_encoded(ledger, writer, effects, unfit))
    if not unfit:
        return effects, records
    for job, error in unfit.items():
        effects = cut_short(ledger, effects, job, error, writer.now)
    still: dict[str, Exception] = {}
    records = list(_encoded(ledger, writer, effects, still))
    for error in still.values():
        raise error
    return effects, records


def _encoded(
    ledger: Ledger, writer: Writer, effects: list[Effect], unfit: dict[str, Exception]
) -> Iterator[ProducerRecord]:
    """The records of a turn but for those that cannot be made: into `unfit` goes why, by job."""
    for number, effect in enumerate(effects):
        job = job_of(effect)
        try:
            record = writer.effect(effect, number)
        except Exception as error:
            if job is None:
                raise
            unfit[job] = error
        else:
            if record is not None:
                yield record
    for job, state in ledger.jobs.changes.items():
        try:
            yield writer.state(job, state)
        except Exception as error:
            unfit[job] = error


def job_of(effect: Effect) -> str | None:
    """The job whose doing an effect is."""
    if isinstance(effect, Complete):
        return effect.event.job
    return effect.event.job if isinstance(effect, Send) and isinstance(effect.event, Task) else None


def cut_short(ledger: Ledger, effects: list[Effect], job: str, error: Exception, now: float) -> list[Effect]:
    """End a job that cannot be written, or let its end stand as it was decided, in a slim state. Its lease, where a
    worker has it, is void: the next heartbeat that lists it is answered by a cancel."""
    state = ledger.jobs[job]
    others = [effect for effect in effects if job_of(effect) != job]
    if not state.status.ended:
        why = report_of(error).brief(transitions.EARLIER_ERROR)
        state = transitions.slim(transitions.lease_ended(state, "failed", now, error=why))
        if state.cancel_reason is not None:
            return [*others, *completion.cancel(ledger, state, state.cancel_reason, now)]
        return [*others, *completion.fail(ledger, state, why, now)]
    ledger.put(transitions.slim(state), now)
    told = [effect for effect in effects if isinstance(effect, Complete) and effect.event.job == job]
    return [*others, *[effect._replace(event=completion.slim(effect.event), traceparent=None) for effect in told]]
