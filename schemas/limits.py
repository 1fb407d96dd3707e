"""From a prompt event to a recipe: defaults filled, text cleaned, limits checked in the model's own language."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar

from schemas.base import construct
from schemas.bundle import BundleManifest, Limits
from schemas.errors import InvalidJob
from schemas.events.prompts import PromptSubmitted
from schemas.recipe import FIRST_BLOCK_CACHE, LARGEST_SEED, FeatureCache, Recipe, derived_seed
from schemas.retention import CLASSES, Retention
from schemas.text import clean_text

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")

CACHES = (FIRST_BLOCK_CACHE,)


def recipe_of(
    asked: PromptSubmitted,
    job: str,
    bundles: dict[str, BundleManifest],
    default_model: str,
    tokens: Mapping[str, int] | None = None,
) -> Recipe:
    """The normalised recipe of a prompt. Raises `InvalidJob` naming field, value, limit and nearest value.

    `tokens`: how many prompt and negative prompt have, where they were counted (`runtime.token_counter`).
    """
    bundle = find_bundle(asked.model or default_model, bundles)
    limits, defaults = bundle.limits, bundle.defaults
    size = asked_size(asked.size, asked.width, asked.height)
    width, height = checked_size(size, limits) if size else (defaults.width, defaults.height)
    fps = in_range("fps", or_default(asked.fps, defaults.fps), 1, limits.max_fps)
    steps = or_default(asked.num_inference_steps, defaults.num_inference_steps)
    guidance = or_default(asked.guidance_scale, defaults.guidance_scale)
    negative = or_default(asked.negative_prompt, defaults.negative_prompt)
    seed = or_default(asked.seed, derived_seed(job))
    prompt = clean_text("prompt", asked.prompt, limits.max_prompt_characters, required=True)
    negative = clean_text("negative_prompt", negative, limits.max_prompt_characters)
    for field, text in (("prompt", prompt), ("negative_prompt", negative)):
        check_tokens(field, text, (tokens or {}).get(field, 0), limits)
    return construct(
        Recipe,
        model=bundle.model,
        revision=bundle.revision,
        prompt=prompt,
        negative_prompt=negative,
        seed=in_range("seed", seed, 0, LARGEST_SEED),
        width=width,
        height=height,
        num_frames=checked_frames(asked, fps, limits, defaults.num_frames),
        fps=fps,
        num_inference_steps=in_range("num_inference_steps", steps, 1, limits.max_inference_steps),
        guidance_scale=in_range("guidance_scale", guidance, 0.0, limits.max_guidance_scale) + 0.0,  # -0.0 is 0.0
        scheduler=checked_choice("scheduler", asked.scheduler or defaults.scheduler, limits.schedulers),
        flow_shift=defaults.flow_shift,
        max_sequence_length=limits.max_sequence_length,
        cache=asked.cache and checked_cache(asked.cache, limits),
    )


def retention_of(asked: PromptSubmitted) -> Retention | None:
    """The class that it names. Raises `InvalidJob`."""
    if asked.retention is None:
        return None
    return Retention(checked_choice("retention", asked.retention, tuple(each.value for each in CLASSES)))


def check_tokens(field: str, text: str, count: int, limits: Limits) -> None:
    """Raises `InvalidJob` for more tokens than the model reads: it would never see the rest."""
    most = limits.max_sequence_length
    if count > most:
        raise InvalidJob(field, text, f"has {count} tokens with the end token, at most {most}", f"{most} tokens")


def find_bundle(model: str, bundles: dict[str, BundleManifest]) -> BundleManifest:
    return bundles[checked_choice("model", model, tuple(bundles))]


def checked_choice(field: str, value: str, choices: tuple[str, ...]) -> str:
    if value in choices:
        return value
    close = difflib.get_close_matches(value, choices, n=1, cutoff=0.0)
    raise InvalidJob(field, value, f"must be one of {', '.join(choices)}", close[0] if close else None)


def checked_cache(asked: FeatureCache, limits: Limits) -> FeatureCache:
    """Raises `InvalidJob` for a kind that is not offered, a threshold or a number of steps out of range."""
    steps = limits.max_inference_steps
    return FeatureCache(
        kind=checked_choice("cache.kind", asked.kind, CACHES),
        threshold=in_range("cache.threshold", asked.threshold, 0.0, 1.0) + 0.0,
        cache_reset_every=in_range("cache.cache_reset_every", asked.cache_reset_every, 1, steps),
    )


def asked_size(size: str | None, width: int | None, height: int | None) -> str | None:
    """`size`, or what `width` and `height` say in its stead. Raises `InvalidJob` where they contradict each other."""
    if width is None and height is None:
        return size
    for field, side in (("width", width), ("height", height)):
        if side is None:
            raise InvalidJob(field, "unset", "width and height come together, or as size")
    asked = f"{width}x{height}"
    if size and size.lower() != asked:
        raise InvalidJob("size", size, "width and height say otherwise", asked)
    return asked


def checked_size(size: str, limits: Limits) -> tuple[int, int]:
    """Width and height of `WIDTHxHEIGHT`, both even for H.264. Raises `InvalidJob`."""
    sides = re.fullmatch(r"([0-9]{1,9})[xX]([0-9]{1,9})", size)
    if sides is None:
        raise InvalidJob("size", size, "must be WIDTHxHEIGHT in pixels, such as 832x480")
    width, height = int(sides[1]), int(sides[2])
    problem = size_problem(width, height, limits)
    if problem:
        raise InvalidJob("size", size, problem, nearest_size(width, height, limits))
    return width, height


def size_problem(width: int, height: int, limits: Limits) -> str | None:
    multiple = even_multiple(limits)
    if min(width, height) < limits.min_side:
        return f"both sides must be at least {limits.min_side} pixels"
    if width % multiple or height % multiple:
        return f"both sides must be multiples of {multiple}"
    for name, side, valid in zip(("width", "height"), (width, height), valid_sides(limits), strict=True):
        if side not in valid:
            most = f"at most {valid[-1]}" if side > valid[-1] else f"at least {valid[0]}"
            return f"{name} must be {most if len(valid) > 1 else valid[0]} pixels"
    if width * height > limits.max_pixels:
        return f"width x height must be at most {limits.max_pixels} pixels"
    return None


def even_multiple(limits: Limits) -> int:
    """H.264 in yuv420p needs even sides, whatever the model allows."""
    return limits.size_multiple if limits.size_multiple % 2 == 0 else 2 * limits.size_multiple


def valid_sides(limits: Limits) -> tuple[range, range]:
    """Widths and heights that a frame may have, each for itself: `max_pixels` is not looked at."""
    multiple = even_multiple(limits)

    def between(least: int, most: int) -> range:
        return range(-(-max(least, limits.min_side) // multiple) * multiple, most + 1, multiple)

    return between(limits.min_width, limits.max_width), between(limits.min_height, limits.max_height)


def nearest_size(width: int, height: int, limits: Limits) -> str:
    """A valid size close to the asked one: each side within its own bounds, both scaled into the pixel budget and
    rounded to the multiple; then the longer one gives way, and the other if that is not enough."""
    valid = valid_sides(limits)
    sides = [nearest_side(side, among) for side, among in zip((width, height), valid, strict=True)]
    scale = min(1.0, (limits.max_pixels / (sides[0] * sides[1])) ** 0.5)
    sides = [nearest_side(side * scale, among) for side, among in zip(sides, valid, strict=True)]
    for place in sorted((0, 1), key=lambda place: -sides[place]):
        room = limits.max_pixels // sides[1 - place]
        among = range(valid[place].start, max(room, valid[place].start) + 1, valid[place].step)
        sides[place] = min(sides[place], among[-1])
    return f"{sides[0]}x{sides[1]}"


def nearest_side(side: float, among: range) -> int:
    return min(max(round(side / among.step) * among.step, among[0]), among[-1])


def checked_frames(asked: PromptSubmitted, fps: int, limits: Limits, default: int) -> int:
    """Frames asked for directly, or the nearest valid count to `seconds` x fps + 1, or the default."""
    if asked.num_frames is not None:
        return valid_frames(asked.num_frames, limits)
    if asked.seconds is None:
        return default
    return frames_of(asked.seconds, fps, limits)


def frames_of(seconds: float, fps: int, limits: Limits) -> int:
    """The valid frame count nearest to `seconds` x fps + 1. Raises `InvalidJob` beyond the limit."""
    step, most = limits.frame_step, most_frames(limits)
    longest = (most - 1) / fps
    if not seconds > 0:
        raise InvalidJob("seconds", seconds, "must be above 0", f"{step / fps:g}")
    frames = round(min(seconds, longest + step) * fps / step) * step + 1
    if frames > most:
        raise InvalidJob("seconds", seconds, f"at most {longest:g} s at {fps} fps", f"{longest:g}")
    return frames


def valid_frames(frames: int, limits: Limits) -> int:
    """Raises `InvalidJob` unless `frames` is a count that the model makes."""
    step, most = limits.frame_step, most_frames(limits)
    nearest = min(max((frames - 1 + step // 2) // step, 0) * step + 1, most)
    if frames != nearest:
        raise InvalidJob("num_frames", frames, f"must be {step}k + 1 and at most {most}", nearest)
    return frames


def most_frames(limits: Limits) -> int:
    return (limits.max_frames - 1) // limits.frame_step * limits.frame_step + 1


def in_range(field: str, value: Number, low: Number, high: Number) -> Number:
    if not low <= value <= high:
        raise InvalidJob(field, value, f"must be between {low} and {high}", min(max(value, low), high))
    return value


def or_default(value: Value | None, default: Value) -> Value:
    return default if value is None else value
