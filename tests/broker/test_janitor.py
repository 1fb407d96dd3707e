"""What is deleted or expired is gone from the real store; what is kept stays readable, and deletable, as it lives."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from infra.local import ports
from latentline import line as command_line
from latentline.main import app
from operations.audit.log import Log
from operations.audit.run import audit
from operations.gc.snapshot import LogView
from operations.janitor.erasure import erase
from operations.janitor.searches import Search, folders_of
from runtime.settings import DEFAULT_KEY, Settings
from schemas import envelope
from schemas.catalogue import FILLED, CatalogueRecord, VideoRecord
from schemas.events.artifacts import Manifest
from schemas.events.prompts import DeleteRequested
from schemas.job import JobState, JobStatus
from schemas.retention import Retention
from schemas.stage import STAGES, Stage
from stages.contract import Blob
from streams.kafka import clients
from streams.kafka.topics import DLQ, JOBS, VIDEOS
from tests.broker.coordinating import coordinating
from tests.broker.storing import Line, Meanwhile, StoringWorker
from tests.contract import golden
from tests.processes import Service, Tail, Upstream, services, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

NO_GC = {"gc_interval_s": 0.0}
"""So that what goes has gone because it was deleted."""
EARLY = 2.0
"""Seconds after which the coordinator lets go of an ended job, where production has 8 days."""


@pytest.fixture
def opened(quick: Settings, upstream: Upstream, completions: Tail, jobs: Tail) -> Iterator[Line]:
    """Without a coordinator yet."""
    worker = StoringWorker(quick)
    yield Line(quick, command_line.store(quick), upstream, worker, completions, jobs)
    worker.close()


@contextmanager
def cleaning(line: Line, **changes: object) -> Iterator[Service]:
    """A janitor beside the line."""
    with services(line.settings.model_copy(update=NO_GC | changes), janitor="janitor") as running:
        yield running["janitor"]


@contextmanager
def serving(line: Line) -> Iterator[httpx.Client]:
    """A gateway with an empty view, as its tenant `default` sees it."""
    [port] = ports.choose([0])
    settings = line.settings.model_copy(update={"gateway_port": port, "gateway_database": SecretStr("")})
    shutil.rmtree(line.settings.data_dir / "gateway", ignore_errors=True)
    headers = {"authorization": f"Bearer {DEFAULT_KEY}"}
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers=headers, timeout=30)
    with services(settings, gateway="gateway"), client:
        yield client


def delete(line: Line, job: str, tenant: str = "default") -> None:
    line.upstream.send(DeleteRequested(job=job, tenant=tenant))


def forgotten(line: Line, job: str) -> bool:
    """Whether the coordinator has let go of it."""
    records = [value for key, value, _ in line.jobs.poll() if key == job.encode()]
    return bool(records) and records[-1] is None


def test_a_deleted_job_leaves_nothing_but_what_another_job_of_its_tenant_refers_to(opened: Line) -> None:
    line = opened
    with coordinating(line.settings), cleaning(line):
        one, two = line.run(seed=1), line.run(seed=1)
        line.store.put_preview("default", one.job, b"a preview")
        stranger = line.run(seed=1, tenant="globex")
        shared = {key for stage in STAGES[:3] for key in line.objects(one, stage)}
        assert len(shared) == 6
        delete(line, one.job)
        own = (f"videos/default/{one.job}/", f"preview/default/{one.job}")
        eventually(lambda: not line.left(*own), 60)
        assert shared <= line.left()
        assert len(line.left(f"videos/default/{two.job}/")) == 2
        delete(line, two.job)
        eventually(lambda: not line.left("artifacts/default/", "videos/default/", "preview/default/"), 60)
        assert len(line.left("artifacts/globex/", "videos/globex/")) == 8
        gone = line.state(two.job, lambda state: state.status is JobStatus.DELETED)
        assert gone.deleted_at is not None
        assert audit(line.settings, line.store).violations == ()
        assert len(line.objects(stranger, Stage.MUX)) == 2


def test_what_a_late_writer_puts_back_is_removed_though_the_janitor_was_replaced_meanwhile(opened: Line) -> None:
    line = opened
    with coordinating(line.settings), cleaning(line, erase_again_after_s=8.0) as janitor:
        for is_replaced in (False, True):
            job = line.run(seed=1)
            delete(line, job.job)
            eventually(lambda: not line.left(), 60)
            if is_replaced:
                janitor.kill()
            folder = f"videos/default/{job.job}"
            ref = line.store.put(folder, Blob("video", b"late"))
            line.store.publish(folder, Manifest(stage=Stage.MUX, key="k", lease=9, objects=(ref,)))
            line.store.put(f"artifacts/default/denoise/{job.stages[Stage.DENOISE].key}", Blob("latents", b"late"))
            if is_replaced:
                janitor.start()
            eventually(lambda: not line.left(), 60)


def test_a_job_that_is_accepted_while_its_outputs_are_erased_is_served(opened: Line) -> None:
    line = opened
    with coordinating(line.settings), Log(line.settings) as log:
        old = line.run(seed=1)
        delete(line, old.job)
        gone = line.state(old.job, lambda state: state.status is JobStatus.DELETED)
        store, accepted = Meanwhile(line.store.client, line.store.bucket), list[str]()

        def submit() -> None:
            accepted.append(line.upstream.submit(seed=1))
            line.half_way(accepted[0])

        store.happens = submit
        search = Search(0.0, old.job, "default", folders_of(gone), False)
        assert erase(store, LogView(line.settings, log), [search]) == 2, "its video alone"
        new = line.end(accepted[0])
        assert new.stages[Stage.DENOISE].key == old.stages[Stage.DENOISE].key
        assert [len(line.objects(new, stage)) for stage in STAGES] == [2, 2, 2, 2]
        assert audit(line.settings, line.store).violations == ()


def test_a_video_outlives_its_job_and_can_be_read_and_deleted_by_its_tenant_alone(opened: Line) -> None:
    """Also by a gateway that has read nothing of the job itself."""
    line = opened
    with coordinating(line.settings, tombstone_seconds=EARLY), cleaning(line), tail(line.settings, DLQ) as letters:
        job = line.run(seed=1).job
        line.run(seed=2)
        eventually(lambda: forgotten(line, job))
        with serving(line) as http:
            shown = eventually(lambda: (found := http.get(f"/videos/{job}")).is_success and found.json())
            assert (shown["status"], shown["model"], shown["size"]) == ("completed", "tiny", "64x64")
            assert shown["expires_at"] == shown["completed_at"] + 30 * 24 * 3600
            assert len(http.get(f"/videos/{job}/content").content) > 0
            assert job in {video["id"] for video in http.get("/videos").json()["data"]}
            delete(line, job, tenant="mallory")
            [(_, value, headers)] = eventually(
                lambda: [each for each in letters.poll() if b"mallory" in (each[1] or b"")]
            )
            assert dict(headers)["dlq_reason"] == b"unknown_job"
            assert envelope.read(value, headers)[0] == DeleteRequested(job=job, tenant="mallory")
            assert http.get(f"/videos/{job}/content").is_success
            assert http.delete(f"/videos/{job}").json()["deleted"]
            eventually(lambda: not line.left(f"videos/default/{job}/"), 60)
            eventually(lambda: http.get(f"/videos/{job}").status_code == 404)
            assert audit(line.settings, line.store).violations == ()


def test_an_expired_video_is_not_found_and_gone_from_the_store(opened: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the class of its job, or what an operator has set for its tenant; also where its job is forgotten."""
    line = opened
    for name, value in {
        "kafka_bootstrap": line.settings.kafka_bootstrap,
        "topic_prefix": line.settings.topic_prefix,
    }.items():
        monkeypatch.setenv(f"LATENTLINE_{name.upper()}", value)
    with ExitStack() as stack:
        early = line.settings.model_copy(update={"retention_ephemeral_s": 6.0})
        stack.enter_context(coordinating(early, tombstone_seconds=EARLY))
        stack.enter_context(cleaning(line, retention_ephemeral_s=6.0))
        http = stack.enter_context(serving(line))
        said = CliRunner().invoke(app, ["tenants", "set-retention", "globex", "ephemeral"])
        assert said.exit_code == 0, said.output
        asked = line.run(seed=1, retention="ephemeral")
        assert asked.expires_at is not None
        shown = eventually(lambda: (found := http.get(f"/videos/{asked.job}")).is_success and found.json())
        assert shown["expires_at"] == int(asked.expires_at)
        kept = line.run(seed=2, retention="keep")

        def set_for_tenant() -> JobState | None:
            state = line.run(seed=3, tenant="globex")
            return state if state.retention is Retention.EPHEMERAL else None

        other = eventually(set_for_tenant)
        eventually(lambda: http.get(f"/videos/{asked.job}").status_code == 404)
        assert time.time() >= asked.expires_at
        eventually(lambda: not line.left(*(f"videos/{state.tenant}/{state.job}/" for state in (asked, other))), 60)
        assert http.get(f"/videos/{kept.job}").json()["expires_at"] is None
        assert len(line.left(f"videos/default/{kept.job}/")) == 2


