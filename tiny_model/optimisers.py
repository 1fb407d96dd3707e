"""What both trainings share: Muon for matrices, AdamW for the rest, one learning-rate shape."""

from collections.abc import Iterable
from typing import Any

import torch

from tiny_model.muon import Muon

Parameters = list[torch.nn.Parameter]


def trapezoid(step: int, steps: int, warm_up: int, decay_from: float) -> float:
    """Learning-rate factor: linear warm-up, constant, then linear to nearly zero from `decay_from` of all steps."""
    rise = (step + 1) / warm_up
    fall = (steps - step) / ((1 - decay_from) * steps)
    return min(1.0, rise, fall)


def split_matrices(named: Iterable[tuple[str, torch.nn.Parameter]]) -> tuple[Parameters, Parameters]:
    """Part weights that act as matrices (linear layers, convolution kernels) from biases, norms and tables."""
    parameters = [parameter for _, parameter in named]
    matrices = [p for p in parameters if p.ndim >= 2 and p.numel() > p.shape[0]]
    others = [p for p in parameters if not (p.ndim >= 2 and p.numel() > p.shape[0])]
    return matrices, others


class Optimisers:
    """One Muon and one AdamW stepping together on one loss, with a common gradient norm."""

    def __init__(
        self,
        matrices: Parameters,
        muon_rate: float,
        others: list[tuple[Parameters, float]],
        clip_norm: float,
    ) -> None:
        self._muon = Muon(matrices, muon_rate)
        groups = [{"params": parameters, "lr": rate} for parameters, rate in others]
        self._adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        self._rates = [(group, group["lr"]) for o in (self._muon, self._adam) for group in o.param_groups]
        self._parameters = [*matrices, *(p for parameters, _ in others for p in parameters)]
        self._clip_norm = clip_norm

    def step(self, loss: torch.Tensor, factor: float) -> None:
        """Backpropagate, clip and update, with every learning rate multiplied by `factor`."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        for group, rate in self._rates:
            group["lr"] = rate * factor
        for optimiser in (self._muon, self._adam):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore momenta; rates stay those of this object, since a loaded group replaces the dict it had."""
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])
        groups = [group for o in (self._muon, self._adam) for group in o.param_groups]
        self._rates = [(group, rate) for group, (_, rate) in zip(groups, self._rates, strict=True)]
