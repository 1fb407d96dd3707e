"""The life of a service whose memory follows the log: until it is told to stop, or until the two may differ."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Protocol

import structlog
from confluent_kafka import KafkaException

from runtime import health, metrics
from runtime.settings import Settings
from runtime.watchdog import Turns, Watchdog
from streams.kafka.clients import FatalClientError
from streams.kafka.errors import ClientError
from streams.kafka.transactions import Aborted, RecordRejected, ResultUnknown

FAULTS = (Aborted, RecordRejected, ClientError, FatalClientError, KafkaException, TimeoutError)

logger = structlog.get_logger(__name__)


class Service(Protocol):
    """`run` returns once it was told to `stop`; `reason` says why it is not ready; `turns` is watched meanwhile."""

    turns: Turns

    def run(self) -> None: ...

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None: ...

    def reason(self) -> str | None: ...

    def warnings(self) -> list[str]:
        """What an operator has to see to though the service does its own work."""
        ...

    def close(self) -> None: ...


def serve(
    settings: Settings,
    name: metrics.Process,
    service: Service,
    refusals: tuple[type[Exception], ...] = (),
    models: Iterable[str] = (),
) -> int:
    """Run it until SIGTERM or SIGINT (0), or until it fails (1): its supervisor starts a new life.

    `refusals`: what a new life would meet as well, until somebody puts it right. `models`: those its metrics tell of.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, service.stop)
    page = health.serve(settings, metrics.registry_of(name, models), service.reason, service.warnings)
    with page, Watchdog(settings, name, [service.turns]):
        try:
            service.run()
        except ResultUnknown as error:
            logger.error(f"the {name} ends and must be started anew", error=str(error))
            # A client may be stuck in a call; a transaction left open is fenced by the next life.
            os._exit(1)
        except refusals as error:
            logger.error(f"the {name} refuses to start until this is put right", error=str(error))
            return 1
        except FAULTS as error:
            logger.error(f"the {name} ends and must be started anew", error=str(error))
            return 1
        finally:
            service.close()
    return 0
