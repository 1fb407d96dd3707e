"""Which deliveries may be sent now. Whoever waits for a slow receiver is in nobody else's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

AT_ONCE, AT_ONCE_TO_ONE, AT_ONCE_OF_ONE = 200, 4, 20
"""Requests under way: in all, to one receiver, of one tenant."""


@dataclass(frozen=True)
class Destination:
    """Where a delivery goes, and whose it is: what it shares room with."""

    receiver: str
    tenant: str


@dataclass
class DeliveryScheduler:
    """Deliveries by when they are due: a heap for each way, and a heap of the ways. Times are unix seconds."""

    _waiting: dict[Destination, list[tuple[float, str]]] = field(default_factory=dict)
    _ways: list[tuple[float, str, str]] = field(default_factory=list)
    _held: dict[str, set[Destination]] = field(default_factory=dict)
    """Ways that wait for room of their tenant; of nobody (""): for any room at all."""
    _paused: dict[Destination, float] = field(default_factory=dict)
    _under_way: Counter[str] = field(default_factory=Counter)
    _busy: Counter[Destination] = field(default_factory=Counter)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def under_way(self) -> int:
        return self._under_way[""]

    def add(self, delivery: str, way: Destination, at: float) -> None:
        heappush(self._waiting.setdefault(way, []), (at, delivery))
        self._look_at(way, at)

    def pause(self, way: Destination, until: float) -> None:
        """Nothing more is sent there before that time."""
        self._paused[way] = max(until, self._paused.get(way, 0.0))

    def is_paused(self, way: Destination, now: float) -> bool:
        return self._paused.get(way, 0.0) > now

    def take(self, now: float) -> Iterator[tuple[str, Destination]]:
        """What is to be sent; each one is under way until `done`."""
        while self._ways and self._ways[0][0] <= now:
            _, receiver, tenant = heappop(self._ways)
            yield from self._take(Destination(receiver, tenant), now)

    def _take(self, way: Destination, now: float) -> Iterator[tuple[str, Destination]]:
        if (until := self._paused.get(way, 0.0)) > now:
            self._look_at(way, until)
            return
        self._paused.pop(way, None)
        waiting = self._waiting.get(way, [])
        while waiting and waiting[0][0] <= now and self._busy[way] < AT_ONCE_TO_ONE:
            if (full := self._full(way)) is not None:
                self._held.setdefault(full, set()).add(way)
                return
            _, delivery = heappop(waiting)
            for counter in ("", way.tenant):
                self._under_way[counter] += 1
            self._busy[way] += 1
            yield delivery, way
        if not waiting:
            self._waiting.pop(way, None)

    def _full(self, way: Destination) -> str | None:
        if self._under_way[""] >= AT_ONCE:
            return ""
        return way.tenant if self._under_way[way.tenant] >= AT_ONCE_OF_ONE else None

    def done(self, way: Destination, now: float) -> None:
        """One that was under way there has ended: there is room for another."""
        for counter in ("", way.tenant):
            self._under_way[counter] -= 1
        self._busy[way] -= 1
        self._under_way, self._busy = +self._under_way, +self._busy
        for held in (way, *self._held.pop(way.tenant, ()), *self._held.pop("", ())):
            self._look_at(held, now)

    def _look_at(self, way: Destination, at: float) -> None:
        if way in self._waiting:
            heappush(self._ways, (at, way.receiver, way.tenant))
