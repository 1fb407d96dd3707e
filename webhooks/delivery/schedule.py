"""When a delivery is tried again: the schedule that Standard Webhooks gives as its example, over three days.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

MINUTE, HOUR = 60.0, 3600.0
DELAYS_S = (5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""Between one attempt and the next; the first attempt is made at once."""
ATTEMPTS = len(DELAYS_S) + 1
JITTER = 0.2
LONGEST_WISH_S = 24 * HOUR

GONE = 410
OVERLOADED = (429, 502, 503, 504)
PAUSE_S = 30.0
"""For how long nothing is sent to a receiver that says it has too much to do, if it does not say itself."""


def is_success(status: int | None) -> bool:
    """A redirect is none: the request went to nobody who took it."""
    return status is not None and 200 <= status < 300


def delay(attempts: int, pace: float, chance: float, wish: float | None = None) -> float | None:
    """Seconds until the next attempt after so many; None: there is none.

    `chance`, from 0 to 1, spreads it by 20 % to both sides. `wish`: the receiver's `retry-after` in seconds, which
    makes it later and never earlier.
    """
    if attempts >= ATTEMPTS:
        return None
    planned = DELAYS_S[attempts - 1] * pace * (1 + JITTER * (2 * chance - 1))
    return max(planned, min(wish or 0.0, LONGEST_WISH_S))
