"""The circuit breaker of a stage: when most of its tasks fail, and not by the jobs' fault, dispatch to it stops.

While it is open one task at a time is dispatched, as a probe, and a failure costs its job no attempt: the backlog
waits instead of ending in `dlq`. A probe that succeeds closes it, and so does what was dispatched before, once most of
it succeeds: in a wide cell a few jobs that fail soon would else stop what works for thousands. Ages count in the
coordinator's ticks, one a second: a clock that is set opens and closes nothing. After a takeover it is rebuilt from the
ended leases that `jobs` holds.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from typing import TYPE_CHECKING, NamedTuple

from schemas.errors import ErrorKind, ErrorReport, Retry
from schemas.job import JobState
from schemas.stage import Stage
from streams.coordinator.effects import Count, Effect
from streams.coordinator.ended import JobRecord

if TYPE_CHECKING:
    from streams.coordinator.ledger import Ledger

KEPT, KEPT_TICKS = 20, 60
"""The latest ended leases that are looked at, and for how long."""
LEAST_FAILURES, LEAST_JOBS = 5, 3
"""Fewer say more about a job than about the stage."""
PROBING = Retry(attempts=1, first_delay=1.0, longest_delay=10.0)

BLAMELESS = (ErrorKind.TRANSIENT, ErrorKind.INFRASTRUCTURE, ErrorKind.RESOURCE, ErrorKind.BUG, ErrorKind.UNKNOWN)
"""Kinds of error for which the job need not be at fault."""


class Ended(NamedTuple):
    job: str
    failed: bool
    tick: int


class Breaker(NamedTuple):
    """`probe`: the lease that decides, if one is under way; the next one not before `probe_tick`."""

    recent: tuple[Ended, ...] = ()
    is_open: bool = False
    probe: int | None = None
    probe_tick: int = 0
    failed_probes: int = 0
    failures: int = 0
    """Of the recent leases."""

    def is_sound(self, tick: int) -> bool:
        """Whether all that is kept went well, in this very tick: one more success would tell nothing new."""
        return not self.failures and len(self.recent) == KEPT and self.recent[0].tick == tick

    def after(self, ended: Ended) -> Breaker:
        """The breaker after one more lease has ended. Only a failure opens it, only a success closes it."""
        oldest = ended.tick - KEPT_TICKS
        recent = self.recent
        if recent and recent[0].tick < oldest:
            recent = tuple(dropwhile(lambda past: past.tick < oldest, recent))
        recent = (*recent[1 - KEPT :], ended)
        failures = sum([past.failed for past in recent]) if self.failures or ended.failed else 0
        if self.is_open and (ended.failed or is_failing(recent)):
            return self._replace(recent=recent, failures=failures)
        is_open = ended.failed and is_failing(recent)
        return Breaker(recent, is_open, probe_tick=ended.tick + 1, failures=failures)

    def after_failed_probe(self, tick: int) -> Breaker:
        failures = self.failed_probes + 1
        wait = round(PROBING.delay(failures))
        return self._replace(probe=None, probe_tick=tick + wait, failed_probes=failures)


def is_failing(recent: tuple[Ended, ...]) -> bool:
    """Whether most have failed, and enough of them, of enough jobs."""
    jobs = [past.job for past in recent if past.failed]
    return 2 * len(jobs) > len(recent) and len(jobs) >= LEAST_FAILURES and len({*jobs}) >= LEAST_JOBS


def lets_pass(ledger: Ledger, stage: Stage) -> bool:
    """Whether one more task of the stage may be dispatched now."""
    breaker = ledger.breakers.get(stage)
    if breaker is None or not breaker.is_open:
        return True
    return ledger.tick >= breaker.probe_tick and (breaker.probe is None or breaker.probe not in ledger.leases)


def note_dispatch(ledger: Ledger, stage: Stage, lease: int) -> None:
    breaker = ledger.breakers.get(stage)
    if breaker is not None and breaker.is_open:
        ledger.breakers[stage] = breaker._replace(probe=lease)


def succeeded(ledger: Ledger, stage: Stage, job: str, lease: int) -> list[Effect]:
    """Something was computed in this stage."""
    breaker, tick = ledger.breakers.get(stage) or Breaker(), ledger.tick
    if breaker.is_sound(tick):
        return []
    is_proof = breaker.is_open and breaker.probe == lease
    after = ledger.breakers[stage] = Breaker() if is_proof else breaker.after(Ended(job, False, tick))
    return [Count("breaker", (stage, "closed"))] if breaker.is_open and not after.is_open else []


def failed(ledger: Ledger, stage: Stage, job: str, lease: int, error: ErrorReport) -> tuple[bool, list[Effect]]:
    """Whether the failure is the job's to answer for, and what follows for the breaker."""
    breaker = ledger.breakers.get(stage) or Breaker()
    if error.kind not in BLAMELESS:
        return True, []
    after = breaker.after(Ended(job, True, ledger.tick))
    ledger.breakers[stage] = after.after_failed_probe(ledger.tick) if after.probe == lease else after
    return not after.is_open, [Count("breaker", (stage, "opened"))] if after.is_open and not breaker.is_open else []


class RecentlyEnded:
    """Ended jobs with the leases that `rebuilt` looks at, as replay comes across them: those of `KEPT_TICKS`.

    Nothing older is kept: a standby follows the changelog for weeks.
    """

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, JobState | JobRecord] = OrderedDict()
        self._newest = 0.0

    def __iter__(self) -> Iterator[JobState | JobRecord]:
        return iter(self._jobs.values())

    def record(self, job: JobState | JobRecord) -> None:
        self._jobs[job.job] = job
        self._newest = max(self._newest, job.updated_at)
        while self._jobs and next(iter(self._jobs.values())).updated_at < self._newest - KEPT_TICKS:
            self._jobs.popitem(last=False)

    def discard(self, job: str) -> None:
        self._jobs.pop(job, None)


def rebuilt(states: Iterable[JobState | JobRecord]) -> dict[Stage, Breaker]:
    """What the latest ended leases of all jobs say. `KEPT_TICKS` before the newest change of any job is long ago."""
    states = list(states)
    newest = max((state.updated_at for state in states), default=0.0)
    ended: defaultdict[Stage, list[tuple[float, Ended]]] = defaultdict(list)
    for state in states:
        if state.updated_at < newest - KEPT_TICKS:
            continue
        for past in state.attempts:
            blameless = past.outcome == "failed" and past.error is not None and past.error.kind in BLAMELESS
            if past.ended_at >= newest - KEPT_TICKS and (past.outcome == "done" or blameless):
                ended[past.stage].append((past.ended_at, Ended(state.job, blameless, 0)))
    return {stage: of_history(found) for stage, found in ended.items()}


def of_history(dated: list[tuple[float, Ended]]) -> Breaker:
    breaker = Breaker()
    for _, ended in sorted(dated, key=lambda one: one[0]):
        breaker = breaker.after(ended)
    return breaker
