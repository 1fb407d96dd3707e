"""Two real S3 servers, MinIO and SeaweedFS: what the line asks of a store, it asks of both."""

from __future__ import annotations

import itertools
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from infra.local import bucket
from infra.local.ports import HOST, choose, wait_until
from infra.local.process import Process, tail
from infra.local.stack import Stack
from stages.storage.artifacts import ArtifactStore

SERVERS = ("minio", "seaweedfs")
SEAWEEDFS_PARTS = ("master", "volume", "filer", "s3")
_numbers = itertools.count()


@dataclass(frozen=True)
class Server:
    endpoint: str
    access_key: str
    secret_key: str

    def client(self) -> Minio:
        return Minio(endpoint=self.endpoint, access_key=self.access_key, secret_key=self.secret_key, secure=False)

    def new_store(self) -> ArtifactStore:
        """A store in a bucket of its own, made as the line makes it."""
        name = f"conformance-{next(_numbers)}"
        bucket.apply(self.client(), name)
        return ArtifactStore.connect(self.endpoint, self.access_key, self.secret_key, name)

    def answers(self) -> bool:
        try:
            self.client().list_buckets()
        except (MinioException, HTTPError, OSError):
            return False
        return True


def seaweedfs_command(folder: Path, identities: Path, ports: list[int]) -> list[str]:
    """Master, volume, filer and S3 gateway in one process on loopback; a plain and a gRPC port each.

    Each bucket takes volumes of its own, and by default there are eight.
    """
    named = [
        f"-{part}.port{suffix}={port}"
        for (part, suffix), port in zip(itertools.product(SEAWEEDFS_PARTS, ("", ".grpc")), ports, strict=True)
    ]
    return [
        str(Path(sysconfig.get_path("scripts")) / "weed"), "server", "-s3", f"-s3.config={identities}",
        f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64",
        "-volume.max=500", f"-filer.localSocket={folder / 'filer.sock'}", *named,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = Path(tmp_path_factory.mktemp("weed"))
    keys = {"accessKey": "tester", "secretKey": "tester-secret"}
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [{"name": "t", "credentials": [keys], "actions": ["Admin"]}]}))
    ports = choose([0] * 2 * len(SEAWEEDFS_PARTS))
    server = Server(f"{HOST}:{ports[-2]}", keys["accessKey"], keys["secretKey"])
    log = folder / "weed.log"
    process = Process("seaweedfs", seaweedfs_command(folder, identities, ports), log, mark=str(folder))
    process.start()
    try:
        if not wait_until(server.answers, 60.0):
            pytest.fail(f"SeaweedFS did not start within 60 s:\n{tail(log)}")
        yield server
    finally:
        process.clear()


@pytest.fixture(scope="session")
def minio(stack: Stack) -> Server:
    environment = stack.environment()
    names = ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")
    return Server(*(environment[f"LATENTLINE_STORE_{name}"] for name in names))


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture
def store(server: Server) -> ArtifactStore:
    return server.new_store()
