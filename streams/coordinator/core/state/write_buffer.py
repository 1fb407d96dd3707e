"""A mapping whose changes stay apart until the transaction that carries them has committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class WriteBuffer(Generic[Key, Value]):
    """Reads see the changes; `commit` merges them into the base, `rollback` forgets them.

    `changes` maps a key to its new value, or to None where it was removed.
    """

    def __init__(self) -> None:
        self.base: dict[Key, Value] = {}
        self.changes: dict[Key, Value | None] = {}

    def get(self, key: Key) -> Value | None:
        return self.changes[key] if key in self.changes else self.base.get(key)

    def __getitem__(self, key: Key) -> Value:
        value = self.changes[key] if key in self.changes else self.base.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Key, value: Value) -> None:
        self.changes[key] = value

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def remove(self, key: Key) -> None:
        self.changes[key] = None

    def values(self) -> Iterator[Value]:
        for key, value in self.base.items():
            if key not in self.changes:
                yield value
        yield from (value for value in self.changes.values() if value is not None)

    def commit(self) -> None:
        self.base.update(self.changes)  # type: ignore[arg-type]  # what is removed goes at once
        for key in [key for key, value in self.changes.items() if value is None]:
            del self.base[key]
        self.changes.clear()

    def rollback(self) -> None:
        self.changes.clear()
