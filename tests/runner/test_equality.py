"""Stage by stage in separate processes equals one in-process diffusers call, bit for bit; so does a resumed run."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX
from safetensors.torch import load_file

from gpu_runner.bundle import Bundle
from gpu_runner.decode import decode_frames, to_uint8
from gpu_runner.denoise import Denoise, SolverState
from gpu_runner.families import FAMILIES, cogvideox, family_of
from gpu_runner.families.base import Family
from gpu_runner.families.cogvideox import LATENT_FRAMES_A_CHUNK, chunks
from schemas.errors import InvalidJob
from schemas.recipe import Recipe
from tests.runner.child import cuts
from tests.runner.models import CASES, Case


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder a case, with each part's result, computed in its own process (one a part, for all cases)."""
    root = tmp_path_factory.mktemp("cases")
    folders = {case.name: root / case.name for case in CASES}
    for case in CASES:
        bundle = case.bundle(root / f"bundle-{case.name}")
        folders[case.name].mkdir()
        (folders[case.name] / "bundle").write_text(str(bundle))
        (folders[case.name] / "recipe.json").write_bytes(case.recipe(bundle).to_bytes())
    subprocess.run([sys.executable, "-m", "tests.runner.child", *map(str, folders.values())], check=True)
    return folders


def loaded(folder: Path, load: Callable[[Family], None]) -> Family:
    bundle = Bundle.open(Path((folder / "bundle").read_text()))
    family = family_of(bundle.manifest.family)(bundle, torch.device("cpu"))
    load(family)
    return family


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_separate_processes_equal_one_pipeline_call(case: Case, folders: dict[str, Path]) -> None:
    folder = folders[case.name]
    video = load_file(folder / "video")["video"]
    ours = (video[0].permute(1, 0, 2, 3) * 0.5 + 0.5).clamp(0, 1)
    assert torch.equal(ours, case.frames(Path((folder / "bundle").read_text())))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_run_resumed_in_another_process_is_bit_equal(case: Case, folders: dict[str, Path]) -> None:
    whole = load_file(folders[case.name] / "latents")["latents"]
    for cut in cuts(Recipe.read((folders[case.name] / "recipe.json").read_bytes())):
        assert torch.equal(whole, load_file(folders[case.name] / f"resumed-{cut}")["latents"]), f"cut after {cut}"


@pytest.mark.parametrize("case", [case for case in CASES if case.cache], ids=lambda case: case.name)
def test_a_feature_cache_changes_the_latents(case: Case, folders: dict[str, Path]) -> None:
    """Else the cached cases above would show nothing."""
    folder = folders[case.name]
    family = loaded(folder, lambda family: family.load_denoiser())
    plain = case.recipe(family.bundle.folder).model_copy(update={"cache": None})
    run = Denoise(family, plain, load_file(folder / "embeds"))
    while not run.done:
        run.step()
    assert not torch.equal(run.latents, load_file(folder / "latents")["latents"])


STATELESS = ("flow-match-euler", cogvideox.DDIM)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_middle_cut_would_show_a_lost_solver_state(case: Case, folders: dict[str, Path]) -> None:
    """Latents and step alone are not enough for a multistep solver, or for one that draws noise."""
    folder = folders[case.name]
    _, cut, _ = cuts(Recipe.read((folder / "recipe.json").read_bytes()))
    family = loaded(folder, lambda family: family.load_denoiser())
    run = Denoise(family, case.recipe(family.bundle.folder), load_file(folder / "embeds"))
    state = SolverState.from_bytes((folder / f"checkpoint-{cut}").read_bytes())
    run.carried["latents"], run.index = state.tensors["latents"], cut
    if hasattr(run.scheduler, "set_begin_index"):
        run.scheduler.set_begin_index(cut)
    while not run.done:
        run.step()
    is_equal = torch.equal(run.latents, load_file(folder / "latents")["latents"])
    assert is_equal == (case.scheduler in STATELESS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frames_are_rounded_as_the_pipeline_rounds_them(case: Case, folders: dict[str, Path]) -> None:
    folder = folders[case.name]
    family = loaded(folder, lambda family: family.load_decoder())
    streamed = np.concatenate(list(decode_frames(family, load_file(folder / "latents")["latents"])))
    whole = case.frames(Path((folder / "bundle").read_text())).permute(0, 2, 3, 1).float().numpy()
    assert np.array_equal(streamed, (whole * 255).round().astype("uint8"))


def test_rounding_is_to_nearest() -> None:
    values = torch.linspace(-1, 1, 511).view(1, 1, 1, 1, 511).expand(1, 3, 1, 1, 511)
    wanted = np.round((values[0, 0, 0, 0].numpy() * 0.5 + 0.5) * 255).astype(np.uint8)
    assert np.array_equal(to_uint8(values)[0, 0, :, 0].numpy(), wanted)


@pytest.mark.parametrize("latent_frames", range(1, 9))
def test_cogvideox_chunks_are_those_of_its_vae(latent_frames: int) -> None:
    bounds = chunks(latent_frames)
    assert [bounds[0][0], bounds[-1][1]] == [0, latent_frames]
    assert all(end - start == LATENT_FRAMES_A_CHUNK for start, end in bounds[1:])
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))


def test_cogvideox_vae_still_decodes_that_many_at_once() -> None:
    vae = AutoencoderKLCogVideoX(block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2)
    assert vae.num_latent_frames_batch_size == LATENT_FRAMES_A_CHUNK


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_with_too_many_tokens_is_refused(family: str, folders: dict[str, Path]) -> None:
    case = next(case for case in CASES if case.name.startswith(family))
    encoder = loaded(folders[case.name], lambda family: family.load_encoder())
    recipe = case.recipe(encoder.bundle.folder)
    with pytest.raises(InvalidJob, match="17 tokens"):
        encoder.encode(recipe.model_copy(update={"prompt": "red " * recipe.max_sequence_length}))
