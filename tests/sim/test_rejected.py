"""A prompt that cannot be taken in ends as a job that has failed: once, and at nobody else's cost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bundle import read_bundles
from schemas.envelope import Headers, type_of
from schemas.errors import ErrorKind
from schemas.events.completions import JobFailed
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobStatus
from schemas.rejected_prompt import rejected_prompt
from schemas.stage_keys import identity_of, job_id
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Count, DeadLetter, Effect
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from tests.sim.played_line import ends

POLICY = Policy(bundles=read_bundles("bundles/tiny"))
GOOD = {"prompt": "a red square", "tenant": "acme", "idempotency_key": "one"}
JOB = job_id("acme", "one")
REPLAY = [Count("duplicate", ("prompt",))]


def headers(id: str = "1", source: str = "orders") -> Headers:
    return [
        ("ce_type", type_of(PromptSubmitted).encode()), ("ce_id", id.encode()), ("ce_source", source.encode()),
    ]  # fmt: skip


def record(fields: Any, id: str = "1") -> Record:
    value = fields if isinstance(fields, bytes) else orjson.dumps(fields)
    return Record("prompts", 0, 7, value, headers(id))


def take(ledger: Ledger, fields: Any, id: str = "1") -> list[Effect]:
    return dispatch.take(ledger, POLICY, record(fields, id), 1.0)


def letters(effects: list[Effect]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, DeadLetter)]


def test_a_wrong_field_fails_the_job_that_was_asked_for_and_says_which() -> None:
    ledger, bad = Ledger(), GOOD | {"seed": "many", "metadata": {"order": "17"}, "webhook_url": "https://a.example/x"}
    effects = take(ledger, bad)
    assert letters(effects) == ["invalid_field"]
    [end] = ends(effects)
    assert isinstance(end, JobFailed)
    assert (end.job, end.tenant, end.metadata, end.webhook_url) == (
        JOB, "acme", {"order": "17"}, "https://a.example/x",
    )  # fmt: skip
    assert (end.error.kind, end.error.field, end.error.value) == (ErrorKind.INVALID_JOB, "seed", "'many'")
    assert ledger.jobs[JOB].status is JobStatus.FAILED
    assert take(ledger, bad) == REPLAY
    assert letters(take(ledger, GOOD)) == ["id_conflict"]


def test_without_a_key_it_goes_by_source_and_id() -> None:
    ledger = Ledger()
    [end] = ends(take(ledger, {"prompt": 7, "tenant": "acme"}))
    assert isinstance(end, JobFailed)
    assert end.job == identity_of(PromptSubmitted(prompt="-", tenant="acme"), "orders", "1").job


def test_a_record_that_the_core_cannot_take_in_fails_its_job_as_a_fault_of_ours() -> None:
    ledger, poison = Ledger(), record(GOOD | {"metadata": {"x": "y"}})
    effects = dispatch.dead_letter(ledger, POLICY, poison, "poison_event", "ZeroDivisionError()", 1.0)
    assert letters(effects) == ["poison_event"]
    [end] = ends(effects)
    assert isinstance(end, JobFailed)
    assert (end.job, end.error.code, end.metadata) == (JOB, "not_taken_in", {})
    assert "ZeroDivision" not in end.error.message
    assert dispatch.dead_letter(ledger, POLICY, poison, "poison_event", "again", 2.0) == REPLAY
    assert take(ledger, GOOD | {"metadata": {"x": "y"}}) == REPLAY


@pytest.mark.parametrize("bad", [GOOD | {"seed": "many"}, GOOD | {"prompt": None}, GOOD | {"fps": {}}])
def test_a_bad_record_ends_no_job_that_was_accepted_under_its_id(bad: dict[str, object]) -> None:
    ledger = Ledger()
    take(ledger, GOOD)
    before = ledger.jobs[JOB]
    effects = take(ledger, bad)
    assert (letters(effects), ends(effects)) == (["invalid_field"], [])
    assert ledger.jobs[JOB] == before
    buried = dispatch.dead_letter(ledger, POLICY, record(GOOD | {"seed": 8}), "too_large", "", 1.0)
    assert (letters(buried), ends(buried), ledger.jobs[JOB]) == (["too_large"], [], before)


@pytest.mark.parametrize(
    "bad",
    [
        GOOD | {"tenant": "no such name"}, GOOD | {"idempotency_key": 7}, ["a", "list"], "text", None,
        b"{", b"", b"\xff",
    ],
)  # fmt: skip
def test_what_does_not_say_whose_it_is_is_a_dead_letter_alone(bad: object) -> None:
    effects = take(Ledger(), bad)
    assert (len(letters(effects)), len(effects)) == (1, 1)


WORDS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=9)
VALUES = st.recursive(WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@given(fields=st.dictionaries(st.sampled_from(sorted(PromptSubmitted.model_fields)), VALUES, max_size=8))
def test_any_record_is_a_job_or_a_dead_letter_and_its_replay_nothing_or_the_same_letter(fields: Any) -> None:
    ledger, bad = Ledger(), record(orjson.dumps(fields))
    first = dispatch.take(ledger, POLICY, bad, 1.0)
    known = rejected_prompt(bad.value, bad.headers)
    assert letters(first) or ledger.jobs.changes
    assert len(ends(first)) <= 1
    again = dispatch.take(ledger, POLICY, bad, 2.0)
    assert again == (REPLAY if known is not None else first)
