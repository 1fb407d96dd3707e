"""What is asked for over HTTP and over Kafka is taken alike, and what cannot be is refused by the same name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.api.create_request import from_fields
from gateway.problems import Problem
from schemas.errors import InvalidJob
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import Recipe
from tests.unit.strategies import bundle_of

BUNDLES = {"tiny": bundle_of()}
UNSET = ("tenant", "idempotency_key", "model", "negative_prompt", "size", "width", "height", "seconds", "num_frames",
         "fps", "num_inference_steps", "guidance_scale", "scheduler", "cache", "seed", "priority", "metadata", "exact",
         "runs", "webhook_url", "retention")  # fmt: skip


def over_kafka(fields: dict[str, Any]) -> PromptSubmitted:
    return PromptSubmitted.read({"tenant": "t", "idempotency_key": "k", "prompt": "x"} | fields)


def over_http(fields: dict[str, Any]) -> PromptSubmitted:
    return from_fields({"prompt": "x"} | fields).event("t", "k")


def recipe(prompt: PromptSubmitted) -> Recipe:
    return recipe_of(prompt, "video_1", BUNDLES, "tiny")


@pytest.mark.parametrize(
    "fields",
    [
        {"fps": 42.0}, {"fps": "42"}, {"num_frames": 17.0}, {"seed": 2**64 - 1}, {"seed": str(2**64 - 1)}, {"seed": -1},
        {"metadata": {"order": 7, "share": 0.5, "note": "a"}}, {"metadata": {"gone": None, "note": "a"}},
        {"width": 64, "height": 48}, {"width": 64.0, "height": "48"}, {"size": "64X48"}, {"priority": 5.0},
        {"seed": None, "metadata": None, "priority": None, "width": None}, {"guidance_scale": 3}, {"seconds": "1"},
    ],
    ids=repr,
)  # fmt: skip
def test_both_doors_take(fields: dict[str, Any]) -> None:
    kafka, http = over_kafka(fields), over_http(fields)
    assert recipe(kafka) == recipe(http)
    assert (kafka.metadata, kafka.priority) == (http.metadata, http.priority)
    if "width" not in fields:
        assert kafka.body_digest == http.body_digest


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"fps": 42.5}, "fps"), ({"seed": -2}, "seed"), ({"seed": 2**64}, "seed"), ({"seed": 1e30}, "seed"),
        ({"prompt": 7}, "prompt"), ({"prompt": "\ud83d"}, "prompt"), ({"prompt": "\u200b"}, "prompt"),
        ({"prompt": "a" + "\u0301" * 200}, "prompt"), ({"metadata": {"a": True}}, "metadata.a"),
        ({"metadata": {"a": [1]}}, "metadata.a"), ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"width": 64}, "height"), ({"height": 64}, "width"), ({"width": 64, "height": 48, "size": "32x32"}, "size"),
        ({"width": 63, "height": 48}, "size"), ({"width": "wide", "height": 48}, "width"), ({"size": 64}, "size"),
    ],
    ids=repr,
)  # fmt: skip
def test_both_doors_refuse_by_name(fields: dict[str, Any], name: str) -> None:
    assert (refused(over_kafka, fields), refused(over_http, fields)) == (name, name)


def refused(door: Any, fields: dict[str, Any]) -> str | None:
    try:
        recipe(door(fields))
    except ValidationError as error:
        return ".".join(map(str, error.errors()[0]["loc"]))
    except InvalidJob as error:
        return error.field
    except Problem as problem:
        return problem.param
    return "nothing"


@pytest.mark.parametrize("name", UNSET)
def test_null_is_unset_over_kafka(name: str) -> None:
    assert PromptSubmitted.read({"prompt": "x", name: None}) == PromptSubmitted(prompt="x")


def test_null_is_unset_deeper_and_in_every_event_of_others() -> None:
    assert set(UNSET) | {"prompt"} == set(PromptSubmitted.model_fields)
    assert over_kafka({"cache": {"threshold": None}}) == over_kafka({"cache": {}})
    assert over_kafka({"runs": {"encode": None}}) == over_kafka({"runs": {}})
    job = "video_" + "0" * 32
    assert CancelRequested.read({"job": job, "tenant": None, "reason": None}) == CancelRequested(job=job)
