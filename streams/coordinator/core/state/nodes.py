"""Which workers of each node hold something: an index of the views, for jobs that must be alone on a node."""

from __future__ import annotations

from collections import defaultdict


class Nodes:
    def __init__(self) -> None:
        self._node: dict[str, str] = {}
        self._holders: defaultdict[str, set[str]] = defaultdict(set)

    def note(self, incarnation: str, node: str | None) -> None:
        """The node on which this worker holds something from now on; None for one that holds nothing or is gone."""
        before = self._node.get(incarnation)
        if before == node:
            return
        if before is not None:
            self._holders[before].discard(incarnation)
            del self._node[incarnation]
        if node is not None:
            self._holders[node].add(incarnation)
            self._node[incarnation] = node

    def holders(self, node: str) -> frozenset[str]:
        return frozenset(self._holders.get(node, ()))

    def is_idle(self, node: str) -> bool:
        return not self._holders.get(node)
