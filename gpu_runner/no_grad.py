"""`torch.no_grad` with the types of what it wraps kept; torch's own decorator loses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def no_grad(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Runs a function, or each turn of a generator, without recording gradients: with them on, bits differ."""
    wrapped: Callable[Arguments, Answer] = torch.no_grad()(function)
    return wrapped
