"""What tests of a secure line share: the line, as each of its principals sees it."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from confluent_kafka import Producer
from minio import Minio

from infra.local import line_checks
from infra.local.plan import Plan, settings_in
from infra.local.stack import Stack
from infra.security.access import Guarded
from infra.security.rights import Rights
from runtime.settings import Settings
from schemas.events.prompts import PromptSubmitted
from schemas.stage_keys import identity_of

NAMES = (
    "coordinator", "worker-encode", "worker-denoise", "worker-decode", "worker-mux", "views", "notifier", "janitor",
    "upstream-acme", "downstream", "operator",
)  # fmt: skip


@dataclass(frozen=True)
class Secure:
    """A secure line that runs, and everybody's view of it."""

    stack: Stack

    @property
    def plan(self) -> Plan:
        return Plan.load(self.stack.data)

    @property
    def access(self) -> Guarded:
        access = self.plan.access
        assert isinstance(access, Guarded)
        return access

    def of(self, name: str) -> Settings:
        """The settings of one principal."""
        return settings_in(self.plan.places() | self.access.client(name), Settings())

    def rights(self, name: str) -> Rights:
        return self.access.rights[name]

    @property
    def owner(self) -> Settings:
        return settings_in(self.plan.owner_environment(), Settings())

    @property
    def operator(self) -> Settings:
        return settings_in(self.stack.environment(), Settings())


def store_of(settings: Settings) -> Minio:
    return line_checks._client(settings)


def job_of(tenant: str, id: str) -> str:
    """What `upstream` asks for."""
    return identity_of(PromptSubmitted(prompt="any", tenant=tenant), "upstream", id).job


def upstream(secure: Secure, tenant: str, id: str, name: str = "upstream-acme", sign: bool = True) -> None:
    """What docs/security.md tells an upstream service to do, in plain confluent-kafka."""
    settings = secure.of(name)
    key = settings.signing_key.get_secret_value().encode()
    value = json.dumps({"prompt": f"a red circle moving right, {id}", "tenant": tenant}).encode()
    headers = {"ce_type": "latentline.prompt_submitted.v1", "ce_source": "upstream", "ce_id": id}
    if sign:
        message = f"v2\n{headers['ce_type']}\n{headers['ce_source']}\n{headers['ce_id']}\n".encode() + value
        headers["signature"] = f"{name}:{hmac.new(key, message, hashlib.sha256).hexdigest()}"
    producer = Producer({
        "bootstrap.servers": settings.kafka_bootstrap, "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": name,
        "sasl.password": settings.kafka_password.get_secret_value(),
    })  # fmt: skip
    producer.produce("prompts", value, tenant, headers=[*headers.items()])
    assert producer.flush(20) == 0
