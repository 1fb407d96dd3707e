"""What the views answer over HTTP, as plain JSON values."""

from __future__ import annotations

from collections import Counter
from typing import Any

from schemas.events.usage import UsageWindow
from schemas.job import JobStatus
from schemas.stage import STAGES, Stage
from streams.usage.reducers import WINDOW_SECONDS, StageWindow, Usage


def usage(view: Usage) -> dict[str, Any]:
    """Every tenant."""
    windows: dict[str, list[UsageWindow]] = {}
    for (name, start), window in view.tenants.items():
        windows.setdefault(name, []).append(window.event(name, start))
    now: dict[str, Counter[str]] = {}
    for job in view.active.values():
        now.setdefault(job.tenant, Counter())[job.status.value] += 1
    names = sorted(windows.keys() | now.keys())
    tenants = [_tenant(name, now.get(name, Counter()), windows.get(name, [])) for name in names]
    return {"window_seconds": WINDOW_SECONDS, "tenants": tenants}


def tenant(view: Usage, name: str) -> dict[str, Any]:
    """One tenant; empty for one that has never had a job."""
    windows = [window.event(name, start) for (owner, start), window in view.tenants.items() if owner == name]
    return _tenant(name, Counter(job.status.value for job in view.active.values() if job.tenant == name), windows)


def _tenant(name: str, now: Counter[str], windows: list[UsageWindow]) -> dict[str, Any]:
    newest_first = sorted(windows, key=lambda window: -window.window_start)
    return {
        "tenant": name,
        "now": _now(now),
        "windows": [window.model_dump(mode="json", exclude={"tenant", "window_seconds"}) for window in newest_first],
    }


def _now(jobs: Counter[str]) -> dict[str, int]:
    return {status.value: jobs[status.value] for status in (JobStatus.WAITING, JobStatus.RUNNING)}


def stages(view: Usage) -> dict[str, Any]:
    """The stages in order, each with what it runs now and its windows, newest first."""
    return {"window_seconds": WINDOW_SECONDS, "stages": [_stage(view, stage) for stage in STAGES]}


def _stage(view: Usage, stage: Stage) -> dict[str, Any]:
    starts = sorted((start for of, start in view.stages if of == stage), reverse=True)
    return {
        "stage": stage.value,
        "now": _now(Counter(job.status.value for job in view.active.values() if job.stage == stage)),
        "windows": [_stage_window(start, view.stages[stage, start]) for start in starts],
    }


def _stage_window(start: float, window: StageWindow) -> dict[str, Any]:
    return {
        "window_start": start,
        "jobs": dict(sorted(window.jobs.items())),
        "attempts": window.attempts,
        "reused": window.reused,
        "compute_seconds": window.compute_ms / 1000,
        "wasted_seconds": window.wasted_ms / 1000,
        "wait_seconds": window.wait_ms / 1000,
    }
