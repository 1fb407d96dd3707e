"""What the runner loads is safetensors that are what they say, or it is refused before anything is made of it."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import save

from gpu_runner.bundle import Bundle, UnsafeBundle
from gpu_runner.denoise import SolverState
from gpu_runner.tensors import LENGTH_BYTES, LONGEST_HEADER_BYTES
from schemas.errors import ErrorKind, InvalidTensors, report_of
from stages.tensors import from_bytes
from tests.runner.models import TINY, described

FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
GROWTH_BYTES = 64 * 1024 * 1024


def file(header: dict[str, Any] | bytes, body: bytes = bytes(4), length: int | None = None) -> bytes:
    """Safetensors with any header; `length`: what it claims of it."""
    text = header if isinstance(header, bytes) else orjson.dumps(header)
    return (len(text) if length is None else length).to_bytes(LENGTH_BYTES, "little") + text + body


HOSTILE = {
    "a shape beyond what is there": file({"a": FLOAT | {"shape": [2**40]}}),
    "a shape whose size overflows": file({"a": FLOAT | {"shape": [2**33, 2**33]}}),
    "a negative shape": file({"a": FLOAT | {"shape": [-1]}}),
    "offsets that overlap": file({"a": FLOAT, "b": FLOAT}),
    "offsets with a hole": file({"a": FLOAT | {"data_offsets": [4, 8]}}, bytes(8)),
    "offsets past the end": file({"a": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}),
    "bytes that nobody names": file({"a": FLOAT}, bytes(8)),
    "an unknown type": file({"a": FLOAT | {"dtype": "OBJECT"}}),
    "a header of exabytes": file({}, length=2**62),
    "a header of gigabytes": file({}, length=2**31),
    "a header longer than any of ours": file(b" " * (LONGEST_HEADER_BYTES + 1)),
    "a header that is no JSON": file(b"{nope"),
    "too few bytes": b"abc",
    "nothing": b"",
    "a pickle": pickle.dumps({"weights": [0.0]}),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_before_memory_is_taken(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (from_bytes, SolverState.from_bytes):
        with pytest.raises(InvalidTensors, match="no safetensors: ") as caught:
            read(data)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GROWTH_BYTES
    report = report_of(caught.value)
    assert (report.kind, report.code) == (ErrorKind.BUG, "invalid_tensors")


def test_a_good_file_is_read() -> None:
    data = save({"latents": torch.arange(4.0)})
    assert torch.equal(from_bytes(data)["latents"], torch.arange(4.0))


class Malice:
    """Unpickled, it says so."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.flag),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "weights.PTH", "old.ckpt"])
def test_a_bundle_with_a_pickle_is_refused_also_beside_safetensors(tmp_path: Path, name: str) -> None:
    folder, flag = tmp_path / "bundle", tmp_path / "run"
    shutil.copytree(TINY, folder)
    (folder / "transformer" / name).write_bytes(pickle.dumps(Malice(flag)))
    with pytest.raises(UnsafeBundle, match=f"transformer/{name}.*remove this file"):
        Bundle.open(folder)
    with pytest.raises(UnsafeBundle):
        described(folder)
    assert not flag.exists()
