"""A stage loads the files that its bundle describes, or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpu_runner.bundle import Bundle
from gpu_runner.files import WrongWeights
from schemas.bundle import MANIFEST_NAME
from schemas.stage import Stage
from stages.execution.loading import load_stage
from tests.runner.models import TINY

WEIGHTS = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


def flip_last_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def without_file_digests(folder: Path) -> None:
    """As a release before this one described it."""
    manifest = Bundle.open(folder).manifest
    (folder / MANIFEST_NAME).write_bytes(manifest.replace(files={}).to_bytes())


def test_one_changed_byte_is_named_by_its_file_and_stops_its_stage_alone(folder: Path) -> None:
    flip_last_byte(folder / WEIGHTS)
    with pytest.raises(WrongWeights, match=f"{WEIGHTS} is another file in .*describe the model anew"):
        load_stage(Stage.DECODE, folder)
    load_stage(Stage.ENCODE, folder)


def test_a_file_more_and_a_file_less_are_named(folder: Path) -> None:
    (folder / "vae" / "extra.safetensors").write_bytes(b"x")
    with pytest.raises(WrongWeights, match=r"vae/extra\.safetensors is not described"):
        load_stage(Stage.DECODE, folder)
    (folder / "text_encoder" / "config.json").unlink()
    with pytest.raises(WrongWeights, match=r"text_encoder/config\.json is missing"):
        load_stage(Stage.ENCODE, folder)


def test_a_description_of_before_names_the_component(folder: Path) -> None:
    without_file_digests(folder)
    load_stage(Stage.DECODE, folder)
    flip_last_byte(folder / WEIGHTS)
    with pytest.raises(WrongWeights, match="a file of vae is another one"):
        load_stage(Stage.DECODE, folder)
