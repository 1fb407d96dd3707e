"""Bodies of requests: bounded before the work, UTF-8 alone, and what is empty in a form is unset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from gateway.api import bodies, forms
from gateway.api.bodies import fields_of, object_of, received
from gateway.api.create_request import from_fields
from gateway.problems import Problem
from schemas.bounds import LARGEST_BODY_BYTES, MOST_FIELDS

FORM = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"
PIECE = 16 * 1024


def request(body: bytes, kind: str) -> Request:
    """Its body comes in pieces."""
    pieces = [body[begin : begin + PIECE] for begin in range(0, len(body), PIECE)] or [b""]

    async def messages() -> AsyncIterator[dict[str, Any]]:
        for number, piece in enumerate(pieces, 1):
            yield {"type": "http.request", "body": piece, "more_body": number < len(pieces)}

    told = messages()
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode("latin-1"))]}
    return Request(scope, lambda: anext(told))


def fields(body: bytes, kind: str) -> dict[str, Any]:
    return asyncio.run(fields_of(request(body, kind)))


def refused(body: bytes, kind: str) -> Problem:
    with pytest.raises(Problem) as raised:
        fields(body, kind)
    assert len(raised.value.message) < 400
    return raised.value


def part(name: str, value: bytes, kind: str = "", more: str = "") -> bytes:
    head = f'--x\r\ncontent-disposition: form-data; name="{name}"{more}\r\n' + (
        f"content-type: {kind}\r\n" if kind else ""
    )
    return head.encode() + b"\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join((*parts, b"--x--\r\n"))


def test_what_is_beyond_the_bound_is_read_and_not_kept() -> None:
    kept, size = asyncio.run(received(request(b"a" * 8_000_000, "application/json")))
    assert (len(kept), size) == (LARGEST_BODY_BYTES, 8_000_000)


@pytest.mark.parametrize("kind", ["application/json", URLENCODED, FORM])
def test_a_large_body_is_refused_before_anything_reads_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "parsed", pytest.fail)
    monkeypatch.setattr(forms, "parse_qsl", pytest.fail)
    problem = refused(b"%41" * 300_000, kind)
    assert problem.code == "request_too_large" if kind != FORM else problem.status in (400, 413)
    assert refused(form(part("prompt", b"a" * 100_000)), FORM).code == "request_too_large"


def test_a_large_file_is_refused_by_the_name_of_its_field() -> None:
    photo = part("input_reference", b"\xff" * 3_000_000, "image/png", '; filename="cat.png"')
    problem = refused(form(part("prompt", b"a"), photo), FORM)
    assert (problem.code, problem.param) == ("unsupported_parameter", "input_reference")


@pytest.mark.parametrize("codec", ["punycode", "unicode_escape", "utf-7", "idna", "undefined", "latin-1", "utf-16", ""])
def test_no_charset_but_utf_8_is_ever_looked_up(codec: str) -> None:
    text = form(part("prompt", b"a cat"))
    sent = {
        "content-type": refusal_of(text, f"{FORM}; charset={codec}"),
        "prompt": refusal_of(form(part("prompt", b"a cat", f"text/plain; charset={codec}")), FORM),
        "_charset_": refusal_of(form(part("_charset_", codec.encode()), part("prompt", b"a cat")), FORM),
    }
    for where, problem in sent.items():
        if codec == "":
            assert problem is None
        else:
            assert problem is not None
            assert (problem.status, problem.param) == (415, where)
    for kind in ("application/json", URLENCODED):
        problem = refusal_of(b'{"prompt": "x"}', f"{kind}; charset={codec}")
        assert problem is None if codec == "" else problem is not None and problem.status == 415


def refusal_of(body: bytes, kind: str) -> Problem | None:
    try:
        fields(body, kind)
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii"])
def test_utf_8_may_be_said(charset: str) -> None:
    body = form(part("_charset_", b"UTF-8"), part("prompt", "à".encode(), f"text/plain; charset={charset}"))
    assert fields(body, f"Multipart/Form-Data; boundary=x; charset={charset}") == {"prompt": "à"}
    assert fields(b"prompt=%C3%A0", f"{URLENCODED}; charset={charset}") == {"prompt": "à"}
    assert fields(b'\xef\xbb\xbf{"prompt": "x"}', f"Application/JSON;charset={charset}") == {"prompt": "x"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"prompt=%E0", URLENCODED), (b"prompt=\xe0", URLENCODED), (form(part("prompt", b"\xe0")), FORM),
     (form(part("\u00e0", b"a").decode().encode("latin-1")), FORM)],
)  # fmt: skip
def test_a_form_in_another_encoding_is_refused(body: bytes, kind: str) -> None:
    problem = refused(body, kind)
    assert (problem.status, problem.code) == (400, "invalid_request")
    assert "UTF-8" in problem.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(*(part(str(number), b"a") for number in range(MOST_FIELDS + 1))), FORM),
        (b"&".join(b"%d=a" % number for number in range(MOST_FIELDS + 1)), URLENCODED),
        (b"&" * 60_000, URLENCODED),
        (orjson.dumps({str(number): 1 for number in range(MOST_FIELDS + 1)}), "application/json"),
        (orjson.dumps({"metadata": {str(number): "" for number in range(5000)}}), "application/json"),
        (orjson.dumps({"a": [[]] * 10_000}), "application/json"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "application/json"),
    ],
)  # fmt: skip
def test_fields_are_counted_before_any_is_looked_at(body: bytes, kind: str) -> None:
    assert len(body) <= LARGEST_BODY_BYTES
    assert refused(body, kind).code == "invalid_request"


def test_json_within_a_field_is_counted_too() -> None:
    with pytest.raises(Problem, match="at most"):
        from_fields({"prompt": "x", "extra_params": orjson.dumps({str(n): 1 for n in range(500)}).decode()})


@pytest.mark.parametrize("name", ["seed", "seconds", "webhook_url", "input_reference", "size", "user", "extra_params"])
def test_an_empty_field_of_a_form_is_unset(name: str) -> None:
    bodies_of = {
        URLENCODED: f"prompt=x&{name}=".encode(),
        FORM: form(part("prompt", b"x"), part(name, b""), part(f"{name}[a]", b"")),
    }
    for kind, body in bodies_of.items():
        assert from_fields(fields(body, kind)) == from_fields({"prompt": "x"})


def test_no_file_chosen_is_unset_and_an_empty_text_is_a_text() -> None:
    body = form(part("prompt", b"x"), part("input_reference", b"", "application/octet-stream", '; filename=""'))
    assert fields(body, FORM) == {"prompt": "x"}
    assert fields(b"prompt=&negative_prompt=&metadata[note]=", URLENCODED) == {
        "prompt": "", "negative_prompt": "", "metadata": {"note": ""},
    }  # fmt: skip


@pytest.mark.parametrize("text", ['{"prompt": "\\ud83d"}', '{"prompt": "x", "\\ud83d": 1}', '{"\\ud83d": {"a": 1}}'])
def test_broken_text_gets_an_answer_that_can_be_sent(text: str) -> None:
    with pytest.raises(Problem) as raised:
        from_fields(object_of(text.encode()))
    assert raised.value.status == 400
    assert orjson.dumps(raised.value.body)
    with pytest.raises(Problem) as raised:
        from_fields({"prompt": "x", "extra_params": "\ud83d"})
    assert orjson.dumps(raised.value.body)
