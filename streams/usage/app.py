"""The Faust app of the views: agents fold `jobs` and `completions` into usage, a timer publishes what changed.

It keeps no Faust table and commits nothing that it relies on: at each start a consumer group of its own reads both
topics from their beginning. A table's changelog is not written in one transaction with the offsets, so windowed sums
would count twice or not at all after a kill; recovery has open bugs; changelogs must match their source's partitions.
The sources are bounded by their retention (7 days, a stub a job), the fold is exact however often they are read, and a
wiped or second instance has the same view by construction. The price is to read them again at each start; until that
is done the process is not ready and publishes nothing, so a reader of `usage` never sees a window shrink.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import faust
import structlog

from runtime.settings import Settings
from schemas import envelope
from schemas.digest import digest
from schemas.events.completions import Completion
from schemas.job import JobState
from streams.kafka import clients, topics
from streams.usage import pages
from streams.usage.driver import CommittedTransport
from streams.usage.lag import Position, Progress
from streams.usage.reducers import Usage, horizon_of

SOURCE = "latentline/views"
PUBLISH_INTERVAL_S = 5.0
FORGET_INTERVAL_S = 600.0

log = structlog.get_logger(__name__)


class ViewsApp(faust.App):
    """A Faust app that reads committed records only."""

    def _new_transport(self) -> Any:
        return CommittedTransport(self.conf.broker_consumer, self)


class Views:
    """Usage as of the records taken in so far. All of it lives on the event loop of the app."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.changed: set[tuple[str, float]] = set()
        """Tenant windows that `usage` does not have yet."""
        self.taken: dict[Position, int] = {}
        """Next offset to be taken in of each partition."""

    def take(self, message: Any) -> None:
        """Fold in a record. One that cannot be read is logged and passed over: a view must not stop at it."""
        try:
            changed = self._fold(message.key, message.value, message.headers)
        except (envelope.UnreadableEvent, UnexpectedEvent) as error:
            changed = None
            log.warning(
                "record passed over", topic=message.topic, partition=message.partition, offset=message.offset,
                why=str(error),
            )  # fmt: skip
        if changed is not None:
            self.changed.add(changed)
        self.taken[message.topic, message.partition] = message.offset + 1

    def _fold(self, key: bytes | None, value: bytes | None, headers: Any) -> tuple[str, float] | None:
        horizon = horizon_of(time.time())
        if value is None:
            return self.usage.take_state((key or b"").decode(errors="replace"), None)
        event, _ = envelope.read(value, _pairs(headers))
        if isinstance(event, JobState):
            return self.usage.take_state(event.job, event, horizon)
        if isinstance(event, Completion):
            return self.usage.take_completion(event, horizon)
        raise UnexpectedEvent(f"{type(event).__name__} is neither a job's state nor its completion")

    def forget(self) -> None:
        self.usage.forget(horizon_of(time.time()))
        self.changed &= self.usage.tenants.keys()


class UnexpectedEvent(ValueError):
    """A readable event that does not belong into the topic."""


def _pairs(headers: Any) -> list[tuple[str, bytes]]:
    return list(headers.items()) if isinstance(headers, dict) else list(headers or ())


def make_app(settings: Settings, views: Views, progress: Progress) -> ViewsApp:
    """An app that fills `views`, publishes them once `progress` has caught up, and answers at `views_port`."""
    prefix = settings.topic_prefix
    # Faust makes the last folder of the path alone.
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = ViewsApp(
        # Of this life alone, so that it reads everything and shares partitions with nobody.
        f"{prefix}latentline-views-{uuid.uuid4().hex[:12]}",
        broker=[f"kafka://{server}" for server in settings.kafka_bootstrap.split(",")],
        broker_credentials=credentials_of(settings),
        datadir=settings.data_dir / "views",
        store="memory://",
        autodiscover=False,
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_host=settings.metrics_host,
        web_bind=settings.metrics_host,
        web_port=settings.views_port,
        # Ours alone: Faust's own pages would show its tables and its insides.
        web_router_enabled=False,
        web_tables_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
        worker_redirect_stdouts=False,
    )
    _add_agents(app, prefix, views)
    _add_timers(app, prefix, views, progress)
    _add_pages(app, views, progress)
    return app


def credentials_of(settings: Settings) -> faust.SASLCredentials | None:
    """Who we are, for a broker that asks (the same as `clients.identity`)."""
    if not settings.kafka_username:
        return None
    password = settings.kafka_password.get_secret_value()
    return faust.SASLCredentials(username=settings.kafka_username, password=password, mechanism=clients.SASL_MECHANISM)


def _topic(app: ViewsApp, topic: topics.Topic, prefix: str) -> Any:
    """Bytes in and bytes out: the envelope of the line does the reading and writing. Tombstones pass."""
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    return app.topic(topic.named(prefix), allow_empty=True, internal=False, **raw)


def _add_agents(app: ViewsApp, prefix: str, views: Views) -> None:
    async def take(stream: Any) -> None:
        async for event in stream.events():
            views.take(event.message)

    for topic in (topics.JOBS, topics.COMPLETIONS):
        app.agent(_topic(app, topic, prefix), name=f"views.{topic.name}")(take)


def _add_timers(app: ViewsApp, prefix: str, views: Views, progress: Progress) -> None:
    usage = _topic(app, topics.USAGE, prefix)

    async def publish() -> None:
        if progress.caught_up_once.is_set():
            await _publish_changed(usage, views)

    async def forget() -> None:
        views.forget()

    app.timer(PUBLISH_INTERVAL_S)(publish)
    app.timer(FORGET_INTERVAL_S)(forget)


async def _publish_changed(topic: Any, views: Views) -> None:
    for key in sorted(views.changed):
        views.changed.discard(key)
        try:
            await _publish(topic, views, key)
        except Exception as error:
            # The broker may be away: what is not published stays changed, and the next turn tries again.
            views.changed.add(key)
            log.warning("usage not published", tenant=key[0], error=repr(error))
            return


async def _publish(topic: Any, views: Views, key: tuple[str, float]) -> None:
    """Returns once the broker has it. The id depends on the content, so a window sent twice is seen to be one."""
    tenant, start = key
    event = views.usage.tenants[key].event(tenant, start)
    value, headers = envelope.write(
        event, id=digest(event.model_dump(mode="json"))[:32], source=SOURCE, time=time.time(), subject=tenant
    )
    await (await topic.send(key=tenant.encode(), value=value, headers=headers))


def _add_pages(app: ViewsApp, views: Views, progress: Progress) -> None:
    @app.page("/usage")
    async def usage(web: Any, request: Any) -> Any:
        return web.json(pages.usage(views.usage))

    @app.page("/usage/{tenant}")
    async def usage_of(web: Any, request: Any, tenant: str) -> Any:
        return web.json(pages.tenant(views.usage, tenant))

    @app.page("/stages")
    async def stages(web: Any, request: Any) -> Any:
        return web.json(pages.stages(views.usage))
