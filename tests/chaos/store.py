"""What goes wrong with the store for a while: a relay between it and the line does it."""

from __future__ import annotations

from tests.chaos.schedule import Fault
from tests.chaos.victims import Hit
from tests.proxy import Proxy

SLOWER_S = 0.05
"""A piece of an answer: some ten times what a request takes here."""
REFUSALS = 40
CUTS, CUT_AFTER = 8, 300


def harm(store: Proxy, fault: Fault, now: float) -> Hit:
    match fault.kind.how:
        case "lose":
            store.away = True
        case "slow":
            store.delay = SLOWER_S
        case "refuse":
            store.refusals = REFUSALS
        case "cut":
            store.cuts, store.cut_after = CUTS, CUT_AFTER
        case how:
            raise ValueError(f"nothing that is known to go wrong with a store: {how}")
    return Hit(fault, now, (fault.kind.what,), ())


def heal(store: Proxy, fault: Fault) -> None:
    match fault.kind.how:
        case "lose":
            store.away = False
        case "slow":
            store.delay = 0.0
        case "refuse":
            store.refusals = 0
        case "cut":
            store.cuts = 0
