"""A stage worker as a process: `run_worker` until SIGTERM, or until this life cannot go on."""

from __future__ import annotations

import signal
from types import FrameType

import structlog
from confluent_kafka import KafkaException

from runtime import health, logs, metrics
from runtime.settings import Settings
from runtime.watchdog import Watchdog
from schemas.bundle import read_bundles
from schemas.stage import Stage
from streams.kafka.clients import FatalClientError
from streams.kafka.partitions import WrongPartitions
from streams.worker.loop.worker import Worker, WorkerBroken

logger = structlog.get_logger(__name__)


def run_worker(settings: Settings, stages: tuple[Stage, ...]) -> int:
    """Work until told to leave (0), or until a client or the compute child is beyond repair (1)."""
    logs.configure(settings, "-".join(stages))
    models = tuple(read_bundles(settings.bundles))
    worker = Worker(settings, stages, models)

    def leave(number: int, frame: FrameType | None) -> None:
        worker.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    page = health.serve(settings, metrics.registry_of("worker", models, stages), worker.reason)
    with page, Watchdog(settings, "worker", [worker.turns]):
        try:
            worker.run()
        except (FatalClientError, WorkerBroken, WrongPartitions, KafkaException) as error:
            logger.error("this life of the worker ends", error=str(error))
            return 1
    return 0
