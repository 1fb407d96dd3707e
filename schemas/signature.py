"""Who speaks for a tenant on `prompts`: records are signed, since Kafka tells a reader nothing of their producer.

The signature covers event type, event id and value, so it says nothing about any other record; the same record sent
again is the same job. In Python, with `key` as bytes and the value as it is sent:

    message = f"{ce_type}\\n{ce_id}\\n".encode() + value
    headers["signature"] = f"{name}:{hmac.new(key, message, 'sha256').hexdigest()}"
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

import orjson
from pydantic import ConfigDict, SecretStr, TypeAdapter, ValidationError

from schemas.base import Frozen
from schemas.envelope import Envelope, Header, Headers
from schemas.events import Name

SIGNATURE = Header(
    "signature", "on `prompts` of a secure line: `NAME:HEX`, the HMAC-SHA256 of type, id and value", required=False
)


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
    """The header's text. Neither type nor id may hold a line break, so that no two records read the same."""
    message = f"{about.type}\n{about.id}\n".encode() + value
    return f"{name}:{hmac.new(key.get_secret_value().encode(), message, 'sha256').hexdigest()}"


def refusal(signers: Signers | None, tenant: str, about: Envelope, value: bytes, headers: Headers) -> str | None:
    """Why this record may not speak for `tenant`; None if it may. `signers` None: a line in which anybody may."""
    if signers is None:
        return None
    signatures = [text.decode(errors="replace") for name, text in headers if name == SIGNATURE.name]
    if len(signatures) != 1:
        return f"a prompt of this line has one header `{SIGNATURE.name}`, this one has {len(signatures)}"
    name = signatures[0].rpartition(":")[0]
    signer = signers.get(name)
    if signer is None or not hmac.compare_digest(signatures[0].encode(), sign(name, signer.key, about, value).encode()):
        return "its signature is none of a principal that this line knows"
    if signer.tenants is not None and tenant not in signer.tenants:
        return f"{name} may not speak for tenant {tenant}"
    return None
