"""Clients of other makers make real videos: each version of the official one, which fetches them, and LiteLLM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from infra.local import ports
from runtime.settings import DEFAULT_KEY
from tests.clients import SDKS
from tests.clients.ran import CHECKS, ran
from tests.e2e.conftest import Line
from tests.processes import Service, services

pytestmark = [pytest.mark.broker, pytest.mark.long]


class Store(ThreadingHTTPServer):
    """As strict as S3: a signed link that comes with a key beside it is refused, where MinIO looks away."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Download)


class Download(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("authorization"))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *arguments: object) -> None:
        """Quietly."""


@contextmanager
def strict_store() -> Iterator[Store]:
    with Store() as store:
        Thread(target=store.serve_forever, daemon=True).start()
        yield store
        store.shutdown()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with strict_store() as store:
        yield store


@pytest.fixture(scope="module")
def redirecting(whole: Line, store: Store) -> Iterator[Service]:
    """A gateway whose signed links lead to the strict store."""
    [port] = ports.choose([0])
    own = {"gateway_port": port, "store_public_endpoint": f"127.0.0.1:{store.server_port}"}
    with services(whole.settings.model_copy(update=own), redirecting="gateway") as running:
        yield running["redirecting"]


def given(gateway: Service) -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{gateway.settings.gateway_port}/v1", "key": DEFAULT_KEY}


@pytest.mark.parametrize("version", SDKS)
def test_each_version_makes_and_fetches_a_video(
    redirecting: Service, line_of_all: Line, store: Store, version: str
) -> None:
    ran(f"openai-{version}", given(redirecting), "a_video_is_made_and_fetched")
    assert store.keys.pop() is None


def test_litellm_makes_a_video_and_sees_its_end(redirecting: Service, line_of_all: Line) -> None:
    """It fetches none: `video_content` of LiteLLM 1.80.0 names `api_base` among its parameters and drops it (only what
    is left in `kwargs` reaches the request), so it would ask api.openai.com, and show it the key of this line."""
    ran("litellm", given(redirecting), script=CHECKS.with_name("lite.py"))
