"""The services of a local stack, as data. Ports are preferences; a taken one is replaced by a free one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.stage import STAGES

FIRST_PORT = 9101


@dataclass(frozen=True)
class Service:
    """A process of the line: `python -m MODULE ARGUMENTS`, with /metrics and /healthz on its port."""

    name: str
    arguments: tuple[str, ...]
    port: int = 0
    module: str = "latentline"

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", self.module, *self.arguments]


def services(workers: Mapping[str, int] | None = None) -> tuple[Service, ...]:
    """Coordinator, workers, views, gateway, notifier and janitor, in the order in which they start.

    `workers`: how many by what they serve, one stage or several (`{"denoise": 2, "decode,mux": 1}`). A stage
    that it does not name has one worker.
    """
    counts: dict[str, int] = {**dict.fromkeys(STAGES, 1), **(workers or {})}
    commands: dict[str, tuple[str, ...]] = {"coordinator": ("coordinator",)}
    for served, count in counts.items():
        name = served.replace(",", "-")
        commands |= {_numbered(name, number): ("worker", str(served)) for number in range(1, count + 1)}
    commands |= {"views": ("views",), "gateway": ("gateway",), "notifier": ("notifier",), "janitor": ("janitor",)}
    return tuple(Service(name, command, FIRST_PORT + place) for place, (name, command) in enumerate(commands.items()))


def _numbered(name: str, number: int) -> str:
    return str(name) if number == 1 else f"{name}-{number}"


SERVICES = services()

SERVER_PORTS = {
    "kafka": 9092, "kafka-controller": 9093, "minio": 9000, "minio-console": 9001, "views-pages": 8084,
    "gateway-api": 8080,
}  # fmt: skip
"""Ports that no service's health is served at."""

THREADING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000", "TOKENIZERS_PARALLELISM": "false"}
"""Several torch processes share the cores of one machine: spinning threads would starve the others."""
