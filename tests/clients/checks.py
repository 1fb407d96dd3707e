"""What is asked of the gateway through the official client, of whichever version: run by that version's Python.

    python checks.py '{"url": ..., "key": ...}' CHECK...

prints one JSON object: what went wrong by check, null where nothing did. Imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import openai

GIVEN: dict[str, str] = {}
"""`url` and `key`; `cutting` and `failing`: ways to the gateway that fail a call twice, see tests/clients/relay.py."""
LONG = {"num_inference_steps": 1000}
NONCE = uuid.uuid4().hex
PROMPT = f"a white square moving up on a purple background, {NONCE}"


def client_of(url: str = "", **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=url or GIVEN["url"], api_key=GIVEN["key"], **more)


def made(client: openai.OpenAI, prompt: str = PROMPT, **more: Any) -> Any:
    return client.videos.create(prompt=prompt, **more)


@contextmanager
def refused(kind: type[openai.APIStatusError], code: str, param: str | None = None) -> Iterator[None]:
    raised = None
    try:
        yield
    except kind as error:
        raised = error
    assert raised is not None, f"no {kind.__name__}"
    assert (raised.code, raised.param) == (code, param), (raised.code, raised.param)
    assert raised.response.headers["x-should-retry"] in ("true", "false")
    assert raised.request_id


def prompt_alone(client: openai.OpenAI) -> None:
    video = made(client)
    # The client's own type knows four sizes and does not insist on them.
    type(video).model_validate(video.model_dump() | {"size": "720x1280"}, strict=True)
    assert (video.status, video.progress, video.object, video.prompt) == ("queued", 0, "video", PROMPT)
    assert abs(video.created_at - time.time()) < 60
    assert video.id.startswith("video_")
    assert float(video.seconds) > 0
    assert "x" in video.size
    assert client.videos.retrieve(video.id).id == video.id


def one_request_in_every_encoding(client: openai.OpenAI) -> None:
    """As this version sends it, and as JSON: one key is one job only if both are the same request."""
    fields = {"seed": 7, "guidance_scale": 5.5, "metadata": {"order": "7", "where": "shop"}}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = made(client, extra_body=fields, extra_headers=key)
    again = made(client, extra_body=fields, extra_headers=key | {"Content-Type": "application/json"})
    assert first.id == again.id
    assert first.model_dump()["x_latentline"]["metadata"] == fields["metadata"]
    with refused(openai.BadRequestError, "unsupported_parameter", "input_reference"):
        made(client, input_reference=("cat.png", b"\x89PNG", "image/png"))


def a_poll_ends_with_the_cancel(client: openai.OpenAI) -> None:
    video = made(client, extra_body=LONG)
    cancel = threading.Timer(0.2, lambda: client.post(f"/videos/{video.id}/cancel", cast_to=object))
    cancel.start()
    ended = client.videos.poll(video.id)
    cancel.join()
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.code == "cancelled"


def polls_are_paced(client: openai.OpenAI) -> None:
    headers = client.videos.with_raw_response.retrieve(made(client).id).headers
    assert 1000 <= int(headers["openai-poll-after-ms"]) <= 10_000


def one_job_where_connections_are_cut(client: openai.OpenAI) -> None:
    one_job_through("cutting", client)


def one_job_where_503_comes_twice(client: openai.OpenAI) -> None:
    one_job_through("failing", client)


def one_job_through(way: str, client: openai.OpenAI) -> None:
    prompt = f"{way} {NONCE}"
    with client_of(GIVEN[way]) as troubled:
        video = made(troubled, prompt)
    assert [each.id for each in client.videos.list(limit=100) if each.prompt == prompt] == [video.id]


def a_key_is_one_job(client: openai.OpenAI) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: made(client, extra_headers=key).id, range(4)))
    assert len(ids) == 1
    with refused(openai.UnprocessableEntityError, "idempotency_key_reused", "Idempotency-Key"):
        made(client, "another prompt", extra_headers=key)


def pages_have_no_duplicate_and_no_gap(client: openai.OpenAI) -> None:
    mark = made(client).id
    before = [made(client, f"page {number}, {NONCE}").id for number in range(10)]
    for more, wanted in (({"order": "asc", "after": mark}, before), ({"order": "desc"}, before[::-1])):
        seen: list[str] = []
        for video in client.videos.list(limit=2, **more):
            seen.append(video.id)
            if video.id in before[::3]:
                # The model that ships reads 16 tokens.
                made(client, f"between pages, {video.id} {next(iter(more))} {more['order']}")
            if set(before) <= set(seen):
                break
        assert [each for each in seen if each in before] == wanted
        assert len(seen) == len(set(seen))


def remixes_name_their_parent(client: openai.OpenAI) -> None:
    first = made(client, extra_body={"seed": 9})
    second = client.videos.remix(first.id, prompt="a white circle moving up")
    third = client.videos.remix(second.id, prompt="a red circle moving up")
    assert (second.remixed_from_video_id, third.remixed_from_video_id) == (first.id, second.id)
    assert (third.size, third.seconds, third.model) == (first.size, first.seconds, first.model)
    assert third.model_dump()["x_latentline"]["seed"] == 9


def what_is_deleted_is_gone(client: openai.OpenAI) -> None:
    video = made(client)
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (video.id, "video.deleted", True)
    for gone in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with refused(openai.NotFoundError, "video_not_found", "video_id"):
            gone(video.id)
    assert video.id not in [each.id for each in client.videos.list(limit=100)]


def errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with refused(openai.BadRequestError, "invalid_value", "size"):
        made(client, size="63x64")
    with refused(openai.BadRequestError, "unknown_parameter", "sead"):
        made(client, extra_body={"sead": 1})
    with refused(openai.NotFoundError, "model_not_found", "model"):
        made(client, model="sora-2")
    with refused(openai.NotFoundError, "video_not_found", "video_id"):
        client.videos.retrieve("video_of_nobody")
    with refused(openai.NotFoundError, "video_not_ready", "video_id"):
        client.videos.download_content(made(client).id)
    began = time.monotonic()
    with refused(openai.InternalServerError, "not_implemented"):
        client.post("/videos/edits", cast_to=object)
    assert time.monotonic() - began < 5, "it was tried again"
    with (
        openai.OpenAI(base_url=GIVEN["url"], api_key="wrong") as stranger,
        refused(openai.AuthenticationError, "invalid_api_key"),
    ):
        stranger.videos.retrieve("video_of_nobody")


def models_are_listed(client: openai.OpenAI) -> None:
    [model] = client.models.list()
    assert client.models.retrieve(model.id) == model


def a_video_is_made_and_fetched(client: openai.OpenAI) -> None:
    done = client.videos.create_and_poll(prompt=f"a white square moving up on a purple background, {NONCE}")
    assert (done.status, done.progress, done.error) == ("completed", 100, None), done
    assert done.completed_at is not None
    video = client.videos.download_content(done.id).read()
    assert video[4:8] == b"ftyp"
    assert client.videos.download_content(done.id, extra_headers={"Range": "bytes=4-7"}).read() == b"ftyp"
    assert client.videos.download_content(done.id, variant="thumbnail").read()[8:12] == b"WEBP"
    client.videos.download_content(done.id, extra_query={"delivery": "redirect"}).read()
    with refused(openai.NotFoundError, "variant_not_available", "variant"):
        client.videos.download_content(done.id, variant="webm")  # type: ignore[arg-type]


CHECKS: dict[str, Callable[[openai.OpenAI], None]] = {
    check.__name__: check
    for check in (
        prompt_alone, one_request_in_every_encoding, a_poll_ends_with_the_cancel, polls_are_paced,
        one_job_where_connections_are_cut, one_job_where_503_comes_twice, a_key_is_one_job,
        pages_have_no_duplicate_and_no_gap, remixes_name_their_parent, what_is_deleted_is_gone,
        errors_are_the_clients_own, models_are_listed, a_video_is_made_and_fetched,
    )
}  # fmt: skip
NEED_NO_WORKER = tuple(name for name in CHECKS if name != "a_video_is_made_and_fetched")


def wrong_with(check: Callable[[openai.OpenAI], None]) -> str | None:
    try:
        with client_of() as client:
            check(client)
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    GIVEN.update(json.loads(sys.argv[1]))
    with ThreadPoolExecutor(4) as pool:
        wrong = pool.map(wrong_with, [CHECKS[name] for name in sys.argv[2:]])
        print(json.dumps(dict(zip(sys.argv[2:], wrong, strict=True))))
