"""What to say of prompts whose words their model does not know, where this machine has the model's description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentline.terminal import echo

if TYPE_CHECKING:
    from runtime.settings import Settings
    from schemas.events.prompts import PromptSubmitted


def warn(settings: Settings, prompts: list[PromptSubmitted]) -> None:
    """One line on standard error for each warning, once. Nothing is refused."""
    from schemas.bundle import read_bundles
    from schemas.vocabulary import warnings_of

    try:
        bundles = read_bundles(settings.bundles)
    except (OSError, ValueError):
        return
    asked = ((bundles.get(prompt.model or settings.default_model), prompt) for prompt in prompts)
    warnings = (warnings_of(bundle, one.prompt, one.negative_prompt) for bundle, one in asked if bundle)
    for warning in dict.fromkeys(each for found in warnings for each in found):
        echo(f"warning: {warning}", err=True)
