"""Schedulers by the name a recipe gives, and the part of them that a checkpoint must hold."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from schemas.recipe import Recipe

UNIPC, FLOW_MATCH_EULER = "unipc", "flow-match-euler"
FLOW_MATCH_SCHEDULERS = (UNIPC, FLOW_MATCH_EULER)

PLAIN_STATE = ("_step_index", "_begin_index", "lower_order_nums", "this_order")
TENSOR_STATE = ("last_sample",)
LIST_STATE = ("model_outputs", "timestep_list")


def flow_match_scheduler(recipe: Recipe) -> Any:
    """A new scheduler for flow matching. Raises `ValueError` for a name that is not among the above."""
    if recipe.scheduler == UNIPC:
        return UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=recipe.flow_shift
        )
    if recipe.scheduler == FLOW_MATCH_EULER:
        return FlowMatchEulerDiscreteScheduler(shift=recipe.flow_shift)
    raise ValueError(f"no scheduler {recipe.scheduler!r}; there are: {', '.join(FLOW_MATCH_SCHEDULERS)}")


def scheduler_state(scheduler: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and plain values that `step` carries from one call to the next.

    UniPC: two model outputs, their timesteps, the last sample, its order counters. Flow-match Euler: the index.
    Latents and the step index alone would resume a multistep solver silently wrong.
    """
    tensors = {name: value for name in TENSOR_STATE if (value := getattr(scheduler, name, None)) is not None}
    plain = {name: getattr(scheduler, name) for name in PLAIN_STATE if hasattr(scheduler, name)}
    for name in LIST_STATE:
        values = getattr(scheduler, name, None)
        if values is not None:
            plain[name] = len(values)
            tensors |= {f"{name}.{place}": torch.as_tensor(v) for place, v in enumerate(values) if v is not None}
    return tensors, plain


def restore_scheduler(scheduler: Any, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
    """Put back what `scheduler_state` took, into a fresh scheduler with the same timesteps."""
    for name, value in plain.items():
        if name in LIST_STATE:
            setattr(scheduler, name, [tensors.get(f"{name}.{place}") for place in range(value)])
        else:
            setattr(scheduler, name, value)
    for name in TENSOR_STATE:
        if name in tensors:
            setattr(scheduler, name, tensors[name])
