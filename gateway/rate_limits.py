"""How often a tenant may ask. Each gateway counts for itself, in memory."""

from __future__ import annotations

import math
import time

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.api_keys import UnsafeSettings
from gateway.problems import Problem
from runtime.settings import Settings


class Rates:
    """Of requests of any kind, and beside these of creates and of webhooks that are asked for.

    Raises `UnsafeSettings` for a rate that cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._requests = parsed("LATENTLINE_GATEWAY_RATE", settings.gateway_rate)
        self._creates = parsed("LATENTLINE_GATEWAY_CREATE_RATE", settings.gateway_create_rate)
        self._webhooks = parsed("LATENTLINE_GATEWAY_WEBHOOK_TEST_RATE", settings.gateway_webhook_test_rate)

    def request(self, tenant: str) -> None:
        """Raises `Problem` 429."""
        self._spend(self._requests, "requests", tenant)

    def create(self, tenant: str) -> None:
        """Raises `Problem` 429."""
        self._spend(self._creates, "creates", tenant)

    def webhook(self, tenant: str) -> None:
        """Of samples and repeated deliveries: each is a request of ours to an address of the tenant's choice.

        Raises `Problem` 429.
        """
        self._spend(self._webhooks, "webhooks asked for", tenant)

    def _spend(self, rates: list[limits.RateLimitItem], what: str, tenant: str) -> None:
        for rate in rates:
            if not self._limiter.hit(rate, what, tenant):
                free_at = self._limiter.get_window_stats(rate, what, tenant).reset_time
                wait = max(math.ceil(free_at - time.time()), 1)
                message = f"you have made your {rate} of {what}: the next one may come in {wait} s"
                raise Problem("rate_limit_exceeded", message, retry_after=wait)


def parsed(variable: str, text: str) -> list[limits.RateLimitItem]:
    try:
        return limits.parse_many(text) if text else []
    except ValueError:
        raise UnsafeSettings(f"{variable} = {text}: a rate is like 600/minute or 5/second; 5/second;1000/day") from None
