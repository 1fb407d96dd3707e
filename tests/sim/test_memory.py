"""A stage without enough memory: elsewhere first; a decode in tiles then, unless the job asked for exact pixels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.errors import ChildDied, ResourceExhausted
from schemas.events.completions import JobCompleted, JobFailed
from schemas.events.prompts import PromptSubmitted
from schemas.events.reports import Failed, Started
from schemas.events.tasks import Task
from schemas.job import JobState
from schemas.stage import STAGES, Stage
from schemas.stage_keys import stage_keys
from streams.coordinator.core.effects import Effect
from tests.sim.played_line import PROMPT, Line, done, ends, names

ADVICE = "ask for a smaller size or fewer frames"


def at(stage: Stage, asked: PromptSubmitted = PROMPT, workers: str = "ab") -> Line:
    """A line whose one job waits for `stage`, with every stage before it done."""
    line = Line()
    line.submit(asked)
    for worker in workers:
        line.beat(worker)
    while line.ledger.jobs[line.job].stage is not stage:
        finish(line, line.task())
    return line


def finish(line: Line, task: Task) -> list[Effect]:
    return line.report(done(task))


def start(line: Line) -> Task:
    """The next task, once the delay of a retry is over."""
    line.now += 60
    task = line.task()
    line.report(Started(**names(task)))
    return task


def runs_out(line: Line, task: Task, error: ResourceExhausted | None = None) -> list[Effect]:
    report = (error or ResourceExhausted("CUDA out of memory: 2.00 GiB")).report()
    return line.report(Failed(**names(task), error=report, seconds=2.0))


def state_of(line: Line) -> JobState:
    return line.ledger.jobs[line.job]


def test_a_decode_runs_elsewhere_and_then_in_tiles_and_the_denoise_runs_once() -> None:
    line = at(Stage.DECODE)
    before = state_of(line)
    first = start(line)
    runs_out(line, first)
    second = start(line)
    assert second.incarnation != first.incarnation
    assert (second.key, second.recipe) == (first.key, first.recipe)
    runs_out(line, second)
    tiled = start(line)
    tiling = line.policy.bundles["tiny"].vae_tiling
    assert tiled.stage is Stage.DECODE
    assert tiled.recipe == first.recipe.model_copy(update={"vae_tiling": tiling})
    assert tiled.is_whole
    assert tiled.upstream == before.stages[Stage.DENOISE].artifact
    wanted = stage_keys(tiled.recipe, line.policy.bundles["tiny"], line.job)
    assert {stage: record.key for stage, record in state_of(line).stages.items()} == wanted
    changed = {stage for stage in STAGES if wanted[stage] != before.stages[stage].key}
    assert changed == {Stage.DECODE, Stage.MUX}
    finish(line, tiled)
    [end] = ends(finish(line, start(line)))
    assert isinstance(end, JobCompleted)
    assert (end.recipe, end.asked) == (tiled.recipe, first.recipe)
    assert [(each.attempts, each.wasted_seconds) for each in end.stages] == [(1, 0), (1, 0), (3, 4), (1, 0)]


def test_a_late_result_of_the_decode_that_was_given_up_is_not_taken() -> None:
    line = at(Stage.DECODE)
    late = start(line)
    line.beat("a" if late.incarnation == "a-1" else "b", leaving=True)
    for _ in range(2):
        runs_out(line, start(line))
    finish(line, late)
    assert state_of(line).stage is Stage.DECODE
    assert start(line).recipe.vae_tiling is not None


def test_a_job_that_asked_for_exact_pixels_fails_and_says_what_would_help() -> None:
    line = at(Stage.DECODE, PROMPT.model_copy(update={"exact": True}))
    for _ in range(2):
        assert ends(runs_out(line, start(line))) == []
    task = start(line)
    assert task.recipe.vae_tiling is None
    [end] = ends(runs_out(line, task))
    assert isinstance(end, JobFailed)
    assert (end.error.code, end.stage, end.asked) == ("gpu_out_of_memory", Stage.DECODE, None)
    assert "decode of 17 frames of 64x64 does not fit" in end.error.message
    assert "without `exact`" in end.error.message
    assert "2.00 GiB" in end.error.message


def test_tiles_that_do_not_fit_either_end_the_job() -> None:
    line = at(Stage.DECODE)
    tries = 0
    while not (found := ends(runs_out(line, start(line)))):
        tries += 1
    [end] = found
    assert isinstance(end, JobFailed)
    assert tries + 1 == 2 + 3
    assert end.error.code == "gpu_out_of_memory"
    assert ADVICE in end.error.message
    assert end.recipe is not None
    assert end.asked is not None
    assert end.recipe.vae_tiling is not None


def test_a_frame_of_one_tile_gains_nothing_by_tiling() -> None:
    line = at(Stage.DECODE, PROMPT.model_copy(update={"size": "32x32"}))
    for _ in range(2):
        runs_out(line, start(line))
    task = start(line)
    assert task.recipe.vae_tiling is None
    assert isinstance(ends(runs_out(line, task))[0], JobFailed)


@pytest.mark.parametrize("stage", [Stage.ENCODE, Stage.DENOISE])
def test_other_stages_run_elsewhere_and_end_in_one_clear_failure(stage: Stage) -> None:
    line = at(stage)
    seen = []
    for _ in range(2):
        task = start(line)
        seen.append(task.incarnation)
        assert ends(runs_out(line, task)) == []
    assert len(set(seen)) == 2
    [end] = ends(runs_out(line, start(line)))
    assert isinstance(end, JobFailed)
    assert (end.error.code, end.stage, end.asked) == ("gpu_out_of_memory", stage, None)
    assert ADVICE in end.error.message


def test_a_denoise_that_fits_elsewhere_goes_on_there() -> None:
    line = at(Stage.DENOISE)
    runs_out(line, start(line))
    finish(line, start(line))
    assert state_of(line).stage is Stage.DECODE


def test_a_child_that_was_killed_runs_elsewhere_and_changes_no_recipe() -> None:
    """It may have been killed for anything."""
    line = at(Stage.DECODE)
    seen = []
    for _ in range(3):
        task = start(line)
        assert task.recipe.vae_tiling is None
        seen.append(task.incarnation)
        effects = runs_out(line, task, ChildDied("the compute child was ended by SIGKILL"))
    assert len(set(seen[:2])) == 2
    [end] = ends(effects)
    assert isinstance(end, JobFailed)
    assert end.error.code == "compute_child_died"


def test_where_there_is_no_other_worker_the_same_one_tries_again() -> None:
    line = at(Stage.DECODE, workers="a")
    for _ in range(2):
        runs_out(line, start(line))
    finish(line, start(line))
    assert state_of(line).stage is Stage.MUX


def test_what_an_earlier_release_denoised_is_not_decoded_under_a_key_of_this_one() -> None:
    line = at(Stage.DECODE)
    record = state_of(line).stages[Stage.DENOISE].model_copy(update={"key": "of an earlier release"})
    stages = state_of(line).stages | {Stage.DENOISE: record}
    line.ledger.put(state_of(line).model_copy(update={"stages": stages}), line.now)
    for _ in range(2):
        runs_out(line, start(line))
    assert start(line).recipe.vae_tiling is None


def test_a_limit_of_one_attempt_goes_to_tiles_at_once() -> None:
    line = at(Stage.DECODE)
    line.policy = replace(line.policy, max_attempts=1)
    assert ends(runs_out(line, start(line))) == []
    assert start(line).recipe.vae_tiling is not None
