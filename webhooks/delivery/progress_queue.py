"""Deliveries of `video.progress`: in memory alone, and tried once.

The next word says more than one that did not arrive, so none is written down or sent again, and a word that waits for
a slow receiver is replaced by the next one of the same job. They have room of their own: no end waits for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from schemas.webhooks import WebhookDelivery

AT_ONCE, AT_ONCE_TO_ONE, AT_ONCE_OF_ONE = 50, 2, 5
"""Requests under way: in all, to one endpoint, of one tenant."""


@dataclass
class ProgressQueue:
    """Keyed by the delivery's id, which is that of the job and the endpoint."""

    _waiting: dict[str, WebhookDelivery] = field(default_factory=dict)
    _under_way: dict[str, WebhookDelivery] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def put(self, word: WebhookDelivery) -> None:
        """In the place of the word that waits, if there is one."""
        self._waiting[word.id] = word

    def drop(self, job: str) -> None:
        """It has ended: what waits is old."""
        for key in [key for key, word in self._waiting.items() if word.job == job]:
            del self._waiting[key]

    def take(self, may_go: Callable[[WebhookDelivery], bool]) -> Iterator[WebhookDelivery]:
        """What is to be sent now, the longest wait first; each one is under way until `done`."""
        busy = Counter(place for word in self._under_way.values() for place in places(word))
        for word in [*self._waiting.values()]:
            if len(self._under_way) >= AT_ONCE:
                return
            to_one, of_one = places(word)
            if word.id in self._under_way or busy[to_one] >= AT_ONCE_TO_ONE or busy[of_one] >= AT_ONCE_OF_ONE:
                continue
            if may_go(word):
                busy.update(places(word))
                self._under_way[word.id] = self._waiting.pop(word.id)
                yield word

    def done(self, key: str) -> WebhookDelivery | None:
        """The word that was under way; None if it is none of these."""
        return self._under_way.pop(key, None)


def places(word: WebhookDelivery) -> tuple[str, str]:
    return f"endpoint {word.endpoint}", f"tenant {word.tenant}"
