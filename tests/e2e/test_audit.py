"""The audit of a real line: it holds while jobs are under way, and names an object that somebody took away."""

from __future__ import annotations

import uuid

import pytest

from latentline import line as command_line
from operations.audit.report import Report
from operations.audit.run import audit
from schemas.events.completions import JobCompleted
from stages.contract import Blob
from tests.e2e.conftest import Line

pytestmark = pytest.mark.broker


def look(line: Line) -> Report:
    return audit(line.settings, command_line.store(line.settings))


def test_a_line_at_work_keeps_every_promise(line_of_all: Line) -> None:
    """Good, repeated, wrong and cancelled prompts, and the audit in the middle of it and afterwards."""
    upstream, key = line_of_all.upstream, uuid.uuid4().hex
    jobs = [upstream.submit(seed=5, idempotency_key=key) for _ in range(2)]
    jobs += [upstream.submit(num_inference_steps=300), upstream.submit(fps=-1)]
    upstream.send_raw(b"{" + uuid.uuid4().hex.encode(), [("ce_id", b"1")])
    upstream.cancel(jobs[2])
    assert look(line_of_all).violations == ()
    line_of_all.wait_for(*set(jobs))
    report = look(line_of_all)
    assert report.violations == ()
    assert report.open_jobs == 0
    assert report.checked["completions"] == report.checked["jobs"] >= 3
    assert report.checked["prompts"] >= report.checked["jobs"] + report.checked["dead letters"]
    assert report.checked["digests"] > 0
    assert report.compute.useful > 0


def test_a_video_that_somebody_took_away_or_changed_is_named(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(seed=5)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    store, video = command_line.store(line_of_all.settings), end.video
    whole = store.client.get_object(bucket_name=store.bucket, object_name=video.key).data
    store._put(video.key, whole[::-1], video.media_type)
    assert {(violation.subject, violation.promise) for violation in look(line_of_all).violations} == {
        (video.key, "what is referenced exists"), (video.key, "a manifest is whole")
    }  # fmt: skip
    store.remove(video.key)
    assert {violation.subject for violation in look(line_of_all).violations} == {video.key}
    store.put(f"videos/{end.tenant}/{job}", Blob("video", whole, video.media_type))
    assert look(line_of_all).is_ok
