"""The drawn parts are the same for the same seed, and the figures are what the definitions say."""

from __future__ import annotations

import time

from pydantic import SecretStr

from operations.audit.report import Compute, Report, Violation
from schemas import envelope
from schemas.envelope import UnreadableEvent
from schemas.events.artifacts import ArtifactRef
from schemas.events.progress import StepProgress
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.job import Attempt, JobState, JobStatus, StageState
from schemas.stage import Stage
from stages.storage.artifacts import ArtifactStore
from tests.chaos.deletes import AGAIN_S, GONE_BOUND_S, Deleted, Deletes, before_delete, drawn
from tests.chaos.hostile import ATTACKS, Harm, attacks
from tests.chaos.measure import ends_of, recoveries, standstill, work
from tests.chaos.outputs import Spoilt, inputs, spoilt_of
from tests.chaos.result import Result
from tests.chaos.schedule import ALL_KINDS, LASTING, Fault, Kind, schedule
from tests.chaos.told import TOLD, Ears, News, Told, told_of
from tests.chaos.victims import Hit
from tests.chaos.workload import EVERY_LONG, LONG_STEPS, workload
from tests.contract.examples import RECIPE
from tests.support import eventually
from tests.unit.streams.usage.test_reducers import completion_of, ended_state

JOB = "video_" + "a" * 32


def test_a_seed_says_what_is_sent_and_what_hits() -> None:
    assert workload(1, 100, 60) == workload(1, 100, 60)
    assert [order.value for order in workload(1, 9, 60)] == [order.value for order in workload(1, 9, 60)]
    assert workload(1, 100, 60) != workload(2, 100, 60)
    assert schedule(1, 300) == schedule(1, 300)
    assert schedule(1, 300) != schedule(2, 300)


def test_a_receiver_refuses_what_the_line_has_not_signed_and_takes_it_for_no_news() -> None:
    ears = Ears(1)
    ears.root = SecretStr("of this test alone")
    forged = {"webhook-id": "evt_1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,Zm9yZ2Vk"}
    assert {ears.answer("/acme", headers, b"{}") for _ in range(20) for headers in (forged, {})} == {500}
    assert ears.news == []


def test_every_kind_of_fault_comes_up_and_none_after_its_time() -> None:
    faults = schedule(3, 900)
    assert {fault.kind for fault in faults} == set(ALL_KINDS)
    assert faults == sorted(faults, key=lambda fault: fault.at)
    assert faults[-1].at < 900
    assert all(bool(fault.seconds) is (fault.kind.how in LASTING) for fault in faults)


def test_a_workload_has_long_jobs_repeats_cancels_and_mistakes() -> None:
    orders = workload(1, 200, 60)
    events = []
    for order in orders:
        try:
            events.append(envelope.read(order.value, order.headers)[0])
        except UnreadableEvent:
            assert order.job is None
    prompts = [event for event in events if isinstance(event, PromptSubmitted)]
    long = {p.idempotency_key for p in prompts if (p.num_inference_steps or 0) >= LONG_STEPS[0] and p.fps is None}
    assert len(long) == 200 / EVERY_LONG
    assert len(prompts) > len({prompt.idempotency_key for prompt in prompts})
    assert any(isinstance(event, CancelRequested) for event in events)
    assert len(events) < len(orders)
    assert len({order.job for order in orders if order.job}) >= 200


def test_every_attack_comes_up_and_a_seed_says_when() -> None:
    assert attacks(1, 900) == attacks(1, 900)
    assert attacks(1, 900) != attacks(2, 900)
    assert {attack.name for attack in attacks(1, 900)} == set(ATTACKS)
    assert attacks(1, 900)[-1].at < 900


def test_a_standstill_is_the_time_in_which_somebody_waits_and_nobody_gets_a_task() -> None:
    first = state(9.0, attempt(1, "w", 5.0, 9.0, "done"), status=JobStatus.COMPLETED)
    second = state(60.0, attempt(2, "w", 50.0, 60.0, "done"), status=JobStatus.COMPLETED)
    sent = {"video_a": 4.0, "video_b": 8.0}
    assert standstill(sent, {"video_a": [first], "video_b": [second]}, 100.0) == 42.0
    assert standstill({"video_a": 4.0}, {"video_a": [first]}, 100.0) == 1.0
    assert standstill(sent, {"video_a": [first]}, 100.0) == 92.0, "a prompt that nobody has read waits as well"
    assert standstill({}, {}, 100.0) == 0.0


