"""Which prompts are one job: the core's own answer, before and after the release in which the source began to count."""

from __future__ import annotations

from schemas.digest import digest
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState
from schemas.stage_keys import job_id
from streams.coordinator.core import transitions
from streams.coordinator.core.effects import Count, DeadLetter
from tests.sim.played_line import Line

PLAIN = PromptSubmitted(prompt="a red square moving right on a blue background")
OTHER = PLAIN.model_copy(update={"prompt": "a blue circle moving left on a white background"})
REPLAY = [Count("duplicate", ("prompt",))]
ACCEPTED = [Count("submitted", ("tiny",))]


def accepted_before(line: Line, asked: PromptSubmitted, id: str, body_digest: str = "") -> JobState:
    """What the release before this one left of a prompt: it went by the event's id alone."""
    state = transitions.new_job(job_id(asked.tenant, id), asked.tenant, body_digest or asked.body_digest, line.now)
    return line.ledger.put(state.replace(stage=None), line.now)


def test_two_services_that_both_number_from_one_have_a_job_each() -> None:
    line = Line()
    assert line.submit(PLAIN, "orders", "1") == ACCEPTED
    assert line.submit(PLAIN, "adverts", "1") == ACCEPTED
    assert line.submit(OTHER, "greetings", "1") == ACCEPTED
    assert len(list(line.ledger.jobs.values())) == 3


def test_a_service_that_repeats_itself_has_one_job() -> None:
    line = Line()
    line.submit(PLAIN, "orders", "1")
    assert line.submit(PLAIN, "orders", "1") == REPLAY
    [letter] = line.submit(OTHER, "orders", "1")
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "id_conflict"


def test_where_a_key_is_given_the_source_does_not_matter() -> None:
    line, keyed = Line(), PLAIN.model_copy(update={"idempotency_key": "order-1"})
    line.submit(keyed, "orders", "1")
    assert line.submit(keyed, "adverts", "2") == REPLAY
    assert line.job == job_id("default", "order-1")


def test_a_replay_of_what_the_release_before_accepted_is_a_no_op() -> None:
    line = Line()
    accepted_before(line, PLAIN, "1")
    assert line.submit(PLAIN, "orders", "1") == REPLAY


def test_another_body_under_an_id_of_before_is_a_job_of_its_own() -> None:
    line = Line()
    accepted_before(line, PLAIN, "1")
    assert line.submit(OTHER, "adverts", "1") == ACCEPTED
    assert line.submit(OTHER, "adverts", "1") == REPLAY


def test_a_wish_to_cancel_is_no_prompt_of_before() -> None:
    line = Line()
    line.ledger.put(transitions.new_job(job_id("default", "1"), "default", "", line.now), line.now)
    assert line.submit(PLAIN, "orders", "1") == ACCEPTED


def test_the_body_of_an_older_format_is_the_same_body() -> None:
    """A seed of -1 means any: the release before refused it, and its digest says -1."""
    keyed, line = PLAIN.model_copy(update={"idempotency_key": "order-1"}), Line()
    older = digest(keyed.model_dump(mode="json", exclude_defaults=True) | {"seed": -1})
    accepted_before(line, keyed, "order-1", older)
    assert line.submit(keyed) == REPLAY
    [letter] = line.submit(keyed.model_copy(update={"seed": 7}))
    assert isinstance(letter, DeadLetter)
