"""The circuit breaker of a stage: it opens for the stage's faults and not for a job's, and costs no job an attempt."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.metrics import registry_of
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.tasks import Task
from schemas.job import JobStatus
from schemas.stage import Stage
from streams.coordinator.core import stage_breaker
from streams.coordinator.core.effects import Count, Effect
from streams.coordinator.core.retry import FAILURE_COSTS_S
from streams.coordinator.core.state.breaker import KEPT, KEPT_TICKS, LEAST_FAILURES, LEAST_JOBS, Breaker, Ended
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.transitions import new_job
from streams.coordinator.service.observe import Observer
from tests.sim.played_line import PROMPT, Line, done, ends, failed
from tests.sim.test_found import next_life, placed, submit

OPENED, CLOSED = Count("breaker", (Stage.ENCODE, "opened")), Count("breaker", (Stage.ENCODE, "closed"))
LONG = 1000.0


def is_open(line: Line) -> bool:
    found = line.ledger.breakers.get(Stage.ENCODE)
    return found is not None and found.is_open


def broken(jobs: int = 20) -> Line:
    """A line whose encode fails until its breaker opens."""
    line = Line()
    submit(line, *map(str, range(jobs)))
    line.beat("a")
    while not is_open(line):
        fail(line)
    return line


def fail(line: Line, kind: ErrorKind = ErrorKind.BUG) -> list[Effect]:
    line.beat("a")
    [task] = placed(line)
    return line.report(failed(task, kind))


def next_probe(line: Line) -> Task:
    """Time passes until the breaker lets a task through."""
    for number in range(60):
        line.beat("a")
        found = placed(line)
        if found:
            return found[0]
        line.now += 1
        line.tick(number)
    raise AssertionError("no probe")


def test_it_opens_when_tasks_of_several_jobs_fail_and_lets_one_at_a_time_through() -> None:
    line = broken()
    line.beat("a", slots=8)
    assert placed(line) == []
    line.tick()
    assert len(placed(line)) == 1
    line.tick()
    assert placed(line) == []


def test_what_fails_while_it_is_open_costs_no_attempt_and_the_backlog_does_not_end() -> None:
    line = broken(jobs=LEAST_FAILURES)
    for _ in range(12):
        assert ends(line.report(failed(next_probe(line), ErrorKind.BUG))) == []
        line.now += LONG
    assert {state.status for state in line.ledger.jobs.values()} == {JobStatus.WAITING}
    assert max(state.stages[Stage.ENCODE].failures for state in line.ledger.jobs.values()) == 1


def test_a_lone_worker_tries_other_jobs_before_it_tries_one_again() -> None:
    """Its child takes longer to start than a retry has to wait: the oldest job would use up its attempts first."""
    line = Line()
    submit(line, *map(str, range(LEAST_FAILURES)))
    while not is_open(line):
        assert ends(fail(line)) == []
        line.now += 5.0
    records = [state.stages[Stage.ENCODE] for state in line.ledger.jobs.values()]
    assert [record.dispatches for record in records] == [1] * LEAST_FAILURES
    assert max(record.failures for record in records) == 1


def test_who_has_failed_is_tried_before_those_who_came_later() -> None:
    line = Line()
    submit(line, "first")
    fail(line)
    line.now += FAILURE_COSTS_S + 1
    submit(line, "second")
    line.beat("a")
    assert [task.attempt for task in placed(line)] == [2]


def test_probes_become_rarer() -> None:
    line = broken()
    ticks = []
    for _ in range(6):
        task = next_probe(line)
        ticks.append(line.ledger.tick)
        line.report(failed(task, ErrorKind.RESOURCE))
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    assert gaps == [1, 2, 4, 8, 10]


def test_a_probe_that_succeeds_closes_it() -> None:
    line = broken()
    assert CLOSED in line.report(done(next_probe(line)))
    assert not is_open(line)
    line.beat("a", slots=8)
    assert len(placed(line)) == 8


def test_what_was_dispatched_before_closes_it_once_most_of_it_succeeds() -> None:
    """A few jobs that fail at once, between the ends of thousands that take their time."""
    line = Line()
    submit(line, *map(str, range(2 * LEAST_FAILURES)))
    line.beat("a", slots=2 * LEAST_FAILURES)
    tasks = placed(line)
    bad, good = tasks[:LEAST_FAILURES], tasks[LEAST_FAILURES:]
    for task in bad:
        line.report(failed(task, ErrorKind.BUG))
    assert is_open(line)
    told = [CLOSED in line.report(done(task)) for task in good]
    assert told == [False] * (LEAST_FAILURES - 1) + [True]
    assert not is_open(line)


def test_the_metric_rises_and_falls_with_it() -> None:
    line = broken()
    Observer().gauges(line.ledger)
    assert [metric(stage) for stage in (Stage.ENCODE, Stage.DENOISE)] == [1, 0]
    line.report(done(next_probe(line)))
    Observer().gauges(line.ledger)
    assert metric(Stage.ENCODE) == 0


def metric(stage: Stage) -> float | None:
    return registry_of("coordinator").get_sample_value("latentline_stage_breaker_open", {"stage": stage.value})


def ask(line: Line, tenant: str, *names: str) -> None:
    for name in names:
        line.submit(PROMPT.model_copy(update={"tenant": tenant, "idempotency_key": name}))


def opened_by(tenant: str, jobs: int = 6) -> Line:
    """All that this tenant asks for fails, until the breaker opens."""
    line = Line()
    ask(line, tenant, *map(str, range(jobs)))
    line.beat("a")
    while not is_open(line):
        fail(line)
    return line


def closed_by_another() -> Line:
    """The breaker that one tenant's jobs have opened, closed by the first job of another."""
    line = opened_by("mallory")
    ask(line, "alice", "1")
    line.tick()
    line.beat("b")
    [task] = [task for task in placed(line) if task.tenant == "alice"]
    assert CLOSED in line.report(done(task))
    return line


