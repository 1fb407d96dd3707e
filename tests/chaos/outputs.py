"""Outputs that jobs under way still have to read, harmed behind the line's back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from operations.audit.report import Report
from schemas.errors import InputLost, StoreUnavailable
from schemas.events.artifacts import ArtifactRef
from schemas.job import JobState, JobStatus
from stages.storage.artifacts import ArtifactStore
from tests.chaos.schedule import OUTPUT_KINDS, Fault
from tests.chaos.victims import Hit
from tests.harm import HARMS


@dataclass(frozen=True)
class Spoilt:
    """`harmed` outputs; `found`: how often a stage told that its input was lost; `left`: those nobody read again."""

    harmed: int = 0
    found: int = 0
    left: int = 0


def spoil(store: ArtifactStore, fault: Fault, now: float, histories: Mapping[str, Sequence[JobState]]) -> Hit | None:
    """Harm the input of whoever came last of those who wait, else of those at work. None where there is nothing."""
    for ref in inputs(history[-1] for history in histories.values()):
        # What was harmed before, or a store that is away itself: somebody else's turn.
        with suppress(InputLost, StoreUnavailable):
            target = store.read_manifest(ref).objects[0]
            return Hit(fault, now, (HARMS[fault.kind.name](store, ref, target),), ())
    return None


def inputs(states: Iterable[JobState]) -> list[ArtifactRef]:
    """What the current stages of these jobs read: of those who wait first, the latest first."""
    open_jobs = sorted(
        (state for state in states if not state.status.ended and state.stage is not None and state.stage.upstream),
        key=lambda state: (state.status is JobStatus.WAITING, state.updated_at), reverse=True,
    )  # fmt: skip
    found = (state.stages[state.stage.upstream].artifact for state in open_jobs if state.stage and state.stage.upstream)
    return [ref for ref in found if ref is not None]


def spoilt_of(report: Report, hits: Iterable[Hit], states: Iterable[JobState]) -> tuple[Report, Spoilt]:
    """What became of them, and the audit's report without them: what nobody had to read again stays as we left it."""
    harmed = {hit.victims[0] for hit in hits if hit.fault.kind in OUTPUT_KINDS}
    others = tuple(violation for violation in report.violations if violation.subject not in harmed)
    found = sum(attempt.outcome == "input_lost" for state in states for attempt in state.attempts)
    return replace(report, violations=others), Spoilt(len(harmed), found, len(report.violations) - len(others))