def test_videos_of_before_the_catalogue_are_kept_and_can_be_found(opened: Line) -> None:
    """One whose job is remembered by a state of the release before, one of which only the store knows."""
    line, job = opened, "video_" + "5" * 32
    with coordinating(line.settings):
        state = line.run(seed=1)
    earlier = state.model_copy(update={"format": 3, "retention": None, "expires_at": None, "version": 99})
    value, headers = golden.record(earlier)
    producer = clients.producer(clients.PRODUCER, line.settings)
    producer.produce(JOBS.named(line.settings.topic_prefix), value, state.job, 0, headers=[*headers])
    producer.produce(VIDEOS.named(line.settings.topic_prefix), None, state.job, 0)
    assert producer.flush(30) == 0
    folder = f"videos/acme/{job}"
    ref = line.store.put(folder, Blob("video", b"old", "video/mp4"))
    line.store.publish(folder, Manifest(stage=Stage.MUX, key="k", lease=1, objects=(ref,)))
    with tail(line.settings, VIDEOS) as videos, cleaning(line, gc_interval_s=3600.0, gc_grace_s=0.0):
        records = eventually(lambda: named(videos) if named(videos).keys() >= {state.job, job} else None)
        assert (records[job].tenant, records[job].video, records[job].expires_at) == ("acme", ref, None)
        assert (records[state.job].model, records[state.job].retention) == ("tiny", None)
        eventually(lambda: any(key == FILLED.encode() for key, *_ in videos.poll()))
        orphan = line.store.put("videos/acme/video_orphan", Blob("video", b"nobody's"))
        line.store.publish("videos/acme/video_orphan", Manifest(stage=Stage.MUX, key="k", lease=1, objects=(orphan,)))
    report = audit(line.settings, line.store, grace=-3600.0)
    assert {(each.subject, each.message) for each in report.violations if each.promise == "no orphan stays"} == {
        ("videos/acme/video_orphan/manifest.json", "neither a job nor the catalogue knows this video")
    }
    with cleaning(line, gc_interval_s=3600.0, gc_grace_s=0.0) as janitor:
        eventually(lambda: not line.left("videos/acme/video_orphan/"))
        janitor.send_signal(signal.SIGTERM)
        assert janitor.wait() == 0
    assert len(line.left(folder, f"videos/default/{state.job}/")) == 4


def named(videos: Tail) -> dict[str, VideoRecord]:
    return {record.job: record.record for record in videos.events() if isinstance(record, CatalogueRecord)}
