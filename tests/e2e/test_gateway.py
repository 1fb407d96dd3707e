"""The HTTP gateway on the real line: the official client, and what plain HTTP shows of it."""

from __future__ import annotations

import io
import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import orjson
import pytest
from PIL import Image

from infra.local import ports
from runtime.settings import DEFAULT_KEY
from schemas.digest import sha256
from stages.media.h264 import probe
from streams.kafka.topics import PROMPTS
from tests.clients.relay import troubled
from tests.e2e.conftest import Line
from tests.e2e.test_cli import objects, run
from tests.processes import Service, services, states_of, tail
from tests.support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.filterwarnings("ignore:The Sora API is scheduled")]

PROMPT = "a white square moving up on a purple background"
LONG = {"num_inference_steps": 1000}
"""Steps of a denoise that lasts until it is stopped."""


@pytest.fixture(scope="module")
def gateway(whole: Line) -> Iterator[Service]:
    [port] = ports.choose([0])
    settings = whole.settings.model_copy(update={"gateway_port": port})
    with services(settings, gateway="gateway") as running:
        yield running["gateway"]


def base_of(gateway: Service) -> str:
    return f"http://127.0.0.1:{gateway.settings.gateway_port}/v1"


def http_of(gateway: Service, key: str = DEFAULT_KEY) -> httpx.Client:
    return httpx.Client(base_url=base_of(gateway), headers={"authorization": f"Bearer {key}"}, timeout=30)


@pytest.fixture
def client(gateway: Service, line_of_all: Line) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_of(gateway), api_key=DEFAULT_KEY) as client:
        yield client


@pytest.fixture
def http(gateway: Service, line_of_all: Line) -> Iterator[httpx.Client]:
    with http_of(gateway) as client:
        yield client


def test_the_official_client_makes_fetches_lists_and_deletes_a_video(
    client: openai.OpenAI, http: httpx.Client, line_of_all: Line
) -> None:
    made = client.videos.create(
        prompt=PROMPT, model="tiny", seconds="2", size="64x64",  # type: ignore[arg-type]
        extra_body={"seed": 61, "metadata": {"order": "7"}},
    )  # fmt: skip
    assert (made.status, made.progress, made.size, made.model) == ("queued", 0, "64x64", "tiny")
    done = client.videos.poll(made.id)
    assert (done.status, done.progress, done.prompt, done.error) == ("completed", 100, PROMPT, None)
    # The client's own type knows four sizes and does not insist on them.
    type(done).model_validate(done.model_dump() | {"size": "720x1280"}, strict=True)
    extension = done.model_dump()["x_latentline"]
    assert (extension["seed"], extension["metadata"]) == (61, {"order": "7"})
    stages = [(stage["stage"], stage["state"]) for stage in extension["stages"]]
    assert stages == [(stage, "done") for stage in ("encode", "denoise", "decode", "mux")]
    video = client.videos.download_content(made.id).read()
    assert probe(video).frames == 17
    assert client.videos.download_content(made.id, variant="thumbnail").read()[8:12] == b"WEBP"
    assert made.id in [each.id for each in client.videos.list(limit=1)]
    assert client.videos.delete(made.id).model_dump() == {"id": made.id, "object": "video.deleted", "deleted": True}
    for gone in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.NotFoundError):
            gone(made.id)
    eventually(lambda: (state := line_of_all.state(made.id)) is not None and state.status == "deleted")
    assert len(line_of_all.ends(made.id)) == 1


def test_both_encodings_are_one_request_and_a_key_is_one_job(http: httpx.Client, line_of_all: Line) -> None:
    key = {"idempotency-key": uuid.uuid4().hex}
    fields = {"prompt": PROMPT, "seed": "6200", "size": "64x64"}
    first = http.post("/videos", data=fields, headers=key)
    again = http.post("/videos", json={"prompt": PROMPT, "seed": 6200, "size": "64x64"}, headers=key)
    assert (first.status_code, again.status_code, first.json()["id"]) == (200, 200, again.json()["id"])
    assert http.get("/videos", params={"limit": 1}).json()["first_id"] == first.json()["id"]
    other = http.post("/videos", json={"prompt": PROMPT}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"
    line_of_all.wait_for(first.json()["id"])
    with tail(line_of_all.settings, PROMPTS) as prompts:
        # Other tests have put there what is no event.
        asked = eventually(lambda: [value for _, value, _ in prompts.poll() if value and b'"seed":6200' in value])
    assert len(asked) == 1


def test_a_call_whose_connections_are_cut_is_one_job(gateway: Service, line_of_all: Line) -> None:
    with (
        troubled(gateway.settings.gateway_port, 2) as port,
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=DEFAULT_KEY) as client,
    ):
        made = client.videos.create(prompt=PROMPT, extra_body={"seed": 6301})
    line_of_all.wait_for(made.id)
    states = states_of(line_of_all.jobs.events()).values()
    assert [state.job for state in states if state.recipe and state.recipe.seed == 6301] == [made.id]


