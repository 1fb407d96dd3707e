"""Each promise is broken once, in values, and the audit names what is broken; what is only under way is no breach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from schemas import envelope
from schemas.base import Frozen
from schemas.digest import sha256
from schemas.events import (
    ArtifactRef,
    CancelRequested,
    Completion,
    DeleteRequested,
    JobCancelled,
    JobCompleted,
    Manifest,
    ObjectRef,
    PromptSubmitted,
)
from schemas.job import Attempt, JobState, JobStatus, Lease, StageState
from schemas.keys import job_id
from schemas.stage import Stage
from stages.object_store import Stored
from streams.audit import objects
from streams.audit.completions import check_completions
from streams.audit.jobs import ATTEMPTS_KEPT, JobsLog, check_state, compute_of
from streams.audit.objects import Shelves
from streams.audit.prompts import Letters, Prompt, check_prompt
from streams.audit.report import Breach
from streams.coordinator.ending import shared
from streams.coordinator.intake import Raw
from streams.coordinator.job import deleted
from streams.coordinator.records import Writer

NOW = 1_800_000_000.0
ASKED = PromptSubmitted(prompt="a red square", tenant="acme", idempotency_key="one")
JOB = job_id("acme", "one")
PLACE = f"videos/acme/{JOB}"
DATA = b"a video"
VIDEO = ObjectRef(name="video", key=f"{PLACE}/v.mp4", size=len(DATA), sha256=sha256(DATA))
LEASE = Lease(number=7, incarnation="w.1", worker="w", stage=Stage.MUX, partition=0, dispatched_at=NOW)


def attempt(lease: int, outcome: str = "done", seconds: float = 0.0, worker: str = "w") -> Attempt:
    return Attempt(
        stage=Stage.MUX, lease=lease, worker=worker, outcome=outcome, dispatched_at=NOW, ended_at=NOW, seconds=seconds
    )


def job(**changes: Any) -> JobState:
    """A job that has completed."""
    artifact = ArtifactRef(stage=Stage.MUX, key="key", manifest_key=f"{PLACE}/manifest.json", etag="e")
    state = JobState(
        job=JOB, tenant="acme", version=9, status=JobStatus.COMPLETED, accepted_at=NOW, updated_at=NOW, ended_at=NOW,
        body_digest=ASKED.body_digest, stage=Stage.MUX, video=VIDEO,
        stages={Stage.MUX: StageState(key="key", artifact=artifact, seconds=2.0)}, attempts=(attempt(7, seconds=2.0),),
    )  # fmt: skip
    return state.model_copy(update=changes)


def waiting(**changes: Any) -> JobState:
    return job(status=JobStatus.WAITING, ended_at=None, video=None, attempts=(), **changes)


def completion(state: JobState, **changes: Any) -> Completion:
    fields = shared(state) | changes
    if state.status is JobStatus.COMPLETED:
        return JobCompleted(**{"video": state.video, "seconds": 2.0, "bucket": "b"} | fields)
    return JobCancelled(reason="asked", **fields)


def log_of(*states: JobState) -> JobsLog:
    log = JobsLog()
    for state in states:
        log.take(state.job, state)
    return log


def said(breaches: Iterable[Breach]) -> list[str]:
    return [breach.message for breach in breaches]


# -- jobs ----------------------------------------------------------------------------------------------------------


def test_versions_rise_and_an_end_is_final() -> None:
    assert said(log_of(job(version=1), job(version=1)).breaches) == [
        "version 1 comes after version 1", "it was completed and is completed afterwards"
    ]  # fmt: skip
    assert said(log_of(waiting(version=1), job(version=2)).breaches) == []


def test_a_lease_number_is_one_dispatch_in_the_whole_cell() -> None:
    other = job(job="video_other", attempts=(attempt(7, worker="x"),))
    assert [breach.promise for breach in log_of(job(), other).breaches] == ["lease is one dispatch"]


def test_a_forgotten_job_is_known() -> None:
    log = log_of(job())
    log.take(JOB, None)
    assert log.knows(JOB)
    assert not log.latest


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (job(lease=LEASE, attempts=()), "it has ended and holds lease 7"),
        (waiting(lease=LEASE), "it is waiting with lease"),
        (waiting().model_copy(update={"status": JobStatus.RUNNING}), "it is running with lease None"),
        (waiting().model_copy(update={"status": JobStatus.UNKNOWN}), "its status is unknown"),
        (waiting(stage=None), "it is waiting for no stage of its own"),
        (job(attempts=(attempt(7, "failed"), attempt(6))), "lease 6 comes after lease 7"),
        (job(attempts=(attempt(7, "failed"), attempt(7))), "lease 7 comes after lease 7"),
        (job(attempts=(attempt(6, "lost", 3.0), attempt(7))), "mux says 0.000 s were wasted, its attempts say 3.000 s"),
    ],
)
def test_a_state_that_cannot_be(state: JobState, message: str) -> None:
    [breach] = check_state(state)
    assert breach.message.startswith(message)
    assert breach.subject == JOB


def test_what_happens_to_a_healthy_job_is_no_breach() -> None:
    taken_back = job(attempts=(attempt(6, "lost"), attempt(7, "cancelled"), attempt(6)))
    cut = job(attempts=tuple(attempt(number, "preempted") for number in range(ATTEMPTS_KEPT)))
    for state in (job(), waiting(), taken_back, cut, job(status=JobStatus.RUNNING, lease=LEASE, attempts=())):
        assert said(check_state(state)) == []


def test_only_a_deletion_follows_an_end_and_it_leaves_nothing_to_be_missed() -> None:
    gone = deleted(job(version=10, attempts=(attempt(6, "failed", 3.0), attempt(7))))
    log = log_of(job(), gone)
    assert said(log.breaches) == []
    assert [*check_state(gone)] == []
    assert [*check_completions({JOB}, log, {JOB: [completion(job())]}, NOW)] == []
    assert [*objects.check_references(gone, Shelves())] == []
    assert [*check_prompt(prompt_of(DeleteRequested(job=JOB, tenant="acme")), log, Letters())] == []
    assert [*check_prompt(prompt_of(DeleteRequested(job="video_" + "0" * 32)), log, Letters())] != []


def test_compute_by_how_it_ended() -> None:
    stages = {Stage.MUX: StageState(key="key", seconds=2.0, wasted_seconds=5.0)}
    state = job(stages=stages, attempts=(attempt(5, "lost", 3.0), attempt(6, "failed", 1.5), attempt(7)))
    assert compute_of([state]).useful == 2.0
    assert compute_of([state]).wasted == {"lost": 3.0, "failed": 1.5, "earlier": 0.5}


# -- prompts -------------------------------------------------------------------------------------------------------


def prompt_of(event: Frozen, offset: int = 3) -> Prompt:
    value, headers = envelope.write(event, id="one", source="test", time=NOW)
    return Prompt(0, offset, value, headers)


def letters_of(prompt: Prompt, value: bytes | None) -> Letters:
    """As the coordinator writes them."""
    letter = Raw(value, prompt.headers, prompt.origin).dead_letter("not_json", "no")
    [record] = Writer(0, "c", NOW).effects([letter])
    letters = Letters()
    letters.take(record.value, record.headers)
    return letters


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(0, 3, b"{"), "it is no dead letter, and it cannot be read"),
        (prompt_of(ASKED.model_copy(update={"idempotency_key": "two"})), "it is no dead letter, and video_"),
        (prompt_of(ASKED.model_copy(update={"prompt": "x"})), f"it is no dead letter, and {JOB} was accepted with"),
        (prompt_of(CancelRequested(job="video_" + "0" * 32)), "it is no dead letter, and nobody knows the job"),
        (prompt_of(job()), "it is no dead letter, and latentline.job_state.v1 is no prompt"),
    ],
)
def test_a_prompt_that_is_lost(prompt: Prompt, message: str) -> None:
    [breach] = check_prompt(prompt, log_of(job()), Letters())
    assert breach.message.startswith(message)
    assert breach.subject == "prompts/0/3"
    assert said(check_prompt(prompt, log_of(job()), letters_of(prompt, prompt.value))) == []


def test_a_prompt_that_is_a_job_or_a_replay_or_a_cancel_is_accounted_for() -> None:
    for prompt in (prompt_of(ASKED), prompt_of(ASKED, offset=9), prompt_of(CancelRequested(job=JOB, tenant="acme"))):
        assert said(check_prompt(prompt, log_of(job()), Letters())) == []


def test_a_cancel_that_waits_for_its_prompt_is_no_job_and_its_prompt_is_no_replay() -> None:
    wish = job(status=JobStatus.CANCELLED, body_digest="", version=1, stages={}, attempts=(), video=None)
    log = log_of(wish)
    assert log.ended() == frozenset()
    assert said(check_prompt(prompt_of(CancelRequested(job=JOB, tenant="acme")), log, Letters())) == []
    assert said(check_prompt(prompt_of(ASKED), log, Letters())) == [
        f"it is no dead letter, and of {JOB} only a cancel is known"
    ]
    assert said(log_of(wish, job(status=JobStatus.CANCELLED, version=2)).breaches) == []


def test_a_dead_letter_holds_the_original_bytes_and_headers() -> None:
    prompt = Prompt(0, 3, b"{", [("ce_id", b"one")])
    assert said(check_prompt(prompt, JobsLog(), letters_of(prompt, b"{}"))) == [
        "its dead letter does not hold the original bytes"
    ]
    other = replace(prompt, headers=[("ce_id", b"two")])
    assert len(said(check_prompt(prompt, JobsLog(), letters_of(other, b"{")))) == 1
    long = replace(prompt, headers=[(f"h{number}", b"x" * 900) for number in range(60)])
    assert said(check_prompt(long, JobsLog(), letters_of(long, b"{"))) == []


# -- completions ---------------------------------------------------------------------------------------------------


def ends_of(*ends: Completion) -> dict[str, list[Completion]]:
    return {JOB: list(ends)}


def test_each_ended_job_has_exactly_one_completion() -> None:
    state = job()
    log = log_of(state)
    assert said(check_completions({JOB}, log, ends_of(completion(state)), NOW)) == []
    assert said(check_completions({JOB}, log, {}, NOW)) == ["it is completed and has no completion"]
    assert said(check_completions({JOB}, log, ends_of(completion(state), completion(state)), NOW)) == [
        "it has 2 completions"
    ]


def test_what_retention_took_and_what_is_still_on_its_way_is_no_breach() -> None:
    week_ago = job(ended_at=NOW - 8 * 24 * 3600)
    assert said(check_completions({JOB}, log_of(week_ago), {}, NOW)) == []
    assert said(check_completions(set(), log_of(job()), {}, NOW)) == []


def test_a_completion_of_a_job_that_has_not_ended_or_does_not_exist() -> None:
    end = completion(job())
    assert said(check_completions(set(), log_of(waiting()), ends_of(end), NOW)) == [
        "it is waiting and its completion is a JobCompleted"
    ]
    assert said(check_completions(set(), JobsLog(), ends_of(end), NOW)) == [
        "it has a completion, and nobody knows the job"
    ]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tenant": "other"}, "tenant"),
        ({"ended_at": NOW + 1}, "time of the end"),
        ({"video": VIDEO.model_copy(update={"size": 1})}, "video"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"stages": ()}, "compute seconds"),
    ],
)
def test_a_completion_says_what_the_state_says(changes: dict[str, Any], what: str) -> None:
    end = completion(job(), **changes)
    assert said(check_completions({JOB}, log_of(job()), ends_of(end), NOW)) == [f"its completion has another {what}"]


# -- store ---------------------------------------------------------------------------------------------------------

MANIFEST = Manifest(stage=Stage.MUX, key="key", lease=7, objects=(VIDEO,))
WHOLE = Shelves(
    {VIDEO.key: Stored(VIDEO.size, NOW), f"{PLACE}/manifest.json": Stored(9, NOW)},
    {f"{PLACE}/manifest.json": MANIFEST}, {VIDEO.key: VIDEO.sha256},
)  # fmt: skip


def look(shelves: Shelves, state: JobState) -> list[str]:
    found = [*objects.check_references(state, shelves), *objects.check_manifests(shelves)]
    return said([*found, *objects.check_orphans(shelves, [state], NOW - 60)])


def test_a_store_as_promised() -> None:
    assert look(WHOLE, job()) == []
    assert look(replace(WHOLE, digests={}), job()) == []
    assert look(Shelves(), job(status=JobStatus.CANCELLED, video=None)) == []


@pytest.mark.parametrize(
    ("shelves", "fault"),
    [
        (replace(WHOLE, objects={}), "it is missing"),
        (replace(WHOLE, objects={VIDEO.key: Stored(3, NOW)}), "it has 3 bytes, not 7"),
        (replace(WHOLE, digests={VIDEO.key: "00"}), "it does not match its digest"),
    ],
)
def test_an_object_that_is_not_as_promised(shelves: Shelves, fault: str) -> None:
    assert look(shelves, job()) == [
        f"the video of {JOB} is not as promised: {fault}", f"{PLACE}/manifest.json promises it, and {fault}"
    ]  # fmt: skip


def test_a_manifest_that_is_missing_unreadable_or_another() -> None:
    assert look(replace(WHOLE, manifests={}), job()) == [f"the mux output of {JOB} is missing"]
    assert look(replace(WHOLE, manifests={f"{PLACE}/manifest.json": None}), job()) == ["it cannot be read"]
    other = MANIFEST.model_copy(update={"key": "another"})
    assert look(replace(WHOLE, manifests={f"{PLACE}/manifest.json": other}), job()) == [
        f"it is not the mux output of {JOB}"
    ]


def test_an_orphan_is_a_breach_once_it_is_old() -> None:
    left = {"artifacts/acme/encode/k/0": Stored(1, NOW), "artifacts/acme/encode/k/manifest.json": Stored(1, NOW)}
    manifests = {"artifacts/acme/encode/k/manifest.json": Manifest(stage=Stage.ENCODE, key="k", lease=1, objects=())}
    shelves = Shelves(left, manifests)
    assert said(objects.check_orphans(shelves, [job()], NOW - 60)) == []
    assert said(objects.check_orphans(shelves, [job()], NOW + 60)) == [
        "no manifest names this object", "no job knows this output"
    ]  # fmt: skip
    assert said(objects.check_orphans(WHOLE, [], NOW + 60)) == []
