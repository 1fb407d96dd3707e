"""The real broker and store, started once a test run on free ports; each test gets its own topics and bucket."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import bucket, topics
from infra.local.plan import settings_in
from infra.local.stack import Stack
from runtime.settings import Settings

_numbers = itertools.count()

# A shell's background jobs ignore Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and MinIO alone, no services."""
    stack = Stack(Path(tmp_path_factory.mktemp("stack")))
    stack.up(services=(), any_ports=True, stays=False)
    yield stack
    stack.down(wipe=True)


@pytest.fixture
def line(stack: Stack, tmp_path: Path) -> Iterator[Settings]:
    settings = new_line(stack, tmp_path / "data")
    yield settings
    forget(settings)


def new_line(stack: Stack, data: Path) -> Settings:
    """Settings of a fresh line on the shared broker and store: own topic prefix, own bucket."""
    prefix = f"t{os.getpid()}-{next(_numbers)}."
    own = {"data_dir": data, "topic_prefix": prefix, "store_bucket": prefix.rstrip(".").lower()}
    settings = settings_in(stack.environment(), Settings()).model_copy(update=own)
    topics.apply(settings)
    bucket.apply(bucket.connect(settings), settings.store_bucket)
    return settings


def forget(settings: Settings) -> None:
    """Its topics go with the test: a broker that is killed reads every partition again before it answers anybody."""
    client = topics.admin(settings)
    names = [
        name for name in client.list_topics(timeout=topics.TIMEOUT).topics if name.startswith(settings.topic_prefix)
    ]
    for gone in client.delete_topics(names).values():
        gone.result(topics.TIMEOUT)