def sse(http: httpx.Client, job: str, last: str | None = None) -> Iterator[dict[str, Any]]:
    headers = {"last-event-id": last} if last else {}
    with http.stream("GET", f"/videos/{job}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line == "" and event:
                yield event
                event = {}
            elif name in ("event", "id", "data"):
                event[name] = orjson.loads(value) if name == "data" else value


def test_events_tell_steps_and_go_on_where_they_were_until_a_cancel_ends_them(http: httpx.Client) -> None:
    job = http.post("/videos", json={"prompt": PROMPT, "seed": 64, **LONG}).json()["id"]
    seen = []
    for event in sse(http, job):
        seen.append(event)
        if event["event"] == "progress" and event["data"]["x_latentline"]["step"]:
            break
    extension = seen[-1]["data"]["x_latentline"]
    assert (extension["stage"], extension["steps_total"], extension["attempt"]) == ("denoise", 1000, 1)
    assert seen[-1]["data"]["status"] == "in_progress"
    rest = sse(http, job, seen[-1]["id"])
    following = next(rest)
    assert following["data"]["x_latentline"]["step"] > extension["step"]
    assert http.get(f"/videos/{job}/content").json()["error"]["code"] == "video_not_ready"
    assert http.post(f"/videos/{job}/cancel").status_code == 200
    seen += [following, *rest]
    assert [event["event"] for event in seen].count("done") == 1
    assert (seen[-1]["data"]["status"], seen[-1]["data"]["error"]["code"]) == ("failed", "cancelled")
    assert seen[-1]["data"] == http.get(f"/videos/{job}").json()
    progress = [event["data"]["progress"] for event in seen]
    assert progress == sorted(progress)
    assert [moment["what"] for moment in http.get(f"/videos/{job}/timeline").json()["data"]][-1] == "cancelled"
    assert [event["event"] for event in sse(http, job)] == ["done"]
    assert http.get(f"/videos/{job}/events", headers={"last-event-id": seen[-1]["id"]}).status_code == 204


@pytest.fixture(scope="module")
def finished(gateway: Service, whole: Line) -> str:
    """A completed job."""
    with http_of(gateway) as http:
        job: str = http.post("/videos", json={"prompt": PROMPT, "seed": 65}).json()["id"]
    whole.wait_for(job)
    with http_of(gateway) as http:
        eventually(lambda: http.get(f"/videos/{job}").json()["status"] == "completed")
    return job


def test_a_player_can_seek(http: httpx.Client, finished: str) -> None:
    path = f"/videos/{finished}/content"
    whole = http.get(path)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    for asked, part in (("bytes=0-1", slice(0, 2)), ("bytes=100-199", slice(100, 200)), ("bytes=-7", slice(-7, None))):
        answer = http.get(path, headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, whole.content[part])
        assert answer.headers["content-range"].endswith(f"/{size}")
    beyond = http.get(path, headers={"range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    head = http.head(path)
    assert (head.headers["content-length"], head.content) == (str(size), b"")
    tag = whole.headers["etag"]
    assert http.get(path, headers={"if-none-match": tag}).status_code == 304
    assert http.get(path, headers={"range": "bytes=0-1", "if-range": '"other"'}).status_code == 200
    assert http.get(path, headers={"range": "bytes=0-1", "if-range": tag}).status_code == 206
    assert http.get(path, params={"delivery": "proxy"}).content == whole.content
    refused = http.get(path, params={"delivery": "redirect"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "delivery")


def test_a_link_to_the_store_is_handed_out_where_the_server_is_set_to(line_of_all: Line, finished: str) -> None:
    [port] = ports.choose([0])
    settings = line_of_all.settings.model_copy(update={"gateway_port": port, "gateway_delivery": "redirect"})
    with services(settings, linking="gateway") as running, http_of(running["linking"]) as http:
        path = f"/videos/{finished}/content"
        link = http.get(path)
        assert link.status_code == 302
        stored = httpx.get(link.headers["location"], headers={"range": "bytes=0-1"})
        assert stored.status_code == 206
        assert stored.headers["content-disposition"] == f'inline; filename="{finished}.mp4"'
        passed = http.get(path, params={"delivery": "proxy"}, headers={"range": "bytes=0-1"})
        assert (passed.status_code, passed.content) == (206, stored.content)


def test_beside_the_film_there_are_frames_of_it_and_what_was_promised(http: httpx.Client, finished: str) -> None:
    def content(variant: str) -> httpx.Response:
        return http.get(f"/videos/{finished}/content", params={"variant": variant})

    variants = http.get(f"/videos/{finished}").json()["x_latentline"]["variants"]
    assert variants == ["video", "thumbnail", "spritesheet", "manifest"]
    sheet = content("spritesheet")
    assert (sheet.headers["content-type"], Image.open(io.BytesIO(sheet.content)).size) == ("image/jpeg", (320, 256))
    promised = {ref["name"]: ref["sha256"] for ref in content("manifest").json()["objects"]}
    assert promised["video"] == sha256(content("video").content)
    assert promised["spritesheet"] == sha256(sheet.content)
    assert content("preview").json()["error"]["code"] == "variant_not_available"


def test_a_remix_keeps_the_recipe_and_names_its_parent(client: openai.OpenAI, finished: str, line_of_all: Line) -> None:
    remix = client.videos.remix(finished, prompt="a white circle moving up on a purple background")
    parent = client.videos.retrieve(finished)
    assert (remix.remixed_from_video_id, remix.size, remix.seconds) == (finished, parent.size, parent.seconds)
    assert remix.model_dump()["x_latentline"]["seed"] == 65
    line_of_all.wait_for(remix.id)


def test_tenants_see_their_own_and_a_revoked_key_nothing(gateway: Service, line_of_all: Line, finished: str) -> None:
    key = run(line_of_all, "keys", "create", "borealis", "--name", "test").strip()
    with http_of(gateway, key) as borealis:
        eventually(lambda: borealis.get("/videos").status_code == 200)
        assert borealis.get("/videos").json()["data"] == []
        for path in ("", "/content", "/events", "/timeline"):
            assert borealis.get(f"/videos/{finished}{path}").status_code == 404
        [listed] = objects(run(line_of_all, "keys", "list", "--json"))
        assert (listed["tenant"], listed["name"], key in str(listed)) == ("borealis", "test", False)
        run(line_of_all, "keys", "revoke", listed["id"])
        eventually(lambda: borealis.get("/videos").status_code == 401)


def test_a_stream_ends_within_seconds_of_the_key_that_opened_it(gateway: Service, line_of_all: Line) -> None:
    key = run(line_of_all, "keys", "create", "borealis", "--name", "stream").strip()
    [listed] = [each for each in objects(run(line_of_all, "keys", "list", "--json")) if each["name"] == "stream"]
    with http_of(gateway, key) as borealis:
        eventually(lambda: borealis.get("/videos").status_code == 200)
        job = borealis.post("/videos", json={"prompt": PROMPT, "seed": 66, **LONG}).json()["id"]
        stream = sse(borealis, job)
        assert next(stream)["event"] == "status"
        run(line_of_all, "keys", "revoke", listed["id"])
        revoked = time.monotonic()
        assert "done" not in [event["event"] for event in stream]
        assert time.monotonic() - revoked < 5
        assert borealis.get(f"/videos/{job}/events").status_code == 401
    line_of_all.upstream.cancel(job, "borealis")
    line_of_all.wait_for(job)


def test_another_gateway_gives_the_same_answers_from_nothing(
    gateway: Service, http: httpx.Client, line_of_all: Line, finished: str
) -> None:
    gone = http.post("/videos", json={"prompt": PROMPT, "size": "64x64", "seed": 66, **LONG}).json()["id"]
    assert http.delete(f"/videos/{gone}").status_code == 200
    eventually(lambda: (state := line_of_all.state(gone)) is not None and state.status == "deleted")
    [port] = ports.choose([0])
    settings = gateway.settings.model_copy(update={"gateway_port": port})
    with services(settings, another="gateway") as running, http_of(running["another"]) as other:
        for path in (f"/videos/{finished}", "/videos?limit=2", "/videos?limit=100&order=asc", f"/videos/{gone}"):
            eventually(lambda path=path: other.get(path).json() == http.get(path).json())  # type: ignore[misc]
        assert gone not in [video["id"] for video in other.get("/videos?limit=100").json()["data"]]
        made = other.post("/videos", json={"prompt": PROMPT, "seed": 65}, headers={"idempotency-key": "both"}).json()
        line_of_all.wait_for(made["id"])
        eventually(lambda: http.get(f"/videos/{made['id']}").json()["status"] == "completed")
        replayed = http.post("/videos", json={"prompt": PROMPT, "seed": 65}, headers={"idempotency-key": "both"})
        assert replayed.json()["id"] == made["id"]
        running["another"].send_signal(signal.SIGTERM)
        assert running["another"].wait() == 0
