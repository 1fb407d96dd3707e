"""Who is suspected of killing its workers, what counts against it, and what clears it (protocol rule 19)."""

from __future__ import annotations

from schemas.errors import ChildDied
from schemas.events.completions import JobFailed
from schemas.events.reports import Failed, HeldLease, HeldState, Preempted
from schemas.events.tasks import Task
from schemas.job import JobState, StageState
from schemas.stage import STAGES
from streams.coordinator.core.effects import DeadLetter, Effect
from tests.sim.played_line import Line, done, ends, held, names
from tests.sim.test_found import next_life, placed, start, submit

LIMIT = Line().policy.suspicion_limit


def of_stage(line: Line, task: Task) -> StageState:
    return line.ledger.jobs[task.job].stages[task.stage]


def kill(line: Line, name: str, life: int, **more: str) -> Task:
    """The next job starts on this life of a worker, which vanishes with it."""
    line.beat(name, life=life, **more)  # type: ignore[arg-type]
    [task] = placed(line)
    start(line, task)
    line.beat(name, life=life + 1, slots=0, **more)  # type: ignore[arg-type]
    return task


def silence(line: Line) -> None:
    """Longer than a worker may be silent."""
    for number in range(line.policy.lost_after + 1):
        line.tick(number)


def at(task: Task, step: int) -> HeldLease:
    return held(task, step=step, checkpoint_step=step)


def in_denoise(line: Line) -> None:
    submit(line, "long")
    line.beat("encoder")
    line.report(done(line.task()))
    line.beat("encoder", leaving=True)


# -- alone ---------------------------------------------------------------------------------------------------------


def test_the_first_loss_makes_a_suspect_and_only_losses_alone_count() -> None:
    line = Line()
    submit(line, "poison")
    task = kill(line, "a", 1)
    assert (of_stage(line, task).suspicions, of_stage(line, task).lost_alone) == (1, 0)
    kill(line, "a", 3)
    assert (of_stage(line, task).suspicions, of_stage(line, task).lost_alone) == (2, 1)


def test_a_suspect_waits_for_a_node_that_holds_nothing() -> None:
    line = Line()
    submit(line, "neighbour")
    line.beat("b", node="shared")
    [neighbour] = placed(line)
    submit(line, "suspect")
    suspect = kill(line, "victim", 1)
    line.beat("c", node="shared")
    assert placed(line) == []
    line.report(done(neighbour))
    again = next(task for task in placed(line) if task.job == suspect.job)
    lease = line.ledger.jobs[suspect.job].lease
    assert lease is not None
    assert (lease.number, lease.alone) == (again.lease, True)


def test_nothing_is_put_on_the_node_on_which_a_suspect_runs() -> None:
    line = Line()
    submit(line, "suspect")
    suspect = kill(line, "victim", 1)
    line.beat("a", node="shared")
    line.beat("b", node="shared")
    submit(line, "other")
    assert [task.job for task in placed(line)] == [suspect.job]
    line.beat("c", node="another")
    assert [task.incarnation for task in placed(line)] == ["c-1"]


def test_a_node_is_emptied_for_a_suspect() -> None:
    line = Line()
    submit(line, "one")
    line.beat("a", node="shared")
    [neighbour] = placed(line)
    submit(line, "suspect")
    suspect = kill(line, "victim", 1)
    line.beat("b", node="shared")
    assert placed(line) == []
    submit(line, *map(str, range(5)))
    assert placed(line) == []
    line.report(done(neighbour))
    assert suspect.job in {task.job for task in placed(line)}


def test_it_is_the_node_that_is_nearest_to_empty() -> None:
    line = Line()
    submit(line, "one", "two", "three")
    for name, node in (("a", "full"), ("b", "full"), ("c", "nearly")):
        line.beat(name, node=node)
    assert len(placed(line)) == 3
    submit(line, "suspect")
    kill(line, "victim", 1)
    line.beat("d", node="full")
    line.beat("e", node="nearly")
    submit(line, "four", "five")
    assert [task.incarnation for task in placed(line)] == ["d-1"]


def test_a_whole_node_that_is_lost_makes_suspects_and_counts_against_none() -> None:
    line = Line()
    submit(line, *map(str, range(4)))
    for name in "wxyz":
        line.beat(name, node="n")
    tasks = placed(line)
    for task in tasks:
        start(line, task)
    silence(line)
    assert [of_stage(line, task).suspicions for task in tasks] == [1] * 4
    assert [of_stage(line, task).lost_alone for task in tasks] == [0] * 4


def test_at_the_limit_the_job_ends_with_the_history_of_its_losses() -> None:
    line = Line()
    submit(line, "poison")
    for life in range(1, 2 * LIMIT + 1, 2):
        kill(line, "a", life)
    line.beat("a", life=99)
    [task] = placed(line)
    start(line, task)
    line.beat("a", held(task, step=6), life=99, echo=task.lease)
    effects = line.beat("a", life=100, last_end="ended by SIGKILL; its log ends with:\nstep 6")
    [event] = ends(effects)
    assert isinstance(event, JobFailed)
    [letter] = [effect for effect in effects if isinstance(effect, DeadLetter)]
    assert letter.reason == "poison_job"
    assert letter.message.count("vanished with lease") == LIMIT + 1
    assert f"a-99 on node a vanished with lease {task.lease}, alone, after step 6: ended by SIGKILL" in letter.message
    assert letter.message.endswith("its log ends with:\nstep 6")


