"""What a simulated worker says: in order, delivered late, and kept back while the broker is out of reach."""

from __future__ import annotations

from collections.abc import Callable

from schemas.events.reports import Heartbeat, Outcome
from tests.sim.life import Life
from tests.sim.surroundings import Surroundings


class Voice:
    """`say` calls `delivered` when the worker learns that its word has arrived."""

    def __init__(self, around: Surroundings, life: Life) -> None:
        self._around, self._life = around, life
        self._sent_until = 0.0
        self._beating = False
        self._kept_beat: Heartbeat | None = None

    def say(self, event: Outcome | Heartbeat, delivered: Callable[[], None]) -> None:
        now = self._life.loop.now
        self._sent_until = max(now + self._around.latency(), self._sent_until)
        self._life.later(self._sent_until - now, lambda: self._deliver(event, delivered))

    def _deliver(self, event: Outcome | Heartbeat, delivered: Callable[[], None]) -> None:
        wait = self._life.reached_at - self._life.loop.now
        if wait > 0:
            return self._life.later(wait, lambda: self._deliver(event, delivered))
        self._around.report(event)
        self._life.later(self._around.latency(), delivered)

    def beat(self, beat: Heartbeat) -> None:
        """At most one is undelivered; of those behind it the newest is kept."""
        if self._beating:
            self._kept_beat = beat
        else:
            self._beating = True
            self.say(beat, self._beat_delivered)

    def _beat_delivered(self) -> None:
        beat, self._kept_beat = self._kept_beat, None
        self._beating = beat is not None
        if beat is not None:
            self.say(beat, self._beat_delivered)