def attempt(lease: int, worker: str, at: float, end: float, outcome: str = "lost") -> Attempt:
    return Attempt(
        stage=Stage.DENOISE, lease=lease, worker=worker, outcome=outcome, dispatched_at=at, ended_at=end, seconds=1.0
    )


def state(at: float, *attempts: Attempt, status: JobStatus = JobStatus.WAITING) -> JobState:
    return JobState(
        job=JOB, tenant="acme", version=1, status=status, body_digest="", accepted_at=0.0, updated_at=at,
        attempts=attempts, recipe=RECIPE,
        stages={Stage.ENCODE: StageState(key="e", seconds=2.0, wasted_seconds=0.5), Stage.DENOISE: StageState(key="d")},
    )  # fmt: skip


def hit(how: str, what: str, *victims: str) -> Hit:
    return Hit(Fault(0.0, Kind(how, what), victims), 10.0, victims, (1,))


def test_recovery_is_from_the_fault_to_the_next_dispatch_of_what_it_hit() -> None:
    history = [state(30.0, attempt(1, "w", 5, 18), attempt(2, "x", 19, 30, "done"), status=JobStatus.COMPLETED)]
    assert recoveries([hit("kill", "worker", "w")], {JOB: history}) == {"kill worker": [9.0]}
    assert recoveries([hit("kill", "worker", "x")], {JOB: history}) == {}
    assert recoveries([hit("kill", "kafka", "kafka")], {JOB: history}) == {}
    assert recoveries([hit("kill", "kafka", "kafka")], {JOB: [state(9.0), *history]}) == {"kill kafka": [9.0]}


def test_a_step_that_is_computed_twice_is_redone_compute() -> None:
    steps = [
        StepProgress(job=JOB, tenant="acme", stage=Stage.DENOISE, lease=lease, step=step, steps=4, step_seconds=0.5)
        for lease, step in ((1, 1), (1, 2), (2, 2), (2, 3), (2, 4))
    ]
    done = work([state(1.0)], steps)
    assert (done.useful, done.redone) == (2.0 + 2.0, 0.5 + 0.5)
    assert done.redone_of_total == 0.2


def test_who_is_lost_and_who_is_doubled() -> None:
    other = completion_of(ended_state("video_b", JobStatus.COMPLETED, 5.0))
    ends = ends_of({JOB, "video_b"}, [other, other])
    assert (ends.lost, ends.doubled, ends.asked, ends.completions) == ((JOB,), ("video_b",), 2, 2)
    assert ends.by_type == {"JobCompleted": 2}


def test_an_end_is_told_once_it_was_taken_and_its_repeats_carry_one_id() -> None:
    done, failed, foreign = (
        completion_of(ended_state(job, status, 5.0)).model_copy(update={"tenant": tenant})
        for job, status, tenant in (
            ("video_a", JobStatus.COMPLETED, TOLD[0]), ("video_b", JobStatus.FAILED, TOLD[1]),
            ("video_c", JobStatus.COMPLETED, "initech"),
        )
    )  # fmt: skip
    ends = [done, failed, foreign]
    assert told_of([], ends) == Told(owed=2, untold=("video_a", "video_b"))
    first, other = News("msg_1", "video.completed", "video_a"), News("msg_2", "video.failed", "video_b")
    assert told_of([first, other, first], ends) == Told(owed=2, repeated=1)
    assert told_of([first, News("msg_3", "video.completed", "video_a"), other], ends).split == ("video_a",)
    assert told_of([first, News("msg_2", "video.completed", "video_b")], ends).untold == ("video_b",)


def test_a_run_ends_in_these_figures_and_says_which_promise_broke() -> None:
    ends = ends_of({JOB, "video_b"}, [completion_of(ended_state("video_b", JobStatus.COMPLETED, 5.0))] * 2)
    violation = Violation("no prompt is lost", "prompts/0/7", "it is no job and no dead letter")
    report = Report(checked={}, open_jobs=0, compute=Compute(), violations=(violation,))
    told = Told(owed=3, untold=(JOB,), split=("video_b",))
    harm = Harm(("open transaction",), faults=("/videos answered 500: oops",), standstill=131.0)
    result = Result(
        1, ends, work([], []), {"kill worker": [9.0, 3.0]}, [], [], report, ["logs/denoise.log"], told, harm=harm,
        deleted=Deleted(3, (JOB,), GONE_BOUND_S + 1),
    )  # fmt: skip
    assert result.figures() == {
        "jobs": 2, "completions": 2, "lost": 1, "doubled": 1, "redone_of_total": 0.0, "recovery_p50_s": 6.0,
        "recovery_max_s": 9.0, "audit_ok": False, "untold": 1, "standstill_max_s": 131.0,
        "deleted": 3, "gone_max_s": GONE_BOUND_S + 1,
    }  # fmt: skip
    assert [line.partition(":")[0] for line in result.broken()] == [
        "an accepted job is never lost", "one completion a job", "the audit", "who asked for it hears of each end",
        "one webhook-id an end", "no tenant stops the others", "what is deleted is gone",
        "what is deleted is soon gone", "a bad request is answered in words", "nothing secret is logged",
    ]  # fmt: skip
    assert not result.is_ok


