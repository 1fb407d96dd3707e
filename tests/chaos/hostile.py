"""A tenant who means harm, in a chaos run: what it sends by both doors, drawn from a seed, beside the faults.

Whatever it does costs its own jobs alone: those of the other tenants all complete, and the line never stands still for
them for longer than `STANDSTILL_BOUND_S`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import orjson
from confluent_kafka import KafkaException, Producer

from runtime.settings import DEFAULT_KEY, Settings
from schemas import envelope
from schemas.envelope import Headers
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.stage_keys import job_id
from streams.kafka import clients
from streams.kafka.topics import PROMPTS

TENANT = "mallory"
FIRST_S, GAP_S = 10.0, (10.0, 30.0)
STANDSTILL_BOUND_S = 130.0
"""The broker ends an open transaction after 60 s and looks for such every 10 s; a fault at its end costs a minute."""
UNPACKED_BYTES = 120_000_000
TRANSACTION_MS = 60_000
IMPOSSIBLE_SIZES = ("2048x32", "1040x48", "32x2048", "28800x32", "65536x65536", "0x0")
ESCAPES = "\x1b]0;owned\x07\x1b[2J"


@dataclass(frozen=True)
class Attack:
    """What is sent, `at` seconds after the start."""

    at: float
    name: str


@dataclass(frozen=True)
class Harm:
    """What was sent, by name, and what could not be; answers that blamed the line; for how long the others stood still,
    in seconds."""

    sent: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    standstill: float = 0.0


@dataclass
class Hostile:
    """Sends attacks from threads of its own: none of them may delay what the others send."""

    settings: Settings
    receiver: str
    """URL of a receiver that answers `100 Continue` without end."""
    sent: list[str] = field(default_factory=list)
    """Names of the attacks, as often as each was sent."""
    unsent: list[str] = field(default_factory=list)
    """Attacks that could not be made, with the reason."""
    faults: list[str] = field(default_factory=list)
    """Answers of the gateway that blame the line."""
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "hostile"))

    def strike(self, attack: Attack) -> None:
        """Returns at once."""
        self.sent.append(attack.name)
        self._pool.submit(self._attack, attack.name)

    def _attack(self, name: str) -> None:
        try:
            ATTACKS[name](self)
        except Exception as error:
            # A fault may have struck the broker just then: that is to be told, and no promise of the line.
            self.unsent.append(f"{name}: {error!r}")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def post(self, path: str, **request: Any) -> None:
        """To the gateway, which a fault may have struck: no answer at all is none of its faults."""
        url = f"http://127.0.0.1:{self.settings.gateway_port}/v1{path}"
        headers = {"authorization": f"Bearer {DEFAULT_KEY}"} | dict(request.pop("headers", {}))
        with suppress(httpx.HTTPError):
            answer = httpx.post(url, headers=headers, timeout=60, **request)
            if answer.status_code == 500:
                self.faults.append(f"{path} answered 500: {answer.text[:200]}")

    def produce(self, *values: bytes, headers: Headers | None = None, **more: Any) -> None:
        """Into `prompts`, whatever the broker says to it."""
        producer = clients.producer(clients.PRODUCER, self.settings, **more)
        for value in values:
            with suppress(KafkaException, BufferError):
                about = headers if headers is not None else prompt_headers()
                producer.produce(PROMPTS.named(self.settings.topic_prefix), value, TENANT, 0, headers=[*about])
        producer.flush(60)


def attacks(seed: int, seconds: float) -> list[Attack]:
    """Until so many seconds after the start: from a shuffled deck of all, then the next one."""
    random, at, found = Random(f"hostile {seed}"), FIRST_S, list[Attack]()
    deck: list[str] = []
    while at < seconds:
        if not deck:
            deck = random.sample([*ATTACKS], len(ATTACKS))
        found.append(Attack(at, deck.pop()))
        at += random.uniform(*GAP_S)
    return found


def prompt_headers(id: str | None = None, source: str = "hostile") -> Headers:
    event = PromptSubmitted(prompt="x", tenant=TENANT)
    _, headers = envelope.write(event, id=id or uuid.uuid4().hex, source=source, time=0.0)
    return headers


def body(**fields: object) -> bytes:
    """A prompt event as no client of ours would write it."""
    return orjson.dumps({"prompt": "a red circle", "tenant": TENANT, "num_inference_steps": 2} | fields)


# -- attacks ------------------------------------------------------------------------------------------------------


def large_state(hostile: Hostile) -> None:
    """Metadata as large as the cap of a job's state, in its names and in its values."""
    for metadata in ({"n" * 260_079: "v"}, {f"{n}" + "n" * 60_000: "v" * 500 for n in range(4)}):
        hostile.post("/videos", json={"prompt": "a red circle", "metadata": metadata})
        hostile.produce(body(metadata=metadata))


