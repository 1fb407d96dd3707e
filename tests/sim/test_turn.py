"""What a turn writes always fits: the largest job anyone can ask for, and a job that was too large before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.bundle import LONGEST_PROMPT
from schemas.errors import LONGEST_MESSAGE, ErrorKind, ErrorReport
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed
from schemas.events.prompts import LONGEST_URL, CancelRequested, PromptSubmitted
from schemas.events.reports import Failed
from schemas.events.tasks import Task
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES
from streams.coordinator.core import intake, placement
from streams.coordinator.core.effects import Complete, Effect, Send
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.records import LARGEST_STATE_BYTES, Writer
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.transitions import ATTEMPTS_KEPT
from streams.coordinator.core.turn import written
from streams.kafka import topics
from streams.kafka.producer_record import ProducerRecord
from tests.sim.played_line import PROMPT, Line, done, ends, names
from tests.sim.test_found import placed, submit

RESERVE = LARGEST_STATE_BYTES // 10
WIDE = ("🔴", '"', "é", "a")
"""Characters of 4, 2, 2 bytes and 1 as JSON."""


class Turn(NamedTuple):
    effects: list[Effect]
    records: list[ProducerRecord]
    states: dict[str, JobState]


def turn(line: Line, effects: list[Effect], place: bool = True) -> Turn:
    """As the service commits it."""
    if place:
        effects = [*effects, *placement.place(line.ledger, line.now)]
    kept, records = written(line.ledger, Writer(0, "c", line.now), effects)
    states = {job: state for job, state in line.ledger.jobs.changes.items() if state is not None}
    line.ledger.commit()
    return Turn(kept, records, states)


def roomy(line: Line) -> None:
    """The bundle allows as long a prompt as any may."""
    bundle = line.policy.bundles["tiny"]
    limits = bundle.limits.replace(max_prompt_characters=LONGEST_PROMPT)
    line.policy = replace(line.policy, bundles={"tiny": bundle.replace(limits=limits)})


def largest(text: str, name: str) -> PromptSubmitted:
    prompt = "🔴" * LONGEST_PROMPT
    return PromptSubmitted(
        prompt=prompt, negative_prompt=prompt, idempotency_key="one", tenant="t" * 128,
        metadata={f"{number:02}{name * 62}": text * 512 for number in range(16)},
        webhook_url=("http://" + '"' * LONGEST_URL)[:LONGEST_URL], runs=dict.fromkeys(STAGES, 2**31 - 1),
    )  # fmt: skip


def worst(task: Task, text: str) -> Failed:
    """Trouble that costs no attempt, in as many words as there may be."""
    error = ErrorReport(
        kind=ErrorKind.INFRASTRUCTURE, code="store_unavailable", message=text * LONGEST_MESSAGE, value=text * 200
    )
    return Failed(**names(task), error=error, log_tail=(text * 2000,) * 50)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(WIDE), st.sampled_from(WIDE), st.sampled_from(("\x01", *WIDE)), st.booleans())
def test_the_largest_job_of_all_stays_below_the_cap_all_its_life(
    text: str, name: str, trouble: str, is_cancelled: bool
) -> None:
    line = Line()
    roomy(line)
    sizes: dict[str, int] = {}
    attempts: list[int] = []

    def commit(effects: list[Effect]) -> list[Effect]:
        made = turn(line, effects, place=False)
        for record in made.records:
            sizes[record.topic.name] = max(sizes.get(record.topic.name, 0), len(record.value or b""))
        attempts.extend(len(state.attempts) for state in made.states.values())
        return made.effects

    commit(line.submit(largest(text, name)))
    state = line.ledger.jobs[line.job]
    line.ledger.jobs[line.job] = state.replace(asked=state.recipe)

    def task() -> Task:
        line.now += 1000.0
        line.beat("w" * 128)
        found = placed_task(commit(placement.place(line.ledger, line.now)))
        assert found is not None
        return found

    for _ in STAGES:
        for _ in range(ATTEMPTS_KEPT // 3):
            assert ends(commit(line.report(worst(task(), trouble)))) == []
        last = task()
        if is_cancelled and last.stage is STAGES[-1]:
            asked = CancelRequested(job=last.job, tenant=last.tenant, reason=text * 512)
            commit(intake.cancel(line.ledger, asked, Raw(), line.now))
            effects = commit(line.report(worst(last, trouble)))
        else:
            effects = commit(line.report(done(last)))
    [end] = ends(effects)
    assert isinstance(end, JobCancelled if is_cancelled else JobCompleted)
    assert attempts[-1] == ATTEMPTS_KEPT
    assert sizes["jobs"] < LARGEST_STATE_BYTES - RESERVE
    assert max(sizes.values()) < topics.LARGEST_PROMPT_BYTES // 2


def placed_task(effects: list[Effect]) -> Task | None:
    tasks = [effect.event for effect in effects if isinstance(effect, Send) and isinstance(effect.event, Task)]
    return tasks[0] if tasks else None


def grown(line: Line, job: str, size: int) -> JobState:
    """The job as a release before this one may have accepted it."""
    state = line.ledger.jobs[job]
    room = size - len(state.replace(metadata={"": "v"}).to_bytes())
    line.ledger.jobs[job] = state.replace(metadata={"n" * room: "v"})
    line.ledger.commit()
    return line.ledger.jobs[job]


def test_a_job_whose_dispatch_makes_it_too_large_fails_and_the_rest_of_the_turn_stands() -> None:
    line = Line()
    submit(line, "large", "small")
    large, small = [state.job for state in line.ledger.jobs.values()]
    grown(line, large, LARGEST_STATE_BYTES - 10)
    line.beat("a", slots=2)
    effects, records, states = turn(line, [])
    [end] = ends(effects)
    assert isinstance(end, JobFailed)
    assert (end.job, end.error.kind, end.error.field) == (large, ErrorKind.INVALID_JOB, "job")
    assert [task.job for task in tasks_of(effects)] == [small]
    assert {record.topic.name for record in records} == {"tasks.encode", "completions", "jobs"}
    assert states[large].status is JobStatus.FAILED
    assert states[small].status is JobStatus.RUNNING
    assert len(line.ledger.leases.base) == 1


def tasks_of(effects: list[Effect]) -> list[Task]:
    return [effect.event for effect in effects if isinstance(effect, Send) and isinstance(effect.event, Task)]


@pytest.mark.parametrize("running", [False, True])
def test_a_cancel_of_a_job_near_the_cap_always_fits(running: bool) -> None:
    line = Line()
    submit(line, "large")
    job = line.job
    line.beat("a")
    tasks = placed(line) if running else []
    state = grown(line, job, LARGEST_STATE_BYTES)
    assert len(state.to_bytes()) == LARGEST_STATE_BYTES
    asked = CancelRequested(job=job, tenant=state.tenant, reason="r" * 512)
    effects, _, states = turn(line, intake.cancel(line.ledger, asked, Raw(), line.now), place=False)
    # A running one cannot even be marked: it ends now, and its worker is told at its next heartbeat.
    [end] = ends(effects)
    assert isinstance(end, JobCancelled)
    assert end.reason == "r" * 512
    assert states[job].status is JobStatus.CANCELLED
    assert len(states[job].to_bytes()) < 4000
    after = Ledger()
    after.load(job, JobState.read(states[job].to_bytes()))
    after.take_over()
    assert after.next_lease() == len(tasks) + 1


def test_a_completion_that_cannot_be_encoded_costs_its_own_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    submit(line, "bad", "good")
    bad, good = [state.job for state in line.ledger.jobs.values()]
    complete = Writer._complete

    def fails(writer: Writer, effect: Complete) -> ProducerRecord:
        if effect.event.job == bad and effect.event.metadata:
            raise ZeroDivisionError
        return complete(writer, effect)

    monkeypatch.setattr(Writer, "_complete", fails)
    line.ledger.jobs[bad] = line.ledger.jobs[bad].replace(metadata={"a": "b"})
    both: list[Effect] = []
    for job in (bad, good):
        asked = CancelRequested(job=job, tenant="default", reason="r")
        both += intake.cancel(line.ledger, asked, Raw(), line.now)
    effects, records, _ = turn(line, both)
    assert {end.job: end.metadata for end in ends(effects) if isinstance(end, JobCancelled)} == {bad: {}, good: {}}
    assert len(records) == 4


def test_names_of_metadata_are_as_long_as_openai_takes_them() -> None:
    fields: dict[str, Any] = PROMPT.to_dict()
    PromptSubmitted.read(fields | {"metadata": {"n" * 64: "v" * 512}})
    with pytest.raises(ValueError, match="at most 64"):
        PromptSubmitted.read(fields | {"metadata": {"n" * 65: "v"}})