def test_an_output_is_harmed_while_somebody_still_has_to_read_it() -> None:
    def job(status: JobStatus, at: float, made: Stage, stage: Stage | None) -> JobState:
        ref = ArtifactRef(stage=made, key=f"{status}-{at:g}", manifest_key=f"artifacts/{at:g}/manifest.json", etag="e")
        return ended_state(JOB, status, at).model_copy(update={
            "stage": stage, "stages": {made: StageState(key=ref.key, artifact=ref)},
        })  # fmt: skip

    ended = job(JobStatus.COMPLETED, 9.0, Stage.DECODE, None)
    running = job(JobStatus.RUNNING, 5.0, Stage.ENCODE, Stage.DENOISE)
    waiting = [job(JobStatus.WAITING, at, Stage.ENCODE, Stage.DENOISE) for at in (1.0, 2.0)]
    nothing_read = job(JobStatus.WAITING, 3.0, Stage.DENOISE, Stage.ENCODE)
    found = inputs([ended, running, *waiting, nothing_read])
    assert [ref.key for ref in found] == ["waiting-2", "waiting-1", "running-5"]


def test_what_was_harmed_and_never_read_again_is_no_breach_and_all_else_is() -> None:
    hit = Hit(Fault(1.0, Kind("corrupt", "object")), 1.0, ("artifacts/a/latents",), ())
    ours, theirs = (Violation("a manifest is whole", f"artifacts/{key}/latents", "it is missing") for key in "ab")
    state = ended_state(JOB, JobStatus.COMPLETED, 9.0).model_copy(
        update={"attempts": (attempt(1, "decode", 2.0, 3.0, "input_lost"),)}
    )
    report, spoilt = spoilt_of(Report({}, 0, Compute(), (ours, theirs)), [hit], [state])
    assert report.violations == (theirs,)
    assert spoilt == Spoilt(harmed=1, found=1, left=1)


class Listed(ArtifactStore):
    """A store that only lists what `keys` says."""

    keys: frozenset[str] = frozenset()

    def list(self, prefix: str) -> list[str]:
        return [key for key in self.keys if key.startswith(prefix)]


def test_what_a_tenant_deletes_is_searched_for_until_it_stays_away_but_not_what_another_job_needs() -> None:
    orders = workload(1, 100, 60)
    assert drawn(1, orders) == drawn(1, orders) != drawn(2, orders)
    assert 10 < len(drawn(1, orders)) < 30
    store = Listed.connect("127.0.0.1:1", "key", "secret", "bucket")
    deletes, now = Deletes({JOB: 5.0, "video_b": 5.0}, store), time.time()
    done = completion_of(ended_state(JOB, JobStatus.COMPLETED, now - AGAIN_S - 9))
    failed = completion_of(ended_state("video_b", JobStatus.FAILED, now - 50))
    sent = now - AGAIN_S - 4
    assert [*deletes.due([done, failed], sent - 1)] == []
    assert not deletes.are_over([done, failed]), "it is still to be deleted"
    assert [event.job for event in deletes.due([done, failed], sent)] == [JOB]
    assert [*deletes.due([done, failed], now)] == []
    deleted = state(1.0, status=JobStatus.DELETED)
    other = deleted.model_copy(update={
        "job": "video_c", "status": JobStatus.WAITING, "stages": {Stage.ENCODE: StageState(key="e")}
    })  # fmt: skip
    store.keys = frozenset({"artifacts/acme/encode/e/1", "artifacts/acme/denoise/d/1"})
    histories = {JOB: [deleted], "video_c": [other]}
    deletes.search(histories)
    eventually(lambda: JOB in deletes.found)
    assert not deletes.are_over([done, failed])
    assert deletes.close(histories).left == (JOB,)
    store.keys = frozenset({"artifacts/acme/encode/e/1", "videos/globex/a", f"preview/acme/{JOB}0.webp"})
    assert deletes.close(histories) == Deleted(1, (), deletes.found[JOB] - sent)
    assert deletes.are_over([done, failed])
    assert before_delete([other, deleted]) is other
