"""Answers over HTTP, without a broker."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.dependencies import Gateway
from gateway.server.page import FOLDER
from tests.unit.gateway.samples import SOME, asked

PART = b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n'
JSON = {"content-type": "application/json"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code", "param"),
    [
        ("GET", SOME, {"key": None}, 401, "invalid_api_key", None),
        ("GET", SOME, {"key": "wrong"}, 401, "invalid_api_key", None),
        ("GET", SOME, {}, 404, "video_not_found", "video_id"),
        ("DELETE", f"{SOME}%00", {}, 404, "video_not_found", "video_id"),
        ("GET", f"{SOME}/content", {}, 404, "video_not_found", "video_id"),
        ("GET", f"{SOME}/events", {}, 404, "video_not_found", "video_id"),
        ("GET", "/v1/videos?limit=0", {}, 400, "invalid_value", "limit"),
        ("GET", "/v1/videos?order=up", {}, 400, "invalid_value", "order"),
        ("GET", "/v1/videos?after=video_1", {}, 400, "invalid_value", "after"),
        ("GET", "/v1/nothing", {}, 404, "not_found", None),
        ("PUT", "/v1/videos", {}, 405, "method_not_allowed", None),
        ("POST", "/v1/videos", {"content": b"{"}, 415, "unsupported_media_type", None),
        ("POST", "/v1/videos", {"content": b"{", "headers": {"content-type": "application/json"}},
         400, "invalid_json", None),
        ("POST", "/v1/videos", {"json": [1]}, 400, "invalid_json", None),
        ("POST", "/v1/videos", {"json": {}}, 400, "missing_required_parameter", "prompt"),
        ("POST", "/v1/videos", {"json": {"prompt": ""}}, 400, "invalid_value", "prompt"),
        ("POST", "/v1/videos", {"json": {"prompt": "a", "size": "63x64"}}, 400, "invalid_value", "size"),
        ("POST", "/v1/videos", {"json": {"prompt": "a", "model": "sora-2"}}, 404, "model_not_found", "model"),
        ("POST", "/v1/videos", {"json": {"prompt": "a"}, "headers": {"idempotency-key": "k" * 257}},
         400, "invalid_value", "Idempotency-Key"),
        ("POST", "/v1/videos", {"json": {"prompt": "a", "webhook_url": "https://127.0.0.1/"}},
         400, "invalid_value", "webhook_url"),
        ("POST", "/v1/videos", {"content": b"--x\r\nbroken", "headers": FORM},
         400, "missing_required_parameter", "prompt"),
        ("POST", "/v1/videos", {"files": {"input_reference": ("cat.png", b"png")}, "data": {"prompt": "a"}},
         400, "unsupported_parameter", "input_reference"),
        ("POST", "/v1/videos", {"content": b" " * (64 * 1024 + 1), "headers": {"content-type": "application/json"}},
         413, "request_too_large", None),
        ("POST", "/v1/videos", {"content": b"{}", "headers": {"content-type": "application/json; charset=punycode"}},
         415, "unsupported_media_type", "content-type"),
        ("POST", "/v1/videos", {"content": b" " * (8 * 1024**2 + 1), "headers": {"content-type": "application/json"}},
         413, "request_too_large", None),
        ("POST", "/v1/videos", {"content": b'{"prompt": "caf\xe9"}', "headers": JSON}, 400, "invalid_value", "prompt"),
        ("POST", "/v1/videos", {"content": b'{"prompt": "\\ud800"}', "headers": JSON}, 400, "invalid_value", "prompt"),
        ("POST", "/v1/videos", {"content": b"prompt=caf%e9", "headers": URLENCODED}, 400, "invalid_request", None),
        ("POST", "/v1/videos",
         {"content": PART + b"caf\xe9\r\n--x--\r\n", "headers": FORM},
         400, "invalid_request", None),
        ("POST", "/v1/videos", {"content": b"", "headers": {"content-encoding": "gzip"}},
         415, "unsupported_media_type", None),
        ("GET", "/v1/models/sora-2", {}, 404, "model_not_found", "model"),
        ("POST", "/v1/content_provenance_checks", {}, 501, "not_implemented", None),
        ("POST", "/v1/videos/edits", {}, 501, "not_implemented", None),
        ("POST", "/v1/videos/characters", {}, 501, "not_implemented", None),
    ],
)  # fmt: skip
def test_every_error_has_one_shape(
    gateway: Gateway, method: str, path: str, more: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = asked(gateway, method, path, **more)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_limits_speak_the_lines_own_words(gateway: Gateway) -> None:
    answer = asked(gateway, "POST", "/v1/videos", json={"prompt": "a", "size": "63x64"})
    assert answer.json()["error"]["message"] == (
        "size = '63x64': both sides must be multiples of 16; nearest valid value: 64x64"
    )


def test_an_unready_gateway_asks_for_patience(gateway: Gateway) -> None:
    starting = replace(gateway, feed=cast(Any, SimpleNamespace(is_caught_up=False)))
    answer = asked(starting, "GET", SOME)
    assert (answer.status_code, answer.headers["x-should-retry"], answer.headers["retry-after"]) == (503, "true", "1")


def test_models_say_what_they_allow(gateway: Gateway) -> None:
    [model] = asked(gateway, "GET", "/v1/models").json()["data"]
    assert (model["id"], model["x_latentline"]["limits"]["size_multiple"]) == ("tiny", 16)


def test_the_page_needs_no_key_and_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = asked(gateway, "GET", "/", key=None)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css"):
        assert name in page.text
    for file in FOLDER.iterdir():
        answer = asked(gateway, "GET", f"/{file.name}", key=None)
        assert (answer.status_code, "://" in answer.text) == ((404, False) if file.suffix == ".html" else (200, False))
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert asked(gateway, "GET", "/secrets", key=None).status_code == 404


def test_a_refused_method_says_which_there_are(gateway: Gateway) -> None:
    for path, methods in (("/v1/videos", "GET, POST"), (SOME, "DELETE, GET"), (f"{SOME}/content", "GET, HEAD")):
        answer = asked(gateway, "PATCH", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
