"""Jobs, and ways to ask a gateway that is no process: what the tests of it share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from gateway.api.create import expected_state
from gateway.dependencies import Gateway
from gateway.read_model.batch import Batch
from gateway.read_model.read_model import ReadModel
from gateway.server.app import make_app
from gateway.server.middleware import Outer
from runtime.settings import DEFAULT_KEY, Settings
from schemas.bundle import read_bundles
from schemas.events.artifacts import ArtifactRef
from schemas.events.progress import StepProgress
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import STAGES, Stage
from schemas.stage_keys import job_id

BUNDLES = read_bundles([Path("bundles/tiny")])
NOW = 1.8e9
APP = make_app()
"""Made once: it takes longer than a request."""


def job(number: int = 0, tenant: str = "default", **changes: Any) -> JobState:
    """A job that has just been accepted."""
    prompt = PromptSubmitted(prompt="a red circle", tenant=tenant, idempotency_key=str(number), seed=1)
    gateway = cast(Gateway, SimpleNamespace(bundles=BUNDLES, settings=Settings()))
    state = expected_state(gateway, prompt, job_id(tenant, str(number)))
    return state.model_copy(update={"accepted_at": NOW + number, **changes})


def with_done(state: JobState, *stages: Stage) -> JobState:
    ref = ArtifactRef(stage=Stage.ENCODE, key="k", manifest_key="m", etag="e")
    done = {stage: state.stages[stage].model_copy(update={"artifact": ref, "dispatches": 1}) for stage in stages}
    following = STAGES[len(stages)] if len(stages) < len(STAGES) else state.stage
    return state.model_copy(update={"stages": state.stages | done, "stage": following})


def running(state: JobState, lease: int = 1, version: int = 2) -> JobState:
    held = Lease(number=lease, incarnation="i", worker="w", stage=Stage.DENOISE, partition=0, dispatched_at=NOW)
    return state.model_copy(update={"status": JobStatus.RUNNING, "lease": held, "version": version})


def step_of(state: JobState, step: int, lease: int = 1) -> StepProgress:
    return StepProgress(job=state.job, tenant=state.tenant, stage=Stage.DENOISE, lease=lease, step=step, steps=10)


def taken(model: ReadModel, *states: JobState, steps: Iterable[StepProgress] = ()) -> None:
    batch = Batch()
    for step in steps:
        batch.step(step)
    for state in states:
        batch.state(state.job, state, state.to_bytes())
    model.take(batch, NOW)


def asked(gateway: Gateway, method: str, path: str, key: str | None = DEFAULT_KEY, **more: Any) -> httpx.Response:
    APP.state.gateway = gateway

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Outer(APP), raise_app_exceptions=False)
        headers = more.pop("headers", {}) | ({"authorization": f"Bearer {key}"} if key else {})
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers, **more)

    return asyncio.run(ask())


SOME = f"/v1/videos/{job().job}"
