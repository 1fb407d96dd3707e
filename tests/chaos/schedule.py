"""Which fault hits whom and when, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

WORKERS = ("encode", "denoise", "denoise-2", "denoise", "denoise-2", "decode", "mux")
"""Who is drawn, how often: most of the work is denoise."""
FIRST_S, GAP_S, LASTS_S, SERVER_STOP_S = 6.0, (5.0, 12.0), (10.0, 30.0), 20.0
SERVERS = ("kafka", "minio")
LASTING = ("stop", "lose", "slow", "refuse", "cut")
"""What is not done with at once: it ends after a while."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault. `how`: kill, term or stop; of the store also lose, slow, refuse and cut; corrupt or delete what
    lies in it. `what` is hit."""

    how: str
    what: str
    often: int = 1

    @property
    def name(self) -> str:
        return f"{self.how} {self.what}"


KINDS = (
    Kind("kill", "worker", 4), Kind("term", "worker", 2), Kind("stop", "worker", 2), Kind("kill", "two workers", 2),
    Kind("stop", "two workers"), Kind("kill", "all workers"), Kind("kill", "compute child", 4),
    Kind("term", "compute child"), Kind("stop", "compute child"), Kind("kill", "coordinator", 2),
    Kind("term", "coordinator"), Kind("stop", "coordinator"), Kind("kill", "standby"), Kind("term", "standby"),
    Kind("stop", "standby"), Kind("kill", "coordinator and worker"), Kind("kill", "views"), Kind("term", "views"),
    Kind("stop", "views"), Kind("kill", "kafka"), Kind("term", "kafka"), Kind("stop", "kafka"),
    Kind("kill", "minio"), Kind("term", "minio"), Kind("stop", "minio"),
    Kind("lose", "store"), Kind("slow", "store"), Kind("refuse", "store"), Kind("cut", "store"),
    Kind("kill", "gateway"), Kind("term", "gateway"), Kind("stop", "gateway"),
)  # fmt: skip
NOTIFIER_KINDS = (Kind("kill", "notifier"), Kind("term", "notifier"), Kind("stop", "notifier"))
NOTIFIER_GAP_S = (20.0, 60.0)
JANITOR_KINDS = (Kind("kill", "janitor"), Kind("term", "janitor"), Kind("stop", "janitor"))
JANITOR_GAP_S = (20.0, 60.0)
OUTPUT_KINDS = (
    Kind("corrupt", "object"), Kind("delete", "object"), Kind("corrupt", "manifest"), Kind("delete", "manifest"),
)  # fmt: skip
OUTPUT_GAP_S = (10.0, 30.0)
ALL_KINDS = (*KINDS, *NOTIFIER_KINDS, *JANITOR_KINDS, *OUTPUT_KINDS)


@dataclass(frozen=True)
class Fault:
    """`at` seconds after the start; `seconds`: how long it lasts. `workers`: drawn victims, where there are any."""

    at: float
    kind: Kind
    workers: tuple[str, ...] = ()
    seconds: float = 0.0


def schedule(seed: int, seconds: float) -> list[Fault]:
    """Faults until so many seconds after the start, in the order of time.

    Those of the notifier, the janitor and of outputs are drawn apart: what hits the rest under a seed does not depend
    on them.
    """
    line = drawn(Random(f"schedule {seed}"), KINDS, GAP_S, seconds)
    notifier = drawn(Random(f"notifier {seed}"), NOTIFIER_KINDS, NOTIFIER_GAP_S, seconds)
    janitor = drawn(Random(f"janitor {seed}"), JANITOR_KINDS, JANITOR_GAP_S, seconds)
    outputs = drawn(Random(f"outputs {seed}"), OUTPUT_KINDS, OUTPUT_GAP_S, seconds)
    return sorted((*line, *notifier, *janitor, *outputs), key=lambda fault: fault.at)


def drawn(random: Random, kinds: Sequence[Kind], gap_s: tuple[float, float], seconds: float) -> Iterator[Fault]:
    """From a shuffled deck of all kinds, then the next one."""
    at, deck = FIRST_S, shuffled(random, kinds)
    while at < seconds:
        yield fault(random, at, next(deck))
        at += random.uniform(*gap_s)


def shuffled(random: Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    while True:
        deck = [kind for kind in kinds for _ in range(kind.often)]
        random.shuffle(deck)
        yield from deck


def fault(random: Random, at: float, kind: Kind) -> Fault:
    first, second = random.choice(WORKERS), random.choice(WORKERS)
    hits_workers = kind.what in ("worker", "two workers", "compute child", "coordinator and worker")
    workers = (first, second) if kind.what == "two workers" else (first,) if hits_workers else ()
    lasts = random.uniform(*LASTS_S) if kind.how in LASTING else 0.0
    return Fault(at, kind, workers, SERVER_STOP_S if kind.how == "stop" and kind.what in SERVERS else lasts)