def test_a_job_that_kills_its_compute_child_each_time_leaves_a_letter_with_signal_and_log() -> None:
    line = Line()
    submit(line, "poison")
    effects: list[Effect] = []
    for _ in range(line.policy.max_attempts):
        line.now += 1000
        line.beat("a")
        died = ChildDied("the compute child was ended by SIGSEGV").report()
        effects = line.report(Failed(**names(line.task()), error=died, log_tail=("loading weights",)))
    assert [type(event) for event in ends(effects)] == [JobFailed]
    [letter] = [effect for effect in effects if isinstance(effect, DeadLetter)]
    assert letter.reason == "compute_child_died"
    assert letter.message.splitlines() == ["the compute child was ended by SIGSEGV", "loading weights"]


# -- what is no suspicion ------------------------------------------------------------------------------------------


def test_a_worker_that_was_leaving_took_its_end_with_it() -> None:
    line = Line()
    submit(line, "innocent")
    line.beat("a")
    [task] = placed(line)
    start(line, task)
    line.beat("a", held(task), echo=task.lease, draining=True)
    silence(line)
    assert of_stage(line, task).suspicions == 0


def test_a_late_word_of_a_lost_lease_withdraws_the_suspicion_that_it_made_and_no_other() -> None:
    line = Line()
    submit(line, "job")
    task = kill(line, "a", 1)
    line.beat("b")
    [second] = placed(line)
    start(line, second)
    silence(line)
    assert (of_stage(line, task).suspicions, of_stage(line, task).lost_alone) == (2, 1)
    line.beat("b", held(second), echo=second.lease)
    assert (of_stage(line, task).suspicions, of_stage(line, task).lost_alone) == (1, 0)
    line.beat("b", held(second), echo=second.lease)
    assert of_stage(line, task).suspicions == 1


def test_an_outcome_under_a_void_lease_shows_that_its_worker_lived() -> None:
    line = Line()
    submit(line, "job")
    line.beat("a")
    [task] = placed(line)
    start(line, task)
    silence(line)
    assert of_stage(line, task).suspicions == 1
    line.report(Preempted(**names(task), step=None))  # type: ignore[arg-type]
    assert of_stage(line, task).suspicions == 0


# -- progress ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_beyond_every_earlier_one_clears_and_the_same_one_does_not() -> None:
    line = Line()
    in_denoise(line)
    line.beat("a")
    [task] = placed(line)
    start(line, task)
    line.beat("a", at(task, 8), echo=task.lease)
    line.beat("a", life=2)
    [again] = placed(line)
    start(line, again)
    line.beat("a", at(again, 8), life=2, echo=again.lease)
    assert of_stage(line, again).suspicions == 1
    line.beat("a", at(again, 9), life=2, echo=again.lease)
    assert of_stage(line, again).suspicions == 0
    assert of_stage(line, again).checkpoints == {"": 9}


def test_steps_of_another_bit_class_are_counted_apart() -> None:
    line = Line()
    in_denoise(line)
    line.beat("a", bit_class="cpu")
    [task] = placed(line)
    start(line, task)
    line.beat("a", at(task, 8), echo=task.lease, bit_class="cpu")
    silence(line)
    line.beat("b", bit_class="cuda")
    [again] = placed(line)
    start(line, again)
    line.beat("b", at(again, 4), echo=again.lease, bit_class="cuda")
    assert of_stage(line, again).checkpoints == {"cpu": 8, "cuda": 4}
    assert of_stage(line, again).suspicions == 0
    line.report(done(again))
    assert of_stage(line, again).unusable_checkpoint_step == 8, "the completion says that the stage started over"


def test_who_goes_on_from_its_own_bit_class_has_not_started_over() -> None:
    line = Line()
    in_denoise(line)
    for life in (1, 2):
        line.beat("a", life=life, bit_class="cpu")
        [task] = placed(line)
        start(line, task)
        line.beat("a", at(task, 8 * life), life=life, echo=task.lease, bit_class="cpu")
    line.report(done(task).model_copy(update={"resumed_from_step": 8}))
    assert of_stage(line, task).unusable_checkpoint_step is None


def test_a_job_that_dies_at_the_same_step_each_time_is_stopped() -> None:
    line = Line()
    in_denoise(line)
    effects = []
    for life in range(1, LIMIT + 2):
        effects = line.beat("a", life=life)
        [task] = placed(line)
        start(line, task)
        line.beat("a", at(task, 4), life=life, echo=task.lease)
    effects = line.beat("a", life=99)
    assert [type(event) for event in ends(effects)] == [JobFailed]


def test_what_was_counted_survives_a_takeover() -> None:
    before = Line()
    submit(before, "poison")
    kill(before, "a", 1)
    task = kill(before, "a", 3)
    before.beat("a", life=5)
    [last] = placed(before)
    start(before, last)
    line = next_life(before)
    state = JobState.read(line.ledger.jobs[task.job].to_bytes())
    assert state.stages[task.stage].lost_alone == 1
    assert state.lease is not None
    assert state.lease.alone
    line.beat("b", node="elsewhere")
    submit(line, "other")
    line.beat("a", HeldLease(lease=last.lease, job=last.job, stage=last.stage, state=HeldState.RUNNING), life=5,
              echo=last.lease)  # fmt: skip
    line.beat("c", node="a")
    assert {task.incarnation for task in placed(line)} == {"b-1"}


def test_every_stage_is_suspected_apart() -> None:
    line = Line()
    submit(line, "job")
    task = kill(line, "a", 1)
    line.beat("b")
    line.report(done(line.task()))
    state = line.ledger.jobs[task.job]
    assert [state.stages[stage].suspicions for stage in STAGES] == [0] * 4
