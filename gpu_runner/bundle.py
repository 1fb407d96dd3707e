"""A model in diffusers' own layout: a local folder, or a repository in the hub's cache. Safetensors only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch

from gpu_runner.files import check_files
from schemas.bundle import MANIFEST_NAME, BundleManifest

PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
"""Weights that run code when they are loaded."""


class UnsafeBundle(ValueError):
    """A bundle with weights that are no safetensors."""


@dataclass(frozen=True)
class Bundle:
    """`folder` holds `model_index.json`; `manifest` says what the line knows of it."""

    folder: Path
    manifest: BundleManifest

    @classmethod
    def open(cls, place: Path) -> Bundle:
        """The bundle whose `latentline.json` is in `place`. Raises `FileNotFoundError`, `UnsafeBundle`."""
        manifest = BundleManifest.read((place / MANIFEST_NAME).read_bytes())
        folder = resolve(place, manifest.source, manifest.source_revision)
        refuse_pickles(folder)
        return cls(folder, manifest)

    @property
    def dtype(self) -> torch.dtype:
        return named_dtype(self.manifest.dtype)

    @property
    def vae_dtype(self) -> torch.dtype:
        return named_dtype(self.manifest.vae_dtype)

    @property
    def index(self) -> dict[str, Any]:
        index: dict[str, Any] = orjson.loads((self.folder / "model_index.json").read_bytes())
        return index

    def check_files(self, stage: str, components: tuple[str, ...]) -> None:
        """Hash what the stage is about to load. Raises `WrongWeights` for a file that was not described."""
        expected: str = getattr(self.manifest.components, stage)
        check_files(self.folder, components, self.manifest.files, expected)

    def load(self, loader: Any, component: str, dtype: torch.dtype | None = None) -> Any:
        """One component by its class; weights from safetensors, no remote code."""
        options = {} if dtype is None else {"dtype": dtype, "use_safetensors": True}
        return loader.from_pretrained(self.folder / component, **options)


def refuse_pickles(folder: Path) -> None:
    """Also where safetensors lie beside them: a library may choose differently tomorrow. Raises `UnsafeBundle`."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    if found:
        raise UnsafeBundle(
            f"{found[0].relative_to(folder)} in {folder} may be a pickle, which runs code when it is loaded: "
            "save the model with `safe_serialization=True` and remove this file"
        )


def named_dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name!r} is no torch dtype")
    return dtype


def resolve(place: Path, source: str, revision: str | None = None) -> Path:
    """The folder with `model_index.json`: `.` is `place` itself, another local folder is taken as it is, else
    `source` is a repository of the hub, and its files come from the hub's cache or are downloaded into it.

    Raises `FileNotFoundError` for a folder that is no model, what the hub's client raises for a repository.
    """
    local = (place / source).resolve()
    if (local / "model_index.json").exists():
        return local
    if local.exists():
        raise FileNotFoundError(f"{local} has no model_index.json: it is no model in diffusers' layout")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
