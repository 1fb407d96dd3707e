"""What property tests draw from: bundles, limits, prompts, JSON."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from schemas.bundle import LONGEST_SIDE, BundleManifest, Components, Defaults, Geometry, Limits
from schemas.limits import CACHES, even_multiple, valid_sides
from schemas.recipe import LARGEST_SEED, Encoding, FeatureCache, VaeTiling
from schemas.text import is_visible

# The same examples in every run: a test that fails by luck in somebody else's change helps nobody.
settings.register_profile("line", derandomize=True, deadline=None)
settings.load_profile("line")

LIMITS = Limits(
    size_multiple=16, min_side=32, max_pixels=256 * 256, frame_step=4, max_frames=161, max_sequence_length=16,
    max_prompt_characters=400, max_inference_steps=1000, max_guidance_scale=20.0, max_fps=60,
    schedulers=("unipc", "flow-match-euler"),
)  # fmt: skip


def bundle_of(limits: Limits = LIMITS, model: str = "tiny") -> BundleManifest:
    """A bundle with those limits and defaults within them."""
    widths, heights = valid_sides(limits)
    return BundleManifest(
        model=model, family="wan", revision="r1", components=Components(encode="e1", denoise="n1", decode="d1"),
        geometry=Geometry(latent_channels=8, vae_scale_factor_spatial=8, vae_scale_factor_temporal=4), limits=limits,
        defaults=Defaults(
            width=widths[0], height=heights[0], num_frames=limits.frame_step + 1, fps=1, num_inference_steps=1,
            guidance_scale=1.0, negative_prompt="", scheduler=limits.schedulers[0], flow_shift=3.0,
        ),
    )  # fmt: skip


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Limits under which at least one size and one video exist."""
    multiple, least, step = draw(st.integers(1, 32)), draw(st.integers(1, 100)), draw(st.integers(1, 8))
    drawn = LIMITS.model_copy(update={"size_multiple": multiple, "min_side": least, "frame_step": step})
    for side in ("width", "height"):
        side_least = draw(st.integers(1, 400))
        first = valid_sides(drawn.model_copy(update={f"min_{side}": side_least}))[side == "height"][0]
        room = draw(st.integers(0, 3 * even_multiple(drawn)) | st.integers(0, LONGEST_SIDE - first))
        drawn = drawn.model_copy(update={f"min_{side}": side_least, f"max_{side}": first + room})
    defaults = bundle_of(drawn).defaults
    return drawn.model_copy(update={
        "max_pixels": defaults.width * defaults.height + draw(st.integers(0, 3_000_000)),
        "max_frames": step + 1 + draw(st.integers(0, 2000)),
        "max_fps": draw(st.integers(1, 240)),
    })  # fmt: skip


texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60).filter(
    lambda text: any(map(is_visible, text))
)
"""Prompts that may be asked for: any script, emoji, unusual spaces; no control characters, something to see."""


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a prompt that `LIMITS` allows, each of them set or not."""
    sides = st.integers(2, 16).map(lambda count: count * 16)
    values = {
        "negative_prompt": st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60),
        "size": st.tuples(sides, sides).map(lambda size: f"{size[0]}x{size[1]}"),
        "num_frames": st.integers(0, 40).map(lambda count: 4 * count + 1),
        "fps": st.integers(1, 60),
        "num_inference_steps": st.integers(1, 1000),
        "guidance_scale": st.floats(0.0, 20.0) | st.integers(0, 20),
        "scheduler": st.sampled_from(LIMITS.schedulers),
        "seed": st.integers(0, LARGEST_SEED),
        "cache": st.fixed_dictionaries({}, optional={
            "kind": st.sampled_from(CACHES), "threshold": st.floats(0.0, 1.0),
            "cache_reset_every": st.integers(1, 1000),
        }),
    }  # fmt: skip
    return {"prompt": draw(texts), **draw(st.fixed_dictionaries({}, optional=values))}


SETTINGS: dict[str, Any] = {
    "encoding": Encoding(crf=40),
    "cache": FeatureCache(),
    "vae_tiling": VaeTiling(
        tile_sample_min_height=64, tile_sample_min_width=64, tile_sample_stride_height=48, tile_sample_stride_width=48
    ),
}
"""For a recipe's fields that are neither text nor number: another value."""


def another(field: str, value: Any) -> Any:
    """A value of a recipe's field that differs from `value`."""
    if field in SETTINGS:
        return SETTINGS[field]
    return value + "x" if isinstance(value, str) else value + 1


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
