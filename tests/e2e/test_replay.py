"""An ended job replayed from a stage on, on the real line: what comes before that stage is taken from the store."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from latentline.main import app
from schemas.events.completions import JobCompleted
from schemas.job import JobState
from schemas.stage import STAGES, Stage
from tests.e2e.conftest import Line
from tests.support import eventually

pytestmark = pytest.mark.broker


def completed(line: Line, job: str) -> JobState:
    assert isinstance(line.wait_for(job)[job], JobCompleted)
    return eventually(lambda: line.state(job))


def test_a_replay_computes_from_a_stage_on_and_reuses_what_comes_before(
    line_of_all: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTLINE_KAFKA_BOOTSTRAP", line_of_all.settings.kafka_bootstrap)
    monkeypatch.setenv("LATENTLINE_TOPIC_PREFIX", line_of_all.settings.topic_prefix)
    old = completed(line_of_all, line_of_all.upstream.submit(seed=4711))
    asked = CliRunner().invoke(app, ["replay", old.job, "--from", "decode"])
    assert asked.exit_code == 0, asked.output
    new = completed(line_of_all, asked.stdout.strip())
    assert new.job != old.job
    assert new.metadata["parent"] == old.job
    assert {stage: new.stages[stage].reused for stage in STAGES} == {
        Stage.ENCODE: True, Stage.DENOISE: True, Stage.DECODE: False, Stage.MUX: False,
    }  # fmt: skip
    assert new.stages[Stage.DENOISE].artifact == old.stages[Stage.DENOISE].artifact
    assert new.recipe == old.recipe
