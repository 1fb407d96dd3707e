"""What the routes work with, put together once for each process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated
from weakref import WeakValueDictionary

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.concurrency import run_in_threadpool

from gateway.api_keys import Caller, Keys
from gateway.content_delivery import Delivery
from gateway.development_key import foreign_because
from gateway.intake import Intake
from gateway.problems import Problem, not_found
from gateway.rate_limits import Rates
from gateway.read_model.change_notifier import ChangeNotifier
from gateway.read_model.eta import KEPT, EtaEstimator
from gateway.read_model.missing_jobs import MissingJobs
from gateway.read_model.projector import Projector
from gateway.read_model.read_model import ReadModel
from gateway.read_model.retried_calls import Retries
from gateway.read_model.rows import Row
from gateway.read_model.snapshot_cache import Snapshot, SnapshotCache
from gateway.read_model.webhook_cache import Hooks
from gateway.video import video_of
from runtime.settings import DEFAULT_KEY, Settings
from runtime.token_counter import TokenCounter
from schemas.bundle import BundleManifest, read_bundles
from schemas.job import JobStatus
from schemas.video import Video
from webhooks.address_policy import Gate


@dataclass
class Gateway:
    """One gateway. Make it with `open`, and `close` it."""

    settings: Settings
    bundles: dict[str, BundleManifest]
    model: ReadModel
    keys: Keys
    changes: ChangeNotifier
    feed: Projector
    intake: Intake
    delivery: Delivery
    missing: MissingJobs
    pace: EtaEstimator
    rates: Rates
    retries: Retries = field(default_factory=Retries)
    streams: Counter[str] = field(default_factory=Counter)
    """Open event streams by tenant."""
    hooks: Hooks = field(default_factory=Hooks)
    gate: Gate = field(default_factory=Gate)
    """Where webhooks may go."""
    tokens: TokenCounter = field(default_factory=TokenCounter)
    looks: SnapshotCache = field(init=False)
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def __post_init__(self) -> None:
        self.looks = SnapshotCache(self._look)

    @classmethod
    def open(cls, settings: Settings) -> Gateway:
        """Raises `ClientError` when the broker does not answer, `UnsafeSettings` for a setting that cannot be,
        `SQLAlchemyError` for a database that cannot be opened."""
        rates, url = Rates(settings), settings.gateway_database.get_secret_value()
        model = ReadModel(url) if url else ReadModel.in_folder(settings.data_dir / "gateway" / settings.worker_name)
        keys, changes, pace, delivery = Keys(settings), ChangeNotifier(), EtaEstimator(), Delivery.of(settings)
        hooks = Hooks()
        feed = Projector(settings, model, keys, changes.tell, pace.learn, hooks)
        for state in model.latest(JobStatus.COMPLETED, KEPT):
            pace.learn(state)
        feed.start()
        intake = Intake(settings, model.expect)
        missing = MissingJobs(settings, model, lambda: feed.read_until, changes.tell)
        bundles = read_bundles(settings.bundles)
        return cls(
            settings, bundles, model, keys, changes, feed, intake, delivery, missing, pace, rates,
            hooks=hooks, gate=Gate.of(settings.webhook_allow), tokens=TokenCounter.of(settings.bundles),
        )  # fmt: skip

    def close(self) -> None:
        self.intake.close()
        self.feed.close()
        self.missing.close()
        self.model.close()

    def reason(self) -> str | None:
        """Why it is not ready."""
        return self.feed.reason()

    def on_failed(self, tell: Callable[[], object]) -> None:
        """Hear of a fault after which only a new process can go on."""
        self.feed.on_failed = self.intake.on_failed = tell

    def lock_of(self, job: str) -> asyncio.Lock:
        """Requests about one job that may contradict each other come one after the other."""
        return self._locks.setdefault(job, asyncio.Lock())

    async def until(
        self, caller: Caller, name: str, reached: Callable[[], Awaitable[bool]], seconds: float
    ) -> bool:  # fmt: skip
        """Wait for a change of `name` as `ChangeNotifier.until` does. `Problem` 401 once the key is revoked."""

        async def reached_by_caller() -> bool:
            if not self.keys.is_valid(caller):
                raise no_valid_key("it was revoked meanwhile")
            return await reached()

        return await self.changes.until(name, reached_by_caller, seconds, caller.key)

    async def row(self, tenant: str, job: str) -> Row:
        """Raises `Problem` 404, whoever else's it may be."""
        found = await self.find(tenant, job)
        if found is None:
            raise not_found(job)
        return found

    async def find(self, tenant: str, job: str) -> Row | None:
        """None unless it is this tenant's and is not deleted."""
        return await run_in_threadpool(self.model.get, tenant, job)

    async def _look(self, tenant: str, job: str) -> Snapshot | None:
        def look() -> Snapshot | None:
            row = self.model.get(tenant, job)
            return None if row is None else Snapshot(row, video_of(row, self.model, self.pace, self.bundles))

        return await run_in_threadpool(look)

    async def seen(self, tenant: str, job: str) -> Snapshot | None:
        """What all who follow this job are told now."""
        return await self.looks.at(tenant, job, self.changes.told)

    async def video(self, row: Row) -> Video:
        if row.ahead is not None:
            # Nothing is looked up, so no thread is needed.
            return video_of(row, self.model, self.pace, self.bundles)
        return await run_in_threadpool(video_of, row, self.model, self.pace, self.bundles)

    async def videos(self, rows: list[Row]) -> list[Video]:
        return await run_in_threadpool(lambda: [video_of(row, self.model, self.pace, self.bundles) for row in rows])