def test_nobody_waits_for_what_another_tenants_jobs_do() -> None:
    """The bound: one tick until a first task is under way, whatever else is; all others once it has succeeded."""
    line = opened_by("mallory")
    line.now += LONG
    line.tick()
    line.beat("a")
    [bad] = placed(line)
    assert bad.tenant == "mallory"
    ask(line, "alice", "1", "2", "3")
    ask(line, "bob", "1")
    line.tick()
    line.beat("b", slots=8)
    first = placed(line)
    assert sorted(task.tenant for task in first) == ["alice", "bob"]
    assert CLOSED in line.report(done(first[0]))
    line.beat("c", slots=8)
    rest = [task.tenant for task in placed(line) if task.stage is Stage.ENCODE]
    assert rest.count("alice") + len([task for task in first if task.tenant == "alice"]) == 3


def test_a_tenant_whose_jobs_alone_fail_opens_it_once_and_pays_for_what_fails_after() -> None:
    line = closed_by_another()
    ask(line, "mallory", *map(str, range(6, 30)))
    for number in range(60):
        line.beat("c", life=number + 1)
        for task in placed(line):
            line.report(failed(task, ErrorKind.BUG) if task.tenant == "mallory" else done(task))
            assert not is_open(line)
        line.now += LONG
    states = [state for state in line.ledger.jobs.values() if state.tenant == "mallory"]
    assert {state.status for state in states} == {JobStatus.FAILED}


def test_a_tenant_that_was_blamed_counts_again_once_something_of_it_succeeds() -> None:
    line = closed_by_another()
    ask(line, "mallory", *map(str, range(10, 30)))
    line.beat("c", slots=40)
    fresh = [task for task in placed(line) if task.stage is Stage.ENCODE and task.attempt == 1]
    line.report(done(fresh[0]))
    for task in fresh[1 : LEAST_FAILURES + 2]:
        line.report(failed(task, ErrorKind.BUG))
    assert is_open(line)


def test_of_one_tenants_jobs_those_that_were_not_tried_go_before_those_that_failed() -> None:
    line = opened_by("default", jobs=5)
    line.now += LONG
    ask(line, "default", "later")
    [later] = [state.job for state in line.ledger.jobs.values() if not state.stages[Stage.ENCODE].dispatches]
    tried = []
    for _ in range(6):
        line.now += LONG
        probe = next_probe(line)
        tried.append(probe.job)
        line.report(failed(probe, ErrorKind.BUG))
    assert tried[0] == later
    assert len({*tried}) == len(tried)


def test_tenants_whose_jobs_have_failed_take_turns_whoever_asks_for_more() -> None:
    line = opened_by("mallory")
    ask(line, "mallory", *map(str, range(6, 30)))
    line.now += LONG
    ask(line, "alice", *map(str, range(6)))
    probes = []
    for _ in range(8):
        line.now += LONG
        probe = next_probe(line)
        probes.append(probe.tenant)
        line.report(failed(probe, ErrorKind.BUG))
    assert probes[0] == "alice", "none of hers has failed"
    assert all({*pair} == {"alice", "mallory"} for pair in zip(probes[::2], probes[1::2], strict=True))


def test_a_stage_that_is_broken_for_all_costs_nobody_an_attempt() -> None:
    line = opened_by("mallory")
    for tenant in ("alice", "bob", "carol"):
        ask(line, tenant, *map(str, range(5)))
    for number in range(80):
        line.tick(number)
        line.now += 1
        line.beat("b", life=number + 1, slots=4)
        for task in placed(line):
            assert ends(line.report(failed(task, ErrorKind.BUG))) == []
    innocent = [state for state in line.ledger.jobs.values() if state.tenant != "mallory"]
    assert {state.stages[Stage.ENCODE].failures for state in innocent} == {0}
    assert {state.tenant for state in innocent if state.stages[Stage.ENCODE].dispatches} == {"alice", "bob", "carol"}
    assert is_open(line)


