"""An output lost or changed behind our back is found by digest: its stage runs again, and what follows, no other."""

from __future__ import annotations

import pytest

from schemas.events.artifacts import ArtifactRef
from schemas.events.completions import JobCompleted
from schemas.job import JobState
from schemas.stage import STAGES, Stage
from streams.worker.compute.child import store_of
from tests.e2e.conftest import Line
from tests.harm import HARMS, Harm, delete_object

pytestmark = pytest.mark.broker


@pytest.mark.parametrize(("seed", "harm"), [*enumerate(HARMS.values(), 300)])
def test_a_denoise_whose_output_is_harmed_runs_again_and_its_encode_does_not(
    line_of_all: Line, seed: int, harm: Harm
) -> None:
    prompt = "a yellow triangle moving down on a green background"
    store = store_of(line_of_all.settings)
    first = made(line_of_all, prompt, seed)
    ref = artifact(first, Stage.DENOISE)
    latents = store.read_manifest(ref).find("latents")
    harm(store, ref, latents)
    store.remove(artifact(first, Stage.DECODE).manifest_key)
    again = made(line_of_all, prompt, seed)
    assert [again.stages[stage].reused for stage in STAGES] == [True, False, False, False]
    repaired = artifact(again, Stage.DENOISE)
    # What is computed again has the same bits: an object put back makes the manifest that names it whole.
    assert (repaired.etag == ref.etag) is (harm is delete_object)
    assert store.read_manifest(repaired).find("latents").sha256 == latents.sha256 == store.digest_of(latents.key)


def made(line: Line, prompt: str, seed: int) -> JobState:
    job = line.upstream.submit(prompt, seed=seed)
    assert isinstance(line.wait_for(job)[job], JobCompleted)
    state = line.state(job)
    assert state is not None
    return state


def artifact(state: JobState, stage: Stage) -> ArtifactRef:
    ref = state.stages[stage].artifact
    assert ref is not None
    return ref