async def gateway_of(request: Request) -> Gateway:
    # Not a plain function: the framework would run that in a thread, for each request.
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(gateway_of)]


def refuse_foreign(settings: Settings, request: Request) -> None:
    """Raises `Problem` for a request with the key that everybody knows that may have come from elsewhere."""
    if why := foreign_because(settings, request.headers):
        raise Problem("development_key", f"everybody knows this API key, so it opens to this machine alone: {why}")


class CallerOf(SecurityBase):
    """Whose key a request carries. One dependency, where a key and a gateway of their own would be three to resolve."""

    def __init__(self) -> None:
        self._bearer = HTTPBearer(auto_error=False, description="an API key: `latentline keys create`")
        self.model, self.scheme_name = self._bearer.model, self._bearer.scheme_name

    async def __call__(self, request: Request) -> Caller:
        return await self.caller(request)

    async def caller(self, request: Request) -> Caller:
        """Raises `Problem`: 401, 403, 429, or 503 while keys and jobs are still being read."""
        gateway: Gateway = request.app.state.gateway
        if not gateway.feed.is_caught_up:
            raise Problem("starting", "the gateway is still reading what there is of jobs", retry_after=1)
        credentials = await self._bearer(request)
        if credentials is None:
            raise no_valid_key("send it as `Authorization: Bearer KEY`")
        caller = gateway.keys.caller_of(credentials.credentials)
        if caller is None:
            raise no_valid_key("it is unknown or revoked")
        if credentials.credentials == DEFAULT_KEY:
            refuse_foreign(gateway.settings, request)
        gateway.rates.request(caller.tenant)
        return caller


class TenantOf(CallerOf):
    async def __call__(self, request: Request) -> str:  # type: ignore[override]  # called by the framework alone
        return (await self.caller(request)).tenant


def no_valid_key(why: str) -> Problem:
    return Problem("invalid_api_key", f"no valid API key: {why}", headers={"www-authenticate": "Bearer"})


TheCaller = Annotated[Caller, Depends(CallerOf())]
Tenant = Annotated[str, Depends(TenantOf())]
"""Of the caller, where it does not matter by which key."""
