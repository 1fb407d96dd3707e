"""Sign what this process puts into `prompts`, where it has a key to sign with."""

from __future__ import annotations

from runtime.settings import Settings
from schemas import envelope
from schemas.envelope import Headers, UnreadableEvent
from schemas.signature import SIGNATURE, sign


def signed(settings: Settings, value: bytes | None, headers: Headers) -> Headers:
    """The headers with our signature in place of any other; what is no event is left unsigned."""
    plain = [(name, text) for name, text in headers if name != SIGNATURE.name]
    if value is None or not settings.signing_key.get_secret_value():
        return plain
    try:
        _, about = envelope.read(value, plain)
    except UnreadableEvent:
        return plain
    return [*plain, (SIGNATURE.name, sign(settings.kafka_username, settings.signing_key, about, value).encode())]
