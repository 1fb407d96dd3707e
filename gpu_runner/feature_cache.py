"""Feature caches, by diffusers' own hooks: put on and off between two runs, emptied at a recipe's reset points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diffusers.hooks import FirstBlockCacheConfig, HookRegistry

from schemas.recipe import FIRST_BLOCK_CACHE, FeatureCache

CONFIGS: dict[str, Callable[[FeatureCache], Any]] = {
    FIRST_BLOCK_CACHE: lambda cache: FirstBlockCacheConfig(threshold=cache.threshold)
}


def use(models: Sequence[Any], cache: FeatureCache | None) -> None:
    """Give each model this cache, empty, in place of the one it had; None: no cache at all."""
    for model in models:
        if model.is_cache_enabled:
            model.disable_cache()
        if cache is not None:
            model.enable_cache(CONFIGS[cache.kind](cache))


def empty(models: Sequence[Any]) -> None:
    """The next step computes every block."""
    for model in models:
        HookRegistry.check_if_exists_or_initialize(model).reset_stateful_hooks()
