"""Who speaks for a tenant on `prompts`: records are signed, since Kafka tells a reader nothing of their producer.

The signature covers the event's type, source, id and value, so it says nothing about any other record; the same record
sent again is the same job. In Python, with `key` as bytes and the value as it is sent:

    message = f"v2\\n{ce_type}\\n{ce_source}\\n{ce_id}\\n".encode() + value
    headers["signature"] = f"{name}:{hmac.new(key, message, 'sha256').hexdigest()}"

One over `f"{ce_type}\\n{ce_id}\\n"` and the value, as clients of earlier releases make it, is good too. It does not
vouch for the source, so that is no part of the event's identity: else a record could be sent again as another job.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import ConfigDict, SecretStr, TypeAdapter, ValidationError

from schemas.base import Frozen
from schemas.envelope import Envelope, Header, Headers
from schemas.field_types import Name

SIGNATURE = Header(
    "signature",
    "on `prompts` of a secure line: `NAME:HEX`, the HMAC-SHA256 of type, source, id and value",
    required=False,
)


VERSION = "v2"
"""The first line of what is signed. No event has such a type, so a signature never fits a record of the other way."""


class Signer(Frozen):
    """A principal's key, and the tenants that it may speak for; None: for every tenant."""

    model_config = ConfigDict(hide_input_in_errors=True)

    key: SecretStr
    tenants: tuple[Name, ...] | None = None


Signers = Mapping[str, Signer]
"""By name of the principal."""


def read_signers(file: Path) -> Signers:
    """Raises `OSError`, and `ValueError` that does not show what is in the file."""
    adapter = TypeAdapter(dict[str, Signer], config=ConfigDict(hide_input_in_errors=True))
    try:
        return adapter.validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file} does not say who may sign: {error}") from None


def write_signers(signers: Signers) -> bytes:
    """What `read_signers` reads, keys in the clear."""
    plain = {name: {"key": each.key.get_secret_value(), "tenants": each.tenants} for name, each in signers.items()}
    return orjson.dumps(plain)


def sign(name: str, key: SecretStr, about: Envelope, value: bytes) -> str:
    """The header's text. None of the attributes may hold a line break, so that no two records read the same."""
    return signature_of(name, key, (VERSION, about.type, about.source, about.id), value)


def signature_of(name: str, key: SecretStr, lines: tuple[str, ...], value: bytes) -> str:
    message = "".join(f"{line}\n" for line in lines).encode() + value
    return f"{name}:{hmac.new(key.get_secret_value().encode(), message, 'sha256').hexdigest()}"


class Verdict(NamedTuple):
    """Why a record may not speak for a tenant, None if it may; and whether its source is as certain as the rest."""

    refusal: str | None = None
    vouches_for_source: bool = True


def verdict_on(signers: Signers | None, tenant: str, about: Envelope, value: bytes, headers: Headers) -> Verdict:
    """`signers` None: a line in which anybody may speak for anybody."""
    if signers is None:
        return Verdict()
    signatures = [text for name, text in headers if name.lower() == SIGNATURE.name]
    if len(signatures) != 1:
        return Verdict(f"a prompt of this line has one header `{SIGNATURE.name}`, this one has {len(signatures)}")
    name = signatures[0].decode(errors="replace").rpartition(":")[0]
    signer = signers.get(name)
    if signer is None:
        return UNKNOWN
    if signer.tenants is not None and tenant not in signer.tenants:
        may_not = f"{name} may not speak for tenant {tenant}"
    else:
        may_not = None
    if hmac.compare_digest(signatures[0], sign(name, signer.key, about, value).encode()):
        return Verdict(may_not)
    if hmac.compare_digest(signatures[0], signature_of(name, signer.key, (about.type, about.id), value).encode()):
        return Verdict(may_not, vouches_for_source=False)
    return UNKNOWN


UNKNOWN = Verdict("its signature is none of a principal that this line knows")
