"""Tensors as objects: safetensors bytes, dtypes kept."""

from __future__ import annotations

import torch
from safetensors.torch import load, save

from gpu_runner.tensors import checked
from stages.contract import Blob

MEDIA_TYPE = "application/vnd.safetensors"


def to_blob(name: str, tensors: dict[str, torch.Tensor]) -> Blob:
    return Blob(name, save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}), MEDIA_TYPE)


def from_bytes(data: bytes) -> dict[str, torch.Tensor]:
    """Copies, in memory that torch aligns: where bytes happen to lie would decide in which order sums are made.

    Raises `InvalidTensors`.
    """
    with checked(data):
        return {name: tensor.clone() for name, tensor in load(data).items()}
