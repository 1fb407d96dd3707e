"""The views service: `run_views` until SIGTERM, SIGINT or a fault."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import structlog

from runtime import health, logs, metrics
from runtime.settings import Settings
from runtime.settings import settings as process_settings
from runtime.watchdog import Turns, Watchdog
from streams.usage.app import Views, make_app
from streams.usage.lag import Progress

logger = structlog.get_logger(__name__)


def run_views(settings: Settings) -> int:
    """Keep the views until told to stop (0), or until they fail or stop taking in records (1).

    The supervisor starts a failed one again, which rebuilds from the sources.
    """
    logs.configure(settings, "views")
    views = Views()
    progress = Progress(settings, views.taken)
    turns = Turns("event loop")
    page = health.serve(
        settings, metrics.registry_of("views"), lambda: turns.reason(settings.stuck_after_s) or progress.reason()
    )
    with page, progress, Watchdog(settings, "views", [turns, progress.turns]):
        return asyncio.run(_serve(settings, views, progress, turns))


async def _serve(settings: Settings, views: Views, progress: Progress, turns: Turns) -> int:
    app = make_app(settings, views, progress)
    turning = asyncio.create_task(turns.turn_with_loop())
    loop, told, stuck = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    progress.on_stuck = partial(loop.call_soon_threadsafe, stuck.set)
    try:
        await app.start()
        await app.wait_first(told.wait(), stuck.wait())
    except Exception:
        logger.exception("the views failed")
    finally:
        await app.stop()
        turning.cancel()
    return 0 if told.is_set() and not stuck.is_set() else 1


if __name__ == "__main__":
    raise SystemExit(run_views(process_settings()))
