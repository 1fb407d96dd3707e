"""The real broker and store, started once a test run on free ports; each test gets its own topics and bucket."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.local import topics
from infra.local.minio import apply_bucket
from infra.local.stack import Stack
from streams.settings import Settings

_numbers = itertools.count()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and MinIO alone, no services."""
    stack = Stack(Path(tmp_path_factory.mktemp("stack")))
    stack.up(services=(), any_ports=True, stays=False)
    yield stack
    stack.down(wipe=True)


@pytest.fixture
def line(stack: Stack, tmp_path: Path) -> Settings:
    return new_line(stack, tmp_path / "data")


def new_line(stack: Stack, data: Path) -> Settings:
    """Settings of a fresh line on the shared broker and store: own topic prefix, own bucket."""
    from minio import Minio

    environment = stack.environment()
    prefix = f"t{os.getpid()}-{next(_numbers)}."
    settings = Settings(
        data_dir=data,
        kafka_bootstrap=environment["LATENTLINE_KAFKA_BOOTSTRAP"],
        topic_prefix=prefix,
        store_endpoint=environment["LATENTLINE_STORE_ENDPOINT"],
        store_access_key=environment["LATENTLINE_STORE_ACCESS_KEY"],
        store_secret_key=SecretStr(environment["LATENTLINE_STORE_SECRET_KEY"]),
        store_bucket=prefix.rstrip(".").lower(),
    )
    topics.apply(settings.kafka_bootstrap, prefix)
    client = Minio(
        endpoint=settings.store_endpoint, access_key=settings.store_access_key,
        secret_key=settings.store_secret_key.get_secret_value(), secure=False,
    )  # fmt: skip
    apply_bucket(client, settings.store_bucket)
    return settings
