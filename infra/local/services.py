"""The services of a local stack, as data. Ports are preferences; a taken one is replaced by a free one."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """A process of the line: `latentline ARGUMENTS`, with /metrics and /healthz on its port."""

    name: str
    arguments: tuple[str, ...]
    port: int

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "latentline", *self.arguments]


SERVICES = (
    Service("coordinator", ("coordinator",), 9101),
    Service("encode", ("worker", "encode"), 9102),
    Service("denoise", ("worker", "denoise"), 9103),
    Service("decode", ("worker", "decode"), 9104),
    Service("mux", ("worker", "mux"), 9105),
    Service("views", ("views",), 9106),
)

KAFKA_PORT, CONTROLLER_PORT, STORE_PORT, CONSOLE_PORT, VIEWS_PORT = 9092, 9093, 9000, 9001, 8084

THREADING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000", "TOKENIZERS_PARALLELISM": "false"}
"""Several torch processes share the cores of one machine: spinning threads would starve the others."""
