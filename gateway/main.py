"""The gateway service: `run_gateway` until SIGTERM, SIGINT or a fault."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from gateway.api_keys import UnsafeSettings, check_mode
from gateway.cors import shared
from gateway.dependencies import Gateway
from gateway.server.app import make_app
from gateway.server.middleware import Outer
from gateway.server.slow_clients import SlowClientProtocol
from runtime import health, logs, metrics
from runtime.settings import Settings
from runtime.watchdog import Turns, Watchdog
from streams.kafka.errors import ClientError

GOODBYE_S = 5
KEEP_ALIVE_S = 30

logger = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Signals are ours: an orderly end is exit code 0, and open streams are told first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_gateway(settings: Settings) -> int:
    """Serve until told to stop (0), or until it fails (1): its supervisor starts it again."""
    logs.configure(settings, "gateway")
    try:
        check_mode(settings)
        gateway = Gateway.open(settings)
    except (UnsafeSettings, ClientError, SQLAlchemyError) as error:
        logger.error("the gateway cannot start", error=str(error))
        return 1
    server = server_of(settings, gateway)
    metrics.HTTP_STREAMS.set(0)

    turns = Turns("event loop")

    def reason() -> str | None:
        stalled = turns.reason(settings.stuck_after_s) or gateway.reason()
        return stalled or (None if server.started else "not listening yet")

    try:
        page = health.serve(settings, metrics.registry_of("gateway"), reason)
        with page, Watchdog(settings, "gateway", [turns, gateway.feed.turns]):
            return asyncio.run(serve(server, gateway, turns))
    finally:
        gateway.close()


def server_of(settings: Settings, gateway: Gateway) -> Server:
    app = make_app()
    app.state.gateway = gateway
    served = Outer(shared(app, settings), settings.gateway_body_bytes)
    return Server(
        uvicorn.Config(
            served, settings.gateway_host, settings.gateway_port, http=SlowClientProtocol,
            log_config=None, access_log=False,
            lifespan="off", server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=GOODBYE_S,
        )
    )  # fmt: skip


async def serve(server: Server, gateway: Gateway, turns: Turns) -> int:
    """Until somebody says stop (0), or the gateway fails or cannot listen (1)."""
    loop, failed = asyncio.get_running_loop(), asyncio.Event()
    turning = asyncio.create_task(turns.turn_with_loop())

    def stop() -> None:
        server.should_exit = True
        gateway.changes.close()

    def fail() -> None:
        failed.set()
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    gateway.changes.open()
    # What lives as long as the process is not looked through again and again: a full collection would stall requests.
    gc.collect()
    gc.freeze()
    gateway.on_failed(lambda: loop.call_soon_threadsafe(fail))
    try:
        await server.serve()
    except SystemExit:
        # The port is taken; uvicorn has logged it.
        return 1
    finally:
        turning.cancel()
    return 1 if failed.is_set() else 0
