"""What a stack is made of and where it listens: one value, kept in its data folder as `plan.json`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from infra.local import ports
from infra.local.access import Access, Open
from infra.local.minio import Credentials
from infra.local.owner_only import write_private
from infra.local.services import SERVER_PORTS, SERVICES, THREADING, Service
from infra.security.access import Guarded
from runtime.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Plan:
    """Ports and services of one stack. `ports` has the servers' and each service's; a restart keeps them."""

    data: Path
    ports: dict[str, int]
    services: tuple[Service, ...]
    tied_to: int | None = None
    """Process with whose end the stack ends; None for one that stays."""
    tenants: tuple[str, ...] = ()
    """Whom a secure line takes prompts of; none: an open line, which asks nobody."""

    @classmethod
    def draw(
        cls, data: Path, services: tuple[Service, ...] = SERVICES, any_ports: bool = False,
        taken: Iterable[int] = (), tied_to: int | None = None, tenants: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """Choose ports: those of the last time, else the usual ones (never with `any_ports`), where free."""
        usual = SERVER_PORTS | {service.name: service.port for service in services}
        last = cls.of_last_time(data)
        wanted = {name: last.get(name, 0 if any_ports else port) for name, port in usual.items()}
        chosen = dict(zip(wanted, ports.choose(wanted.values(), taken), strict=True))
        placed = tuple(replace(service, port=chosen[service.name]) for service in services)
        return cls(data.resolve(), chosen, placed, tied_to, tenants)

    @classmethod
    def last(cls, data: Path) -> Self | None:
        """The plan of the last time, if there was one that this release can read."""
        try:
            return cls.load(data)
        except (OSError, ValidationError):
            return None

    @classmethod
    def of_last_time(cls, data: Path) -> dict[str, int]:
        last = cls.last(data)
        return last.ports if last else {}

    @classmethod
    def load(cls, data: Path) -> Self:
        """Raises `OSError` where there is none, `ValidationError` for one of another release."""
        return TypeAdapter(cls).validate_json((data / "plan.json").read_bytes())

    def save(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        write_private(self.data / "plan.json", TypeAdapter(type(self)).dump_json(self))

    @property
    def credentials(self) -> Credentials:
        return Credentials.of(self.data / "credentials")

    @property
    def access(self) -> Access:
        if self.tenants:
            return Guarded(self.data, self.credentials, self.services, self.tenants)
        return Open(self.credentials)

    @property
    def temporary(self) -> Path:
        """What is in there lives no longer than the stack runs."""
        return self.data / "temporary"

    def log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """The settings of whoever operates this stack."""
        return self.places() | self.access.operator()

    def owner_environment(self) -> dict[str, str]:
        return self.places() | self.access.owner()

    def places(self) -> dict[str, str]:
        """What every client of this stack is told, whoever it is."""
        line = Settings()
        return {
            "LATENTLINE_DATA_DIR": str(self.data),
            "LATENTLINE_KAFKA_BOOTSTRAP": f"{ports.HOST}:{self.ports['kafka']}",
            "LATENTLINE_TOPIC_PREFIX": line.topic_prefix,
            "LATENTLINE_CELLS": str(line.cells),
            "LATENTLINE_STORE_ENDPOINT": f"{ports.HOST}:{self.ports['minio']}",
            "LATENTLINE_STORE_BUCKET": line.store_bucket,
            "LATENTLINE_VIEWS_PORT": str(self.ports["views-pages"]),
            "LATENTLINE_GATEWAY_PORT": str(self.ports["gateway-api"]),
            "LATENTLINE_BUNDLES": os.environ.get("LATENTLINE_BUNDLES", str(PROJECT / "bundles" / "tiny")),
        }

    def service_environment(self, service: Service) -> dict[str, str]:
        own = {
            "LATENTLINE_METRICS_PORT": str(service.port),
            "LATENTLINE_WORKER_NAME": service.name,
            # What takes this machine down takes the line with it: here a node is a worker.
            "LATENTLINE_NODE_NAME": service.name,
            "LATENTLINE_LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
        }
        return self.places() | THREADING | own | self.access.service(service)

    def health(self) -> dict[str, str]:
        """Where each service says whether it is ready."""
        return {service.name: f"http://{ports.HOST}:{service.port}/healthz" for service in self.services}

    def scrape_targets(self) -> list[dict[str, object]]:
        """Prometheus' file_sd format: one entry a service."""
        return [
            {"targets": [f"{ports.HOST}:{service.port}"], "labels": {"service": service.name}}
            for service in self.services
        ]


def settings_in(environment: Mapping[str, str], others: Settings) -> Settings:
    """The settings that an `environment()` names, and the `others` for what it does not."""
    named = {name.removeprefix("LATENTLINE_").lower(): value for name, value in environment.items()}
    return Settings.model_validate(others.model_dump() | named)
