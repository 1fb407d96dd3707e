"""What a stack is made of and where it listens: one value, kept in its data folder as `plan.json`."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from infra.local import ports
from infra.local.minio import Credentials
from infra.local.services import (
    CONSOLE_PORT,
    CONTROLLER_PORT,
    KAFKA_PORT,
    SERVICES,
    STORE_PORT,
    THREADING,
    VIEWS_PORT,
    Service,
)

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Plan:
    """Ports and services of one stack. `services` maps a service's name to its port."""

    data: Path
    kafka_port: int
    controller_port: int
    store_port: int
    console_port: int
    views_port: int
    services: dict[str, int]

    @classmethod
    def draw(cls, data: Path, services: tuple[Service, ...] = SERVICES, any_ports: bool = False) -> Plan:
        """Choose ports: the usual ones where free (with `any_ports` never those), else others."""
        usual = [KAFKA_PORT, CONTROLLER_PORT, STORE_PORT, CONSOLE_PORT, VIEWS_PORT, *(s.port for s in services)]
        kafka, controller, store, console, views, *rest = ports.choose([0] * len(usual) if any_ports else usual)
        names = {service.name: port for service, port in zip(services, rest, strict=True)}
        return cls(data.resolve(), kafka, controller, store, console, views, names)

    @classmethod
    def load(cls, data: Path) -> Plan:
        values = orjson.loads((data / "plan.json").read_bytes())
        return cls(**values | {"data": Path(values["data"])})

    def save(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "plan.json").write_bytes(orjson.dumps(asdict(self) | {"data": str(self.data)}))

    @property
    def credentials(self) -> Credentials:
        return Credentials.of(self.data / "credentials")

    def environment(self) -> dict[str, str]:
        """The settings that every client of this stack needs."""
        return {
            "LATENTLINE_DATA_DIR": str(self.data),
            "LATENTLINE_KAFKA_BOOTSTRAP": f"{ports.HOST}:{self.kafka_port}",
            "LATENTLINE_STORE_ENDPOINT": f"{ports.HOST}:{self.store_port}",
            "LATENTLINE_STORE_ACCESS_KEY": self.credentials.access_key,
            "LATENTLINE_STORE_SECRET_KEY": self.credentials.secret_key,
            "LATENTLINE_VIEWS_PORT": str(self.views_port),
            "LATENTLINE_BUNDLES": os.environ.get("LATENTLINE_BUNDLES", str(PROJECT / "bundles" / "tiny")),
        }

    def service_environment(self, service: Service) -> dict[str, str]:
        port = self.services[service.name]
        more = {"LATENTLINE_METRICS_PORT": str(port), "LATENTLINE_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
        return self.environment() | THREADING | more | {"LATENTLINE_WORKER_NAME": service.name}

    def scrape_targets(self) -> list[dict[str, object]]:
        """Prometheus' file_sd format: one entry a service."""
        return [
            {"targets": [f"{ports.HOST}:{port}"], "labels": {"service": name}} for name, port in self.services.items()
        ]
