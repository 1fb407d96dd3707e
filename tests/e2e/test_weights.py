"""A worker with other weights under the same model name: what it would make is never made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.local import doctor
from infra.local.finding import Finding
from infra.local.plan import PROJECT, Plan
from infra.local.stack import Stack
from runtime.settings import Settings
from schemas.bundle import BundleManifest
from schemas.events.completions import JobCompleted
from schemas.events.reports import Heartbeat
from schemas.stage import Stage
from streams.kafka.topics import COMPLETIONS, JOBS, REPORTS
from tests.processes import QUICK, Service, Upstream, services, states_of, tail
from tests.runner.models import described
from tests.runner.test_files import WEIGHTS, flip_last_byte
from tests.support import eventually

pytestmark = pytest.mark.broker

ALL = "worker encode,denoise,decode,mux"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The tiny model with another decoder, described as what it is, under the same name."""
    folder = Path(shutil.copytree(PROJECT / "bundles" / "tiny", tmp_path / "tiny"))
    flip_last_byte(folder / WEIGHTS)
    return described(folder)


def finding(settings: Settings, folder: Path) -> Finding:
    Plan.draw(folder, any_ports=True).save()
    return next(one for one in doctor.check(settings, Stack(folder)) if one.name == "weights")


def test_no_job_runs_on_them_and_the_doctor_names_the_worker(line: Settings, other: Path, tmp_path: Path) -> None:
    settings = line.model_copy(update=QUICK | {"threads": 1})
    wrong = Service(settings.model_copy(update={"bundles": str(other)}), "wrong", *ALL.split())
    with (
        services(settings, coordinator="coordinator"),
        tail(settings, COMPLETIONS) as completions,
        tail(settings, JOBS) as jobs,
        tail(settings, REPORTS) as reports,
    ):
        wrong.start().wait_ready()
        try:
            job = Upstream(settings).submit(seed=8)
            eventually(lambda: job in states_of(jobs.events()), 30)
            # The coordinator has read heartbeats that came after the job: it has had its chance.
            heard = len(beats_of(reports.events(), "wrong"))
            eventually(lambda: len(beats_of(reports.events(), "wrong")) >= heard + 4, 30)
            assert states_of(jobs.events())[job].lease is None
            assert "wrong has tiny as" in finding(settings, tmp_path / "nothing").message
            with services(settings, right=ALL):
                [end] = eventually(completions.events, 90)
                assert isinstance(end, JobCompleted)
                made_by = {stage.stage: stage.worker for stage in end.stages}
                assert [made_by[stage] for stage in (Stage.ENCODE, Stage.DENOISE, Stage.DECODE)] == ["right"] * 3
        finally:
            wrong.kill()


def beats_of(events: Sequence[object], worker: str) -> list[Heartbeat]:
    return [event for event in events if isinstance(event, Heartbeat) and event.worker == worker and event.slots]


def test_a_worker_whose_files_are_not_the_described_ones_does_not_start(line: Settings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PROJECT / "bundles" / "tiny", tmp_path / "tiny"))
    flip_last_byte(folder / WEIGHTS)
    worker = Service(line.model_copy(update={"bundles": str(folder)}), "decode", "worker", "decode").start()
    assert worker.wait(90) == 1
    assert f"{WEIGHTS} is another file" in worker.tail()
    assert BundleManifest.read((folder / "latentline.json").read_bytes()).files[WEIGHTS]
