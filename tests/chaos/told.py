"""Who is told of the ends of jobs in a chaos run: two tenants' endpoints at a receiver that fails now and then."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from runtime.settings import Settings
from schemas import envelope
from schemas.events.completions import Completion, JobCompleted
from schemas.webhooks import COMPLETED, FAILED, WebhookEndpoint
from streams.kafka import clients
from streams.kafka.topics import ENDPOINTS
from tests.receiver import Receiver
from webhooks import secrets as keys

TOLD = ("acme", "globex")
FAILS = 0.1
PACE = 0.02
"""The waits between attempts, of what they are in production: 0.1 s, 6 s, 36 s."""


def configure() -> None:
    """For processes that are started from here on: they may reach loopback, and sign with a secret of this run."""
    os.environ["LATENTLINE_WEBHOOK_ALLOW"] = "127.0.0.0/8:*"
    os.environ["LATENTLINE_WEBHOOK_PACE"] = str(PACE)
    os.environ["LATENTLINE_WEBHOOK_SECRET"] = secrets.token_hex(32)


def endpoint_of(tenant: str, url: str) -> WebhookEndpoint:
    id = f"we_{tenant.encode().hex():0>32}"
    return WebhookEndpoint(
        id=id, tenant=tenant, url=f"{url}/{tenant}", event_types=(COMPLETED, FAILED), created_at=1.0, updated_at=1.0
    )


@dataclass(frozen=True)
class News:
    """What a receiver took: one event of one job."""

    event: str
    type: str
    job: str


class Ears(Receiver):
    """Takes nine requests in ten; `news` is what it took, in the order of coming."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.news: list[News] = []
        self.root = SecretStr("")
        self._random = Random(f"receiver {seed}")

    def listen(self, settings: Settings) -> None:
        """Ask the line to tell of every end. Returns when the broker has it."""
        self.root = settings.webhook_secret
        producer = clients.producer(clients.PRODUCER, settings)
        for tenant in TOLD:
            endpoint = endpoint_of(tenant, self.url)
            value, headers = envelope.write(endpoint, id=endpoint.id, source="chaos", time=time.time())
            producer.produce(ENDPOINTS.named(settings.topic_prefix), value, endpoint.id, headers=[*headers])
        assert producer.flush(30) == 0, "the broker has not taken the endpoints"

    @property
    def secrets(self) -> list[str]:
        """What signs, and what that is derived from."""
        signing = [keys.secret_of_endpoint(self.root, endpoint_of(tenant, self.url)) for tenant in TOLD]
        return [self.root.get_secret_value(), *signing]

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """500 for one in ten, and for what is not signed by the line: that end then counts as untold."""
        if self._random.random() < FAILS:
            return 500
        endpoint = endpoint_of(path.removeprefix("/"), self.url)
        try:
            said = Webhook(keys.secret_of_endpoint(self.root, endpoint)).verify(body, headers)
        except WebhookVerificationError:
            return 500
        self.news.append(News(headers["webhook-id"], said["type"], said["data"]["id"]))
        return 204


@dataclass(frozen=True)
class Told:
    """Of the ends that somebody wanted to hear of: how many, which reached nobody, how many came more than once.

    `split`: jobs whose end came under more than one webhook-id, by which a receiver would tell repeats.
    """

    owed: int = 0
    untold: tuple[str, ...] = ()
    repeated: int = 0
    split: tuple[str, ...] = ()


def told_of(news: Sequence[News], completions: Sequence[Completion]) -> Told:
    owed = {
        (end.job, COMPLETED if isinstance(end, JobCompleted) else FAILED) for end in completions if end.tenant in TOLD
    }
    heard = Counter((each.job, each.type) for each in news)
    events = Counter(job for job, _ in {(each.job, each.event) for each in news})
    return Told(
        owed=len(owed),
        untold=tuple(sorted(job for job, _ in owed - heard.keys())),
        repeated=sum(count > 1 for count in heard.values()),
        split=tuple(sorted(job for job, count in events.items() if count > 1)),
    )
