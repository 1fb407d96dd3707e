"""A model anywhere, a local folder or the hub's cache, becomes a bundle by one command, and no line of code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpu_runner.bundle import Bundle, named_dtype, resolve
from gpu_runner.families import family_of
from schemas.bundle import MANIFEST_NAME, BundleManifest
from tests.runner.models import CASES, TINY, described

REPOSITORY, COMMIT = "someone/some-wan", "0123456789abcdef0123456789abcdef01234567"
OPEN_AND_LOAD = """
import sys, pathlib, torch
from gpu_runner.bundle import Bundle
from gpu_runner.families import family_of
bundle = Bundle.open(pathlib.Path(sys.argv[1]))
family_of(bundle.manifest.family)(bundle, torch.device("cpu")).load_denoiser()
print(bundle.folder)
"""


def copy_of_tiny(folder: Path) -> Path:
    return Path(shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns(MANIFEST_NAME, "*.md")))


def test_the_committed_bundle_is_described_as_it_is(tmp_path: Path) -> None:
    committed = Bundle.open(TINY).manifest
    again = Bundle.open(described(copy_of_tiny(tmp_path / "tiny"))).manifest
    assert again.components == committed.components
    assert again.geometry == committed.geometry
    assert (again.limits.size_multiple, again.limits.frame_step) == (16, 4)


def test_cogvideox_is_described_in_its_own_terms(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "cogvideox-1.5-dpm")
    manifest = Bundle.open(case.bundle(tmp_path / "cog")).manifest
    assert manifest.family == "cogvideox"
    assert manifest.geometry.model_dump() == {
        "latent_channels": 4, "vae_scale_factor_spatial": 8, "vae_scale_factor_temporal": 4,
    }  # fmt: skip
    assert (manifest.limits.size_multiple, manifest.limits.frame_step) == (16, 8)
    assert manifest.limits.schedulers == ("cogvideox-dpm", "cogvideox-ddim")
    assert (manifest.defaults.guidance_scale, manifest.defaults.scheduler) == (6.0, "cogvideox-dpm")


def test_another_weight_changes_only_its_stage(tmp_path: Path) -> None:
    before = Bundle.open(described(copy_of_tiny(tmp_path / "a"))).manifest
    changed = copy_of_tiny(tmp_path / "b")
    weights = changed / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    after = Bundle.open(described(changed)).manifest
    assert after.components.decode != before.components.decode
    assert (after.components.encode, after.components.denoise) == (before.components.encode, before.components.denoise)
    assert after.revision != before.revision


def test_a_stale_description_fails_the_check(tmp_path: Path) -> None:
    folder = described(copy_of_tiny(tmp_path / "tiny"))
    assert described(folder, "--check") == folder
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(AssertionError):
        described(folder, "--check")


def cached_by_the_hub(cache: Path) -> Path:
    """The layout that the hub's client keeps: refs name a commit, snapshots hold its files."""
    repository = cache / f"models--{REPOSITORY.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return copy_of_tiny(repository / "snapshots" / COMMIT)


def test_a_repository_in_the_hubs_cache_is_described_and_loaded_offline(tmp_path: Path) -> None:
    snapshot = cached_by_the_hub(tmp_path / "hub")
    offline = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    place = tmp_path / "bundles" / "some-wan"
    command = [sys.executable, "-m", "gpu_runner.describe", str(place), "--model", "some-wan", "--source", REPOSITORY]
    subprocess.run(command, check=True, env=offline)
    manifest = BundleManifest.read((place / MANIFEST_NAME).read_bytes())
    assert (manifest.source, manifest.source_revision) == (REPOSITORY, COMMIT)
    loaded = subprocess.run(
        [sys.executable, "-c", OPEN_AND_LOAD, str(place)], check=True, env=offline, stdout=subprocess.PIPE, text=True
    )
    assert loaded.stdout.strip() == str(snapshot)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no model in diffusers' layout"):
        resolve(tmp_path, ".")


def test_a_checkpoint_that_the_loop_would_get_wrong_is_refused(tmp_path: Path) -> None:
    folder = described(copy_of_tiny(tmp_path / "ti2v"))
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"expand_timesteps": false', '"expand_timesteps": true'))
    bundle = Bundle.open(folder)
    with pytest.raises(ValueError, match="ti2v expands timesteps"):
        family_of("wan")(bundle, torch.device("cpu")).load_denoiser()


def test_unknown_families_and_dtypes_are_named() -> None:
    with pytest.raises(ValueError, match="there are: wan, cogvideox"):
        family_of("svd")
    with pytest.raises(ValueError, match="'float33' is no torch dtype"):
        named_dtype("float33")
    assert named_dtype("bfloat16") is torch.bfloat16
