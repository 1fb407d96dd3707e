"""Which earlier create a silent retry of the official client repeats.

The client sends a create again, twice, when its connection is cut or the answer is 5xx, and carries no idempotency key
but a count of its retries. A retry with the same body within a minute is the same call, so it gets the same key.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW_S = 60.0
Call = tuple[str, str]
"""Tenant and fingerprint of the body."""


@dataclass
class Retries:
    clock: Callable[[], float] = time.monotonic
    _recent: OrderedDict[Call, tuple[float, str]] = field(default_factory=OrderedDict)

    def knows(self, tenant: str, fingerprint: str) -> bool:
        noted = self._recent.get((tenant, fingerprint))
        return noted is not None and noted[0] >= self.clock() - WINDOW_S

    def key_of(self, tenant: str, fingerprint: str, is_retry: bool) -> str:
        """The idempotency key of a create that brought none. Noted before anything is sent: what is sent may arrive."""
        now, call = self.clock(), (tenant, fingerprint)
        while self._recent and next(iter(self._recent.values()))[0] < now - WINDOW_S:
            self._recent.popitem(last=False)
        if is_retry and call in self._recent:
            return self._recent[call][1]
        key = f"call-{uuid.uuid4().hex}"
        self._recent[call] = now, key
        self._recent.move_to_end(call)
        return key
