"""A list whose oldest entries may be let go, as retention does; what is left keeps its offsets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass
class Tape(Generic[Item]):
    """`len` is the next offset; `start` the first that is still there."""

    start: int = 0
    kept: list[Item] = field(default_factory=list)

    def __len__(self) -> int:
        return self.start + len(self.kept)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.kept)

    def __getitem__(self, offset: int) -> Item:
        return self.kept[offset - self.start]

    def append(self, item: Item) -> None:
        self.kept.append(item)

    def read(self, offset: int, most: int | None = None) -> list[Item]:
        """From an offset on. Raises `IndexError` where that has been let go."""
        place = offset - self.start
        if place < 0:
            raise IndexError(f"{offset} is before {self.start}")
        return self.kept[place:] if most is None else self.kept[place : place + most]

    def forget(self, before: int) -> list[Item]:
        """Let go of what lies before an offset; it is handed back."""
        place = max(before - self.start, 0)
        gone, self.kept = self.kept[:place], self.kept[place:]
        self.start += len(gone)
        return gone
