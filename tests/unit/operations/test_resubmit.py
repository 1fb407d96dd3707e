"""An ended job asked for again: the same recipe and seed, the old job named, from a stage on under a new run number."""

from __future__ import annotations

import pytest

from operations.resubmit import NotRepeatable, replayed, resubmitted
from schemas.bundle import read_bundles
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState, JobStatus
from schemas.limits import recipe_of
from schemas.stage import STAGES, Stage
from schemas.stage_keys import job_id, stage_keys
from streams.coordinator.core.transitions import new_job, with_recipe
from tests.contract.examples import TILING

BUNDLES = read_bundles("bundles/tiny")


def accepted(asked: PromptSubmitted, status: JobStatus = JobStatus.COMPLETED) -> JobState:
    """The job as the coordinator takes it in, and as it ended."""
    job = job_id(asked.tenant, asked.idempotency_key or "")
    recipe = recipe_of(asked, job, BUNDLES, "tiny")
    state = new_job(job, asked.tenant, "", 1.0, metadata=asked.metadata, exact=asked.exact, runs=asked.runs or {})
    keys = stage_keys(recipe, BUNDLES["tiny"], job, state.runs)
    return with_recipe(state, recipe, keys, 1.0).model_copy(update={"status": status})


OLD = accepted(PromptSubmitted(
    prompt="a red circle", tenant="acme", idempotency_key="one", size="96x64", seconds=1.2, metadata={"order": "17"},
))  # fmt: skip


def anew(before: JobState, after: JobState) -> list[Stage]:
    return [stage for stage in STAGES if before.stages[stage].key != after.stages[stage].key]


@pytest.mark.parametrize("start", STAGES)
def test_a_stage_and_all_after_it_have_new_keys_and_earlier_ones_are_found(start: Stage) -> None:
    asked = replayed(OLD, start, [OLD])
    new = accepted(asked)
    assert new.recipe == OLD.recipe
    assert new.job != OLD.job
    assert new.metadata == {"order": "17", "parent": OLD.job}
    # The file belongs to its job: mux never finds another one's.
    assert anew(OLD, new) == list(STAGES[STAGES.index(start) :])


def test_a_second_replay_computes_again_and_the_same_one_sent_twice_is_one_job() -> None:
    first, same = (accepted(replayed(OLD, Stage.DECODE, [OLD])) for _ in range(2))
    assert first.job == same.job
    second = accepted(replayed(OLD, Stage.DECODE, [OLD, first]))
    assert (first.runs, second.runs) == ({Stage.DECODE: 1}, {Stage.DECODE: 2})
    assert anew(first, second) == [Stage.DECODE, Stage.MUX]


def test_a_replay_of_a_replay_goes_on_from_what_that_one_made() -> None:
    first = accepted(replayed(OLD, Stage.DENOISE, [OLD]))
    second = accepted(replayed(first, Stage.DECODE, [OLD, first]))
    assert second.runs == {Stage.DENOISE: 1, Stage.DECODE: 1}
    assert anew(first, second) == [Stage.DECODE, Stage.MUX]


def test_what_was_asked_for_is_asked_for_again_and_not_what_was_served() -> None:
    assert OLD.recipe is not None
    served = OLD.recipe.model_copy(update={"vae_tiling": TILING})
    tiled = OLD.model_copy(update={"recipe": served, "asked": OLD.recipe, "exact": None})
    assert accepted(resubmitted(tiled, "again")).recipe == OLD.recipe
    assert resubmitted(OLD.model_copy(update={"exact": True}), "again").exact is True


def test_what_cannot_be_replayed_says_why() -> None:
    with pytest.raises(NotRepeatable, match=r"has not ended: it is waiting; `latentline cancel` ends it"):
        replayed(OLD.model_copy(update={"status": JobStatus.WAITING}), Stage.MUX, [])
    with pytest.raises(NotRepeatable, match="never became a recipe"):
        resubmitted(new_job("video_1", "acme", "", 1.0), "again")
    full = OLD.model_copy(update={"metadata": {str(number): "x" for number in range(16)}})
    with pytest.raises(NotRepeatable, match="at most 16"):
        resubmitted(full, "again")
