"""Muon: momentum whose update is orthogonalised, so that every direction of a matrix learns at one pace.

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). torch.optim.Muon
takes two-dimensional parameters only; this one flattens convolution kernels to (out, rest) and works on all
matrices of one shape in a single batch, which is what makes it affordable on a CPU.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch

from gpu_runner.no_grad import no_grad

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """Move the singular values of a batch of matrices (n, rows, columns) towards 1 by Newton-Schulz in bf16."""
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # torch is not followed, so its classes are Any
    """Muon with Nesterov momentum and decoupled weight decay, for parameters of two or more dimensions."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @no_grad
    def step(self, closure: Callable[[], float] | None = None) -> None:
        if closure is not None:
            raise ValueError("closure is not supported: compute the gradients before step()")
        for group in self.param_groups:
            for same_shape in _by_matrix_shape(group["params"]).values():
                self._update(same_shape, group)

    def _update(self, parameters: list[torch.nn.Parameter], group: dict[str, Any]) -> None:
        directions = torch.stack([self._direction(parameter, group["momentum"]) for parameter in parameters])
        rows, columns = directions.shape[-2:]
        scale = group["lr"] * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(directions).unbind(), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.sub_(update.reshape(parameter.shape), alpha=scale)

    def _direction(self, parameter: torch.nn.Parameter, momentum: float) -> torch.Tensor:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum).flatten(1)


def _by_matrix_shape(
    parameters: Iterable[torch.nn.Parameter],
) -> dict[tuple[int, int], list[torch.nn.Parameter]]:
    groups: dict[tuple[int, int], list[torch.nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            rows = parameter.shape[0]
            groups[rows, parameter.numel() // rows].append(parameter)
    return groups
