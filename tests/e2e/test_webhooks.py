"""Webhooks on the real line: set up with the official client, and delivered though everybody dies in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr

from gateway.api_keys import new_key
from infra.local import ports
from operations.tenants import put_key
from tests.e2e.conftest import Line
from tests.e2e.test_cli import run
from tests.processes import Service, services
from tests.receiver import Receiver
from tests.support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.filterwarnings("ignore:The Sora API is scheduled")]

PROMPT = "a yellow triangle moving left on a green background"
PACE = 0.002
"""Attempts at once, after 0.01 s, 0.6 s, 3.6 s, 14 s."""


@pytest.fixture(scope="module")
def running(whole: Line) -> Iterator[dict[str, Service]]:
    [port] = ports.choose([0])
    own = {
        "gateway_port": port, "webhook_allow": "127.0.0.0/8:*", "webhook_pace": PACE,
        "webhook_secret": SecretStr("of these tests alone"),
    }  # fmt: skip
    with services(whole.settings.model_copy(update=own), gateway="gateway", notifier="notifier") as running:
        yield running


@pytest.fixture
def client(running: dict[str, Service], line_of_all: Line) -> Iterator[openai.OpenAI]:
    """Of a tenant that nobody else makes jobs for."""
    settings = running["gateway"].settings
    key, kept = new_key("receivers", "test", time.time(), settings)
    put_key(settings, kept)
    with openai.OpenAI(base_url=f"http://127.0.0.1:{settings.gateway_port}/v1", api_key=key) as client:
        eventually(lambda: is_known(client))
        yield client


def is_known(client: openai.OpenAI) -> bool:
    try:
        return client.webhooks.list().data == []
    except openai.AuthenticationError:
        return False


def test_an_end_arrives_once_though_receiver_and_notifier_were_down(
    client: openai.OpenAI, running: dict[str, Service], line_of_all: Line
) -> None:
    headers = {"authorization": f"Bearer {client.api_key}"}
    with Receiver() as receiver, httpx.Client(base_url=str(client.base_url), headers=headers, timeout=30) as http:
        endpoint = client.webhooks.create(
            name="shop", url=f"{receiver.url}/hooks", event_types=["video.completed", "video.failed"]
        )
        log = f"webhook_endpoints/{endpoint.id}/deliveries"
        assert client.webhooks.test(endpoint.id, event_type="video.failed").status_code == 204
        [sample] = receiver.verified("/hooks", endpoint.signing_secret)
        receiver.down()
        hook = f"{receiver.url}/one"
        job = client.videos.create(prompt=PROMPT, extra_body={"seed": 8100, "webhook_url": hook}).id

        eventually(lambda: len(http.get(log).json()["data"][0]["attempts"]) >= 2)
        running["notifier"].kill()
        [delivery, _] = http.get(log).json()["data"]
        assert (delivery["video_id"], delivery["status"]) == (job, "pending")
        receiver.up()
        running["notifier"].start()

        eventually(lambda: set(receiver.paths()) == {"/hooks", "/one"})
        eventually(lambda: http.get(log).json()["data"][0]["status"] == "delivered")
        [_, ended] = receiver.verified("/hooks", endpoint.signing_secret)
        assert (ended["type"], ended["data"]["id"], sample["type"]) == ("video.completed", job, "video.failed")
        tenant = http.get("webhooks/default/secret").json()["key"]
        assert receiver.verified("/one", tenant) == [ended]
        eventually(lambda: http.get(f"videos/{job}/deliveries").json()["data"][0]["status"] == "delivered")

        again = http.post(f"{log}/{delivery['id']}/redeliver")
        assert again.status_code == 202
        eventually(lambda: receiver.paths().count("/hooks") == 3)
        assert receiver.requests[-1][1]["webhook-id"] == ended["id"] == delivery["event_id"]
        assert client.webhooks.delete(endpoint.id).deleted

        overlap = {"keep_old_secret_active_for_24_hours": True}
        rotated = http.post("webhooks/default/rotate_secret", json=overlap).json()["key"]
        remix = client.videos.remix(job, prompt=PROMPT, extra_body={"webhook_url": f"{receiver.url}/remix"}).id
        eventually(lambda: "/remix" in receiver.paths())
        for secret in (tenant, rotated):
            assert [event["data"]["id"] for event in receiver.verified("/remix", secret)] == [remix]
        said = run(line_of_all, "tenants", "rotate-secret", "receivers", "--at-once")
        assert "number 3; the one before signs no more" in said
        eventually(lambda: http.get("webhooks/default/secret").json()["key"] not in (tenant, rotated))


def test_an_endpoint_that_asks_for_all_is_told_how_far_and_then_what_the_gateway_answers(client: openai.OpenAI) -> None:
    headers = {"authorization": f"Bearer {client.api_key}"}
    with Receiver() as receiver, httpx.Client(base_url=str(client.base_url), headers=headers, timeout=30) as http:
        wanted = {"url": f"{receiver.url}/all", "payload": "full", "event_types": ["video.completed", "video.progress"]}
        endpoint = http.post("webhook_endpoints", json=wanted).json()
        fields = {"seed": 8200, "num_inference_steps": 60}
        job = client.videos.create(prompt=PROMPT, extra_body=fields).id

        def said() -> list[dict[str, Any]]:
            return receiver.verified("/all", endpoint["signing_secret"])

        eventually(lambda: any(event["type"] == "video.completed" for event in said()), 120)
        *news, end = [event["data"] for event in said()]
        assert end.pop("sequence") == 100
        assert end == http.get(f"videos/{job}").json()
        tens = [each["sequence"] for each in news]
        assert tens == sorted(set(tens))
        assert 1 <= len(tens) <= 9
        for each in news:
            assert (each["id"], each["status"]) == (job, "in_progress")
            assert each["sequence"] <= each["progress"] < each["sequence"] + 10
        denoised = [each["x_latentline"] for each in news if each["x_latentline"]["stage"] == "denoise"]
        assert {each["steps_total"] for each in denoised} == {60}
        assert client.webhooks.delete(endpoint["id"]).deleted
