"""Freeing the real store beside the real coordinator: nothing held, nothing young, and the audit finds all in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from infra.local import topics
from latentline import line as command_line
from latentline.main import app
from operations.audit.run import audit
from operations.gc.collector import collect
from operations.gc.snapshot import EmptyLog
from runtime.settings import Settings
from schemas.stage import STAGES, Stage
from stages.contract import Blob
from stages.storage.artifacts import ArtifactStore
from streams.kafka.errors import ClientError
from tests.broker.coordinating import coordinating
from tests.broker.storing import Line, Meanwhile, StoringWorker
from tests.processes import Tail, Upstream
from tests.support import eventually

pytestmark = pytest.mark.broker

AHEAD = 3600.0
"""Seconds by which the clock of gc is set ahead, since nothing in the store is old."""


@pytest.fixture
def held(quick: Settings, upstream: Upstream, completions: Tail, jobs: Tail) -> Iterator[Line]:
    worker = StoringWorker(quick)
    with coordinating(quick):
        yield Line(quick, command_line.store(quick), upstream, worker, completions, jobs)
    worker.close()


def freed(line: Line, store: ArtifactStore | None = None, **options: Any) -> set[str]:
    """The keys that gc removes, or would."""
    asked = {"apply": True, "now": time.time() + AHEAD, "grace": 60.0} | options
    found = collect(line.settings, store or line.store, **asked)
    return {key for each in found for key in each.keys}


def test_what_ended_jobs_held_is_freed_and_nothing_of_a_job_under_way(held: Line) -> None:
    ended = held.run(seed=1)
    video = held.objects(ended, Stage.MUX)
    running = held.half_way(held.upstream.submit(seed=2, prompt="a circle"))
    folder = f"artifacts/default/denoise/{ended.stages[Stage.DENOISE].key}"
    left = held.store.put(folder, Blob("left", b"by a killed upload"))
    before = (ended.ended_at or 0.0) + 1e-3
    assert freed(held) == {left.key}, "all jobs are known, and hold what they made"
    planned = freed(held, apply=False, ended_before=before)
    assert planned == {key for stage in STAGES[:3] for key in held.objects(ended, stage)}
    assert freed(held, ended_before=before) == planned
    assert [held.objects(ended, stage) for stage in STAGES[:3]] == [set()] * 3
    assert held.objects(ended, Stage.MUX) == video
    assert len(held.objects(running, Stage.ENCODE)) == 2
    held.end(running.job)
    report = audit(held.settings, held.store, grace=-AHEAD, ended_after=before)
    assert report.violations == ()
    assert freed(held, ended_before=before) == set()


def test_nothing_is_freed_in_its_grace_time(held: Line) -> None:
    held.run(seed=1)
    always = time.time() + AHEAD
    assert freed(held, grace=2 * AHEAD, ended_before=always) == set()
    assert len(freed(held, apply=False, ended_before=always)) == 6


def test_what_a_job_takes_hold_of_while_it_is_freed_stays(held: Line) -> None:
    """The same prompt again, accepted after gc has looked: it is computed anew, and its objects are left alone."""
    old = held.run(seed=1)
    before = time.time()
    store = Meanwhile(held.store.client, held.store.bucket)
    accepted: list[str] = []

    def submit() -> None:
        accepted.append(held.upstream.submit(seed=1))
        held.half_way(accepted[0])

    store.happens = submit
    gone = freed(held, store, ended_before=before)
    [job] = accepted
    new = held.end(job)
    assert new.stages[Stage.DENOISE].key == old.stages[Stage.DENOISE].key
    for stage in STAGES[:3]:
        assert len(held.objects(new, stage)) == 2
    assert gone == set(), "whatever was loose is held again"
    assert audit(held.settings, held.store, ended_after=before).violations == ()


def test_usage_tells_bytes_by_tenant_stage_and_kind(held: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kafka_bootstrap", "topic_prefix", "store_endpoint", "store_access_key", "store_bucket"):
        monkeypatch.setenv(f"LATENTLINE_{name.upper()}", str(getattr(held.settings, name)))
    monkeypatch.setenv("LATENTLINE_STORE_SECRET_KEY", held.settings.store_secret_key.get_secret_value())
    held.run(seed=1)
    said = CliRunner().invoke(app, ["store", "usage", "--json"])
    rows = [orjson.loads(row) for row in said.stdout.splitlines()]
    assert [(row["tenant"], row["stage"], row["kind"], row["objects"]) for row in rows] == [
        ("default", "decode", "artifact", 2), ("default", "denoise", "artifact", 2),
        ("default", "encode", "artifact", 2), ("default", "mux", "video", 2),
    ]  # fmt: skip
    assert all(row["bytes"] > 100 for row in rows)
    assert "default" in CliRunner().invoke(app, ["store", "usage", "--keep", "0s"]).stdout
    said = CliRunner().invoke(app, ["gc", "--keep", "0s", "--grace", "1h"])
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (0, "0 objects, 0 B could be freed: --apply does it")


def test_the_store_of_another_line_is_not_touched(held: Line) -> None:
    """A line whose `jobs` names nobody does not know what the store is for."""
    held.run(seed=1)
    stranger = held.settings.model_copy(update={"topic_prefix": held.settings.topic_prefix + "other."})
    topics.apply(stranger)

    def refusal() -> str | None:
        try:
            collect(stranger, held.store, apply=True, now=time.time() + AHEAD)
        except EmptyLog as error:
            return str(error)
        except ClientError:  # A topic that has just been made has no leader for a moment.
            return None
        raise AssertionError("it was not refused")

    assert "another line's" in eventually(refusal)
