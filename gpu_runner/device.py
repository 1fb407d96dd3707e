"""The device a stage computes on: threads, the bit class, and what running out of memory looks like."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

from schemas.errors import ResourceExhausted

LIBRARIES = ("torch", "diffusers", "transformers")
NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What torch's allocator on the CPU, the driver and its libraries say in a plain RuntimeError."""


def configure(device: str, threads: int) -> torch.device:
    """Fix the thread count: another count may round sums differently."""
    torch.set_num_threads(threads)
    return torch.device(device)


def bit_class(device: str, threads: int) -> str:
    """What the environment adds to the bits: device kind, library versions, CPU threads.

    Two workers of one bit class compute the same bits from the same recipe; a checkpoint resumes only within it.
    """
    kind = f"{torch.device(device).type}-{platform.machine()}"
    if torch.device(device).type == "cuda":
        kind = torch.cuda.get_device_name(device).replace(" ", "-")
    capability = torch.backends.cpu.get_cpu_capability()
    versions = "_".join(f"{name}-{version(name)}" for name in LIBRARIES)
    return f"{kind}_{capability}_{versions}_threads-{threads}".lower().replace(" ", "-").replace("+", "-")


def wait_for(device: torch.device) -> None:
    """Until it has done what it was given: a GPU is told of a step long before it has ended."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a lack of memory into `ResourceExhausted`, whoever says it and however."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceExhausted(str(error) or "out of memory") from None
    except RuntimeError as error:
        if any(words in str(error) for words in NO_MEMORY):
            raise ResourceExhausted(str(error)) from None
        raise
