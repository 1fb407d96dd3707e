"""Which incarnation and lease a record is about, told by its headers: read before its body, or in its stead.

A worker skips what is addressed to others without decoding it, and reports a task that it cannot decode; the
coordinator ends the lease of an outcome that it cannot decode. The headers are CloudEvents extension attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from schemas.base import Frozen

ATTRIBUTES = {
    "incarnation": "incarnation",
    "worker": "worker",
    "lease": "lease",
    "job": "job",
    "stage": "stage",
    "key": "stagekey",
}
"""Field of an event to extension attribute: lower-case letters only, as CloudEvents asks."""


LEASE_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Address:
    """What the headers say; empty where a record does not say it. Lease numbers begin at 1."""

    incarnation: str = ""
    worker: str = ""
    lease: int = 0
    job: str = ""
    stage: str = ""
    key: str = ""


def extensions_of(event: Frozen) -> dict[str, str]:
    """The extension attributes of a task, a command, an outcome or a heartbeat."""
    return {
        attribute: str(value)
        for field, attribute in attributes_of(type(event))
        if (value := getattr(event, field)) is not None
    }


@cache
def attributes_of(model: type[Frozen]) -> tuple[tuple[str, str], ...]:
    """Of its fields those that its headers tell: asking a model for a field that it lacks is slow."""
    return tuple((field, attribute) for field, attribute in ATTRIBUTES.items() if field in model.model_fields)


def address_of(headers: Iterable[tuple[str, bytes | None]] | None) -> Address:
    """Never raises: a header that makes no sense counts as absent."""
    texts = {name: (value or b"").decode(errors="replace") for name, value in headers or ()}
    found = {field: texts.get(f"ce_{attribute}", "") for field, attribute in ATTRIBUTES.items()}
    lease = found.pop("lease")
    return Address(**found, lease=int(lease) if LEASE_NUMBER.fullmatch(lease) else 0)
