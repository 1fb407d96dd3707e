"""What upstream services send, drawn from a seed: mostly short jobs, some long ones, and what people get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.stage_keys import job_id

TENANTS = ("acme", "globex", "initech", "umbrella")
COLOURS, SHAPES, WAYS = ("red", "green", "blue", "yellow"), ("circle", "square"), ("left", "right", "up", "down")
EVERY_LONG = 20
SHORT_STEPS, LONG_STEPS = (2, 6), (650, 850)
"""Of the tiny model on one core: a second, and some 15."""
CANCELLED, REPEATED, WRONG = 0.08, 0.08, 0.04
LONGEST_DELAY_S = 15.0


@dataclass(frozen=True, order=True)
class Order:
    """A record for `prompts`, `at` seconds after the start. `job`: whose end it leads to; None for none."""

    at: float
    id: str
    value: bytes = field(compare=False)
    headers: Headers = field(compare=False)
    job: str | None = field(compare=False, default=None)
    cancels: bool = field(compare=False, default=False)


def workload(seed: int, jobs: int, seconds: float) -> list[Order]:
    """So many jobs in so many seconds, in the order of sending; the same for the same seed."""
    random = Random(f"workload {seed}")
    return sorted(order for number in range(jobs) for order in orders(random, seed, number, seconds * number / jobs))


def orders(random: Random, seed: int, number: int, at: float) -> Iterator[Order]:
    """A job, and what else somebody sends about it: the same once more, a cancel, something wrong."""
    asked = prompt(random, seed, number)
    job = job_id(asked.tenant, asked.idempotency_key or "")
    yield order(at, f"{seed}-{number}", asked, job)
    if random.random() < REPEATED:
        yield order(at + random.uniform(0, LONGEST_DELAY_S), f"{seed}-{number}-again", asked, job)
    if random.random() < CANCELLED:
        cancel = CancelRequested(job=job, tenant=asked.tenant)
        yield order(at + random.uniform(0, LONGEST_DELAY_S), f"{seed}-{number}-cancel", cancel, job, cancels=True)
    if random.random() < WRONG:
        yield wrong(random, asked, f"{seed}-{number}-wrong", at)


def prompt(random: Random, seed: int, number: int) -> PromptSubmitted:
    is_long = number % EVERY_LONG == EVERY_LONG // 2
    words = f"a {random.choice(COLOURS)} {random.choice(SHAPES)} moving {random.choice(WAYS)} on a black background"
    return PromptSubmitted(
        prompt=words, tenant=random.choice(TENANTS), idempotency_key=f"{seed}-{number}", seed=random.randrange(2**32),
        num_inference_steps=random.randint(*(LONG_STEPS if is_long else SHORT_STEPS)),
        scheduler=random.choice(("unipc", None)),
    )  # fmt: skip


def wrong(random: Random, asked: PromptSubmitted, id: str, at: float) -> Order:
    """No JSON, another body under a known id, or a value that is out of range: two dead letters and a failed job."""
    kind = random.randrange(3)
    if kind == 0:
        good = order(at, id, asked)
        return Order(at, id, good.value[:-1], good.headers)
    if kind == 1:
        return order(at + 1, id, asked.model_copy(update={"prompt": "another body"}))
    bad = asked.model_copy(update={"fps": -1, "idempotency_key": id})
    return order(at, id, bad, job_id(bad.tenant, id))


def order(at: float, id: str, event: Frozen, job: str | None = None, cancels: bool = False) -> Order:
    value, headers = envelope.write(event, id=id, source="chaos", time=0.0)
    return Order(at, id, value, headers, job, cancels)
