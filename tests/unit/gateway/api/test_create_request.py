"""How requests are read: the same fields in both encodings, every wrong one named."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.bodies import folded
from gateway.api.create_request import from_fields
from gateway.problems import Problem
from schemas.events.prompts import PromptSubmitted

CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"prompt": "a cat"}, {"prompt": "a cat"}),
    ({"prompt": "a cat", "seconds": "2", "size": "64x64"}, {"prompt": "a cat", "seconds": 2.0, "size": "64x64"}),
    ({"prompt": "a cat", "seconds": 2, "seed": 7}, {"prompt": "a cat", "seconds": 2.0, "seed": 7}),
    ({"prompt": "a cat", "width": 64, "height": 48}, {"prompt": "a cat", "size": "64x48"}),
    ({"prompt": "a cat", "guidance_scale": 5.5, "fps": 8}, {"prompt": "a cat", "guidance_scale": 5.5, "fps": 8}),
    ({"prompt": "a cat", "metadata": {"n": 7, "a": "b"}}, {"prompt": "a cat", "metadata": {"n": "7", "a": "b"}}),
    ({"prompt": "a cat", "webhook_url": "https://a"}, {"prompt": "a cat", "webhook_url": "https://a"}),
    ({"prompt": "a cat", "user": "u1"}, {"prompt": "a cat", "metadata": {"user": "u1"}}),
    ({"prompt": "a cat", "extra_params": '{"seed": 3}', "fps": 8}, {"prompt": "a cat", "seed": 3, "fps": 8}),
    ({"prompt": "a cat", "num_inference_steps": 4, "negative_prompt": ""},
     {"prompt": "a cat", "num_inference_steps": 4, "negative_prompt": ""}),
]  # fmt: skip


def as_form(fields: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """As the official client flattens a body into a form."""
    pairs: list[tuple[str, Any]] = []
    for name, value in fields.items():
        key = f"{prefix}[{name}]" if prefix else name
        pairs += as_form(value, key) if isinstance(value, dict) else [(key, str(value))]
    return pairs


@pytest.mark.parametrize(("sent", "meant"), CASES)
def test_json_and_form_mean_the_same(sent: dict[str, Any], meant: dict[str, Any]) -> None:
    wanted = PromptSubmitted(tenant="t", idempotency_key="k", **meant)
    assert from_fields(sent).event("t", "k") == wanted
    assert from_fields(folded(as_form(sent))).event("t", "k") == wanted


def test_null_is_unset() -> None:
    assert from_fields({"prompt": "a cat", "seed": None, "extra_params": None}) == from_fields({"prompt": "a cat"})


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": "a cat", "sead": 1}, "unknown_parameter", "sead"),
        ({"prompt": "a cat", "seed": "x"}, "invalid_value", "seed"),
        ({"prompt": "a cat", "guidance_scale": "nan"}, "invalid_value", "guidance_scale"),
        ({"prompt": "a cat", "width": 64}, "invalid_value", "height"),
        ({"prompt": "a cat", "width": 64, "height": 64, "size": "32x32"}, "invalid_value", "size"),
        ({"prompt": "a cat", "metadata": {"a": "b" * 600}}, "invalid_value", "metadata.a"),
        ({"prompt": "a cat", "metadata": {"n" * 260_079: "v"}}, "invalid_value", f"metadata.{'n' * 80}.[key]"),
        ({"prompt": "a cat", "metadata": "a"}, "invalid_value", "metadata"),
        ({"prompt": "a cat", "extra_params": "["}, "invalid_json", "extra_params"),
        ({"prompt": "a cat", "input_reference": "file cat.png"}, "unsupported_parameter", "input_reference"),
        ({"prompt": "a cat", "webhook_url": "ftp://a"}, "invalid_value", "webhook_url"),
    ],
)
def test_a_wrong_field_is_named(sent: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Problem) as raised:
        from_fields(sent).event("t", "k")
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, code, param)


def test_brackets_fold_into_nested_values() -> None:
    pairs: list[tuple[str, Any]] = [("a[b][c]", "1"), ("a[d]", "2"), ("tags[]", "x"), ("tags[]", "y"), ("e", "3")]
    assert folded(pairs) == {"a": {"b": {"c": "1"}, "d": "2"}, "tags": ["x", "y"], "e": "3"}


@given(st.lists(st.tuples(st.text("ab[]", max_size=8), st.text(max_size=3)), max_size=5))
def test_no_form_breaks_the_folding(pairs: list[tuple[str, Any]]) -> None:
    with suppress(Problem):
        assert isinstance(folded(pairs), dict)
