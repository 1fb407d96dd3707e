"""The audit of `prompts`: each record is accounted for, or is named as lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operations.audit.jobs import JobsLog
from operations.audit.prompts import Letters, Prompt, check_prompt
from schemas import envelope
from schemas.events.prompts import CancelRequested
from schemas.job import JobStatus
from schemas.stage_keys import identity_of
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.records import Writer
from tests.unit.operations.audit.samples import ASKED, JOB, NOW, job, log_of, prompt_of, said


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
    [violation] = check_prompt(prompt, log_of(job()), Letters())
    assert violation.message.startswith(message)
    assert violation.subject == "prompts/0/3"
    assert said(check_prompt(prompt, log_of(job()), letters_of(prompt, prompt.value))) == []


def test_a_prompt_that_is_a_job_or_a_replay_or_a_cancel_is_accounted_for() -> None:
    for prompt in (prompt_of(ASKED), prompt_of(ASKED, offset=9), prompt_of(CancelRequested(job=JOB, tenant="acme"))):
        assert said(check_prompt(prompt, log_of(job()), Letters())) == []


def test_a_prompt_without_a_key_is_accounted_for_by_source_and_id_or_as_the_release_before_named_it() -> None:
    plain = ASKED.model_copy(update={"idempotency_key": None})
    value, headers = envelope.write(plain, id="1", source="orders", time=NOW)
    prompt = Prompt(0, 3, value, headers)
    name, earlier = identity_of(plain, "orders", "1")
    for known in (name, earlier):
        assert said(check_prompt(prompt, log_of(job(job=known, body_digest=plain.body_digest)), Letters())) == []
    others = log_of(job(job=earlier))
    assert said(check_prompt(prompt, others, Letters())) == [f"it is no dead letter, and {name} does not exist"]


def test_a_cancel_that_waits_for_its_prompt_is_no_job_and_its_prompt_is_no_replay() -> None:
    wish = job(status=JobStatus.CANCELLED, body_digest="", version=1, stages={}, attempts=(), video=None)
    log = log_of(wish)
    assert log.ended() == frozenset()
    assert said(check_prompt(prompt_of(CancelRequested(job=JOB, tenant="acme")), log, Letters())) == []
    assert said(check_prompt(prompt_of(ASKED), log, Letters())) == [
        f"it is no dead letter, and of {JOB} only a cancel is known"
    ]
    assert said(log_of(wish, job(status=JobStatus.CANCELLED, version=2)).violations) == []


def test_a_dead_letter_holds_the_original_bytes_and_headers() -> None:
    prompt = Prompt(0, 3, b"{", [("ce_id", b"one")])
    assert said(check_prompt(prompt, JobsLog(), letters_of(prompt, b"{}"))) == [
        "its dead letter does not hold the original bytes"
    ]
    other = replace(prompt, headers=[("ce_id", b"two")])
    assert len(said(check_prompt(prompt, JobsLog(), letters_of(other, b"{")))) == 1
    long = replace(prompt, headers=[(f"h{number}", b"x" * 900) for number in range(60)])
    assert said(check_prompt(long, JobsLog(), letters_of(long, b"{"))) == []