def test_a_probe_that_is_lost_makes_room_for_the_next() -> None:
    line = broken()
    first = next_probe(line)
    line.beat("a", life=2)
    second = next_probe_on(line, life=2)
    assert second.lease > first.lease


def next_probe_on(line: Line, life: int) -> Task:
    line.tick()
    line.beat("a", life=life)
    [task] = placed(line)
    return task


def test_an_output_that_was_there_already_proves_nothing() -> None:
    line = broken()
    line.report(done(next_probe(line)).model_copy(update={"reused": True}))
    assert is_open(line)


def test_one_job_that_fails_again_and_again_does_not_open_it() -> None:
    line = Line()
    submit(line, "one", "two")
    line.beat("a")
    for _ in range(20):
        fail(line, ErrorKind.INFRASTRUCTURE)
        line.now += LONG
    assert not is_open(line)


def test_what_is_wrong_with_jobs_themselves_does_not_open_it() -> None:
    line = Line()
    submit(line, *map(str, range(20)))
    for _ in range(20):
        fail(line, ErrorKind.INVALID_JOB)
    assert not is_open(line)
    assert {state.status for state in line.ledger.jobs.values()} == {JobStatus.FAILED}


def test_other_stages_go_on() -> None:
    line = Line()
    submit(line, "ahead")
    line.beat("a")
    line.report(done(line.task()))
    line.beat("a", leaving=True)
    line.beat("b", slots=0)
    submit(line, *map(str, range(9)))
    line.ledger.breakers[Stage.ENCODE] = Breaker(is_open=True, probe_tick=99, tried={"default": 1})
    line.beat("b", slots=4)
    assert [task.stage for task in placed(line)] == [Stage.DENOISE]


def test_a_takeover_finds_it_as_the_ended_leases_tell() -> None:
    line = next_life(broken())
    assert is_open(line)
    closed = next_life(Line())
    assert not is_open(closed)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3)), max_size=60))
def test_what_most_of_the_kept_did_opens_and_closes_it(
    history: list[tuple[int, bool, int]],
) -> None:
    found, tick, told = Breaker(), 0, []
    for job, fails, pause in history:
        tick += 20 * pause
        told.append(Ended(str(job), fails, tick))
        was_open, found = found.is_open, found.after(told[-1])
        kept = [past for past in told if past.tick >= tick - KEPT_TICKS][-KEPT:]
        failures = [past.job for past in kept if past.failed]
        most = len(failures) > len(kept) - len(failures)
        is_failing = most and len(failures) >= LEAST_FAILURES and len(set(failures)) >= LEAST_JOBS
        assert found.is_open == ((is_failing or fails) if was_open else (is_failing and fails))


@given(st.lists(st.tuples(st.integers(1, 25), st.booleans(), st.integers(0, 3)), max_size=12))
def test_a_success_that_tells_nothing_new_may_be_left_out(runs: list[tuple[int, bool, int]]) -> None:
    """Runs of leases that end alike, with pauses before them: what is kept decides as if each had been written down."""
    ledger, whole = Ledger(), Breaker()
    error = ErrorReport(kind=ErrorKind.BUG, code="bug", message="")
    for number, (length, fails, pause) in enumerate(runs):
        ledger.numbers["tick"] = ledger.tick + 20 * pause
        for job in [f"{number}-{place}" for place in range(length)]:
            whole = whole.after(Ended(job, fails, ledger.tick, "t"))
            if fails:
                stage_breaker.failed(ledger, Stage.ENCODE, new_job(job, "t", "", 0.0), 1, error)
            else:
                stage_breaker.succeeded(ledger, Stage.ENCODE, new_job(job, "t", "", 0.0), 1)
            assert ledger.breakers[Stage.ENCODE].is_open == whole.is_open


@settings(deadline=None)
@given(st.lists(st.sampled_from(["fail", "done", "lost", "tick", "takeover"]), max_size=40), st.integers(1, 4))
def test_a_job_never_ends_by_what_failed_while_it_was_open(story: list[str], slots: int) -> None:
    line, life, running = broken(jobs=8), 1, list[Task]()
    for step, event in enumerate(story):
        was_open = is_open(line)
        effects: list[Effect] = []
        if event == "tick":
            line.now += 1
            line.tick(step)
        elif event == "takeover":
            line, running = next_life(line), []
        elif event == "lost" or not running:
            life, running = life + 1, []
        else:
            task = running.pop()
            effects = line.report(failed(task, ErrorKind.BUG) if event == "fail" else done(task))
        if was_open:
            assert not ends(effects)
        line.beat("a", life=life, slots=slots if not running else 0)
        handed = [task for task in placed(line) if task.stage is Stage.ENCODE]
        assert not is_open(line) or len(handed) <= 1
        running += handed
