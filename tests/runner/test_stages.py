"""The denoise stage between its steps: saved beside the next one, stopped, and resumed to the same bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from schemas.bundle import read_bundles
from schemas.errors import Cancelled, Interrupted, Preempted, StoreUnavailable
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.stage import Stage
from stages.contract import Checkpoint, StageRunner
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.checkpoint_writer import CheckpointWriter
from stages.execution.in_process import InProcessLine, Undisturbed
from stages.execution.loading import bit_class, load_stage
from tiny_model.captions import Caption
from tiny_model.evaluate import clip
from tiny_model.judge import judge
from tiny_model.scores import FIGURES, misses, score, table, write_card

TINY = Path("bundles/tiny")
STEPS = 6
CAPTION = Caption("red", "triangle", "left", "white")


@dataclass
class Kept:
    """Checkpoints in memory; `broken` ones cannot be saved."""

    saved: list[Checkpoint] = field(default_factory=list)
    broken: bool = False

    def latest(self) -> Checkpoint | None:
        return max(self.saved, key=lambda checkpoint: checkpoint.step, default=None)

    def save(self, checkpoint: Checkpoint) -> None:
        if self.broken:
            raise StoreUnavailable("away")
        self.saved.append(checkpoint)


class Watched(Undisturbed):
    """Interrupts the stage once `stop_after` steps are done."""

    def __init__(self, kept: Kept, stop_after: int = STEPS, reason: Interrupted | None = None) -> None:
        self.checkpoints, self.stop_after, self.reason = kept, stop_after, reason
        self.steps: list[int] = []
        self.durable: list[int] = []

    def progress(self, step: int, steps: int, step_seconds: float | None = None) -> None:
        self.steps.append(step)

    def raise_if_interrupted(self) -> None:
        if self.reason is not None and len(self.steps) >= self.stop_after:
            raise self.reason

    def checkpoint_saved(self, step: int) -> None:
        self.durable.append(step)


@pytest.fixture(scope="module")
def denoise() -> StageRunner:
    """Saves after every step for which the one before is stored."""
    return load_stage(Stage.DENOISE, TINY, threads=1, intervals=IntervalRule.fixed(0.0))


@pytest.fixture(scope="module")
def task() -> Task:
    asked = PromptSubmitted(prompt=CAPTION.text, seed=3, num_inference_steps=STEPS, scheduler="unipc")
    recipe = recipe_of(asked, "video_test", read_bundles([TINY]), "tiny")
    return Task(
        incarnation="i", lease=1, job="video_test", tenant="t", stage=Stage.DENOISE, key="k", recipe=recipe, attempt=1
    )


@pytest.fixture(scope="module")
def inputs(task: Task) -> dict[str, bytes]:
    encode = load_stage(Stage.ENCODE, TINY, threads=1)
    return {blob.name: blob.data for blob in encode.run(task, {}, Undisturbed()).objects}


@pytest.fixture(scope="module")
def whole(denoise: StageRunner, task: Task, inputs: dict[str, bytes]) -> bytes:
    return denoise.run(task, inputs, Undisturbed()).objects[0].data


def test_every_step_is_reported_and_the_last_is_never_saved(
    denoise: StageRunner, task: Task, inputs: dict[str, bytes], whole: bytes
) -> None:
    context = Watched(kept := Kept())
    output = denoise.run(task, inputs, context)
    assert output.objects[0].data == whole
    assert output.resumed_from_step is None
    assert context.steps == list(range(1, STEPS + 1))
    assert context.durable == [checkpoint.step for checkpoint in kept.saved]
    assert 1 <= context.durable[0] <= context.durable[-1] < STEPS


def test_a_preempted_run_saves_where_it_stands_and_goes_on_to_the_same_bits(
    denoise: StageRunner, task: Task, inputs: dict[str, bytes], whole: bytes
) -> None:
    kept = Kept()
    with pytest.raises(Preempted):
        denoise.run(task, inputs, Watched(kept, 3, Preempted("drain")))
    latest = kept.latest()
    assert latest is not None
    assert latest.step == 3
    resumed = Watched(kept)
    output = denoise.run(task, inputs, resumed)
    assert (output.resumed_from_step, resumed.steps) == (3, [4, 5, 6])
    assert output.objects[0].data == whole


def test_a_cancelled_run_stops_at_the_next_step_and_saves_nothing_more(
    denoise: StageRunner, task: Task, inputs: dict[str, bytes]
) -> None:
    context = Watched(kept := Kept(), 2, Cancelled("asked"))
    with pytest.raises(Cancelled):
        denoise.run(task, inputs, context)
    assert context.steps == [1, 2]
    assert all(checkpoint.step <= 2 for checkpoint in kept.saved)


def test_a_checkpoint_that_cannot_be_saved_costs_only_the_chance(
    denoise: StageRunner, task: Task, inputs: dict[str, bytes], whole: bytes
) -> None:
    context = Watched(Kept(broken=True))
    assert denoise.run(task, inputs, context).objects[0].data == whole
    assert context.durable == []


@dataclass(frozen=True)
class Counted:
    step: int

    def to_bytes(self) -> bytes:
        return b"state"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_checkpoint_is_due_after_its_interval_of_work() -> None:
    clock = Clock()
    writer = CheckpointWriter(context := Watched(Kept()), IntervalRule.fixed(2.0), clock)
    for clock.now, is_due in ((1.9, False), (2.0, True)):
        assert writer.is_due() is is_due
    writer.save(lambda: Counted(1))
    writer.close()
    for clock.now, is_due in ((3.9, False), (4.0, True)):
        assert writer.is_due() is is_due
    assert context.durable == [1]


def test_the_interval_follows_from_what_the_first_checkpoint_cost() -> None:
    clock = Clock()
    writer = CheckpointWriter(Watched(Kept()), IntervalRule(50.0, shortest=1.0, longest=60.0), clock)

    def slow_copy() -> Counted:
        clock.now += 0.04
        return Counted(1)

    clock.now = 1.0
    assert writer.is_due()
    writer.save(slow_copy)
    writer.close()
    start = clock.now
    for clock.now, is_due in ((start + 1.9, False), (start + 2.1, True)):
        assert writer.is_due() is is_due


def test_what_a_stage_made_belongs_to_the_bit_class_of_its_device() -> None:
    assert bit_class(Stage.MUX, "cpu", 1) == "any"
    assert bit_class(Stage.DENOISE, "cpu", 1) != bit_class(Stage.DENOISE, "cpu", 2)
    assert f"torch-{torch.__version__.split('+')[0]}" in bit_class(Stage.DENOISE, "cpu", 1)


def test_a_video_of_the_tiny_model_is_judged_from_the_finished_file(tmp_path: Path) -> None:
    verdict = judge(clip(InProcessLine.load(TINY), CAPTION, seed=3), CAPTION)
    figures = score("one", [verdict])
    assert (figures.clips, figures.colour, figures.background) == (1, 1.0, 1.0)
    assert len(misses([verdict])) == (not verdict.all_correct)
    card = tmp_path / "README.md"
    card.write_text(f"before\n{FIGURES[0]}\nold\n{FIGURES[1]}\nafter\n")
    write_card(card, table([figures]))
    assert "| one | 1 | 1.000 |" in card.read_text()
    assert "old" not in card.read_text()
    assert card.read_text().endswith("after\n")
    card.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_card(card, "")
