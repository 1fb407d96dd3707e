"""The count of tokens without torch is the one that the encode stage gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from transformers import AutoTokenizer

from runtime.token_counter import as_wan_reads, read_tokenizer, tokens_of
from schemas.bundle import read_bundles

BUNDLE = Path("bundles/tiny")
TEXTS = (
    "", "red", "a red circle moving right on a blue background", "RED, blue; green!", "red " * 40, "é🎬 ﷺ ½ fi",
    "a &amp; b &lt;i&gt;", "\u00c3\u00a9t\u00c3\u00a9", "x" * 400, "don't stop-motion 3.5x",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_both_count_alike(text: str) -> None:
    family = read_bundles([BUNDLE])["tiny"].family
    tokenizer = AutoTokenizer.from_pretrained(BUNDLE / "tokenizer")
    expected = len(tokenizer(prompt_clean(text), add_special_tokens=True).input_ids)
    assert tokens_of(read_tokenizer(BUNDLE / "tokenizer" / "tokenizer.json"), family, text) == expected
    assert as_wan_reads(text) == prompt_clean(text)
