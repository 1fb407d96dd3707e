"""Signatures by Standard Webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed(secrets: Iterable[str], event: str, body: str, now: float) -> dict[str, str]:
    """The three headers of an attempt that is made now (unix seconds), one signature for each secret."""
    # The library replaces a time zone instead of converting it: only UTC is what it says.
    moment = datetime.fromtimestamp(int(now), UTC)
    return {
        "webhook-id": event,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(Webhook(secret).sign(event, moment, body) for secret in secrets),
    }