def packed_zeros(hostile: Hostile) -> None:
    """A batch of some kilobytes that unpacks to more than any reader takes."""
    hostile.produce(
        bytes(UNPACKED_BYTES), message_max_bytes=400_000_000, batch_size=400_000_000, compression_type="zstd"
    )


def combining_marks(hostile: Hostile) -> None:
    """Text whose normal form takes quadratic time to find."""
    hostile.post("/videos", json={"prompt": "a" + "\u0301\u0327" * 50_000})
    hostile.produce(body(prompt="a" + "\u0301\u0327" * 120_000))


def strange_bodies(hostile: Hostile) -> None:
    """Charsets that decode slowly or not at all, and JSON that is all nesting or all keys."""
    for charset in ("punycode", "unicode_escape", "utf-7", "idna", "undefined"):
        part = f'--x\r\ncontent-disposition: form-data; name="prompt"\r\ncontent-type: text/plain; charset={charset}'
        form = part.encode() + b"\r\n\r\n" + b"a" * 100_000 + b"\r\n--x--\r\n"
        hostile.post("/videos", content=form, headers={"content-type": "multipart/form-data; boundary=x"})
    nested = b'{"prompt":' * 700_000
    keys = b'{"prompt":"x",' + b",".join(b'"k%d":1' % n for n in range(500_000)) + b"}"
    for text in (nested, keys):
        hostile.post("/videos", content=text, headers={"content-type": "application/json"})
    form_type = {"content-type": "application/x-www-form-urlencoded"}
    hostile.post("/videos", content=b"prompt=" + b"%41" * 2_500_000, headers=form_type)


def impossible_sizes(hostile: Hostile) -> None:
    """Sizes that no model makes: were they taken, each would be a failure of its stage."""
    for size in IMPOSSIBLE_SIZES:
        hostile.post("/videos", json={"prompt": "a red circle", "size": size, "num_frames": 1})
        hostile.produce(body(size=size, num_frames=1))


def open_transaction(hostile: Hostile) -> None:
    """A transaction on `prompts` that nobody ends: readers of what is committed wait for the broker to do it."""
    name = f"hostile-{uuid.uuid4().hex}"
    producer = Producer(clients.config(clients.PRODUCER, hostile.settings) | {
        "transactional.id": name, "transaction.timeout.ms": TRANSACTION_MS,
    })  # fmt: skip
    producer.init_transactions(30)
    producer.begin_transaction()
    topic = PROMPTS.named(hostile.settings.topic_prefix)
    producer.produce(topic, body(), TENANT, 0, headers=[*prompt_headers()])
    producer.flush(30)


def endless_receivers(hostile: Hostile) -> None:
    """Ends that are to be told to receivers that never come to an answer, and to names that nobody has."""
    for number in range(20):
        url = f"{hostile.receiver}/{number}" if number % 2 else f"https://host-{number}.invalid/"
        hostile.produce(body(fps=-1, webhook_url=url, idempotency_key=uuid.uuid4().hex))


def odd_values(hostile: Hostile) -> None:
    """What standard producers and careless clients send: taken, or refused by name."""
    for fields in ({"seed": -1}, {"seed": 2**64}, {"num_frames": 1.0}, {"model": None}, {"prompt": "\u200b\u2060"}):
        hostile.post("/videos", json={"prompt": "a red circle", "num_inference_steps": 2} | fields)
    surrogate = b'{"tenant":"' + TENANT.encode() + b'","prompt":"\\ud800"}'
    bom = b"\xef\xbb\xbf" + body()
    hostile.produce(surrogate, bom, b"", b"null", b"[]", b"\xff" * 1000)
    hostile.post("/videos", content=surrogate, headers={"content-type": "application/json"})


def foreign_jobs(hostile: Hostile) -> None:
    """Ends for jobs of nobody, with a reason that would speak to the operator's terminal."""
    cancel = CancelRequested(job=job_id("acme", uuid.uuid4().hex), tenant=TENANT)
    _, headers = envelope.write(cancel, id=uuid.uuid4().hex, source="hostile", time=0.0)
    reason = orjson.dumps({"job": cancel.job, "tenant": TENANT, "reason": ESCAPES})
    hostile.produce(reason, headers=headers)
    for number in range(3):
        hostile.produce(body(metadata={"m": ESCAPES}), headers=prompt_headers(str(number), f"service-{number}"))


ATTACKS: Mapping[str, Callable[[Hostile], None]] = {
    each.__name__.replace("_", " "): each
    for each in (
        large_state,
        packed_zeros,
        combining_marks,
        strange_bodies,
        impossible_sizes,
        open_transaction,
        endless_receivers,
        odd_values,
        foreign_jobs,
    )
}
