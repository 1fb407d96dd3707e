"""The files of a video: ranges, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.content import chosen
from gateway.byte_ranges import Span, Unsatisfiable, span_of
from gateway.dependencies import Gateway
from schemas.events.artifacts import ObjectRef
from schemas.job import JobStatus
from schemas.stage import Stage
from tests.unit.gateway.samples import NOW, SOME, asked, job, running, step_of, taken, with_done

VIDEO = ObjectRef(name="video", key="videos/a.mp4", size=9, sha256="cd" * 32, media_type="video/mp4")
POSTER = ObjectRef(name="poster", key="videos/a.webp", size=7, sha256="ef" * 32, media_type="image/webp")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None), ("bytes=0-1", Span(0, 1)), ("bytes=4-", Span(4, 9)), ("bytes=-3", Span(7, 9)),
        ("bytes=0-99", Span(0, 9)), ("bytes=-99", Span(0, 9)), ("bytes=9-9", Span(9, 9)), ("items=0-1", None),
        ("bytes=3-1", None), ("bytes=0-1,3-4", None), ("bytes=-", None), ("bytes=a-b", None), ("bytes=٣-", None),
    ],
)  # fmt: skip
def test_ranges(header: str | None, span: Span | None) -> None:
    assert span_of(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_beyond_the_end(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        span_of(header, 10)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, "video_not_ready"), ({"status": JobStatus.CANCELLED, "ended_at": NOW}, "video_failed")],
)
def test_content_that_is_not_there(gateway: Gateway, changes: dict[str, Any], code: str) -> None:
    taken(gateway.model, job(**changes))
    answer = asked(gateway, "GET", f"{SOME}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
    for variant, refusal in (("webm", "variant_not_available"), ("hls", "not_implemented")):
        assert asked(gateway, "GET", f"{SOME}/content?variant={variant}").json()["error"]["code"] == refusal


def test_a_video_of_before_there_were_spritesheets(gateway: Gateway) -> None:
    taken(gateway.model, job(status=JobStatus.COMPLETED, ended_at=NOW, version=3, video=VIDEO, poster=POSTER))
    answer = asked(gateway, "GET", f"{SOME}/content?variant=spritesheet")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "variant_not_available")
    assert asked(gateway, "GET", SOME).json()["x_latentline"]["variants"] == ["video", "thumbnail", "manifest"]


def test_a_client_may_not_have_a_link_where_the_server_gives_none(gateway: Gateway) -> None:
    taken(gateway.model, job(status=JobStatus.COMPLETED, ended_at=NOW, version=3, video=VIDEO))
    refused = asked(gateway, "GET", f"{SOME}/content?delivery=redirect")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "delivery")
    assert [chosen(*each) for each in ((None, "proxy"), ("proxy", "proxy"), (None, "redirect"))] == [
        "proxy", "proxy", "redirect"
    ]  # fmt: skip
    assert [chosen(asked, "redirect") for asked in ("proxy", "redirect")] == ["proxy", "redirect"]


def test_a_preview_is_offered_once_a_step_tells_of_it(gateway: Gateway) -> None:
    state = running(with_done(job(), Stage.ENCODE))
    taken(gateway.model, state)
    answer = asked(gateway, "GET", f"{SOME}/content?variant=preview")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "variant_not_available")
    shown = step_of(state, 4).model_copy(update={"preview_step": 3})
    taken(gateway.model, steps=[shown])
    taken(gateway.model, steps=[step_of(state, 5)])
    extension = asked(gateway, "GET", SOME).json()["x_latentline"]
    assert (extension["preview_step"], extension["variants"]) == (3, ["preview"])
