"""docs/reliability.md names for each fault what shows it: every test that it names exists, every kind of chaos too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.schedule import ALL_KINDS
from tests.support import is_a_test, is_long

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
SECTION = "## Each fault, what the line does, and what shows it"
NOT_SHOWN = "not shown yet"


def rows() -> list[list[str]]:
    section = PAGE.read_text().partition(SECTION)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_shows_a_fault_exists(row: list[str]) -> None:
    _, answer, shown = row
    tests = re.findall(r"`(tests/[^`]+)`", shown)
    kinds = [kind.strip() for found in re.findall(r"chaos: ([^;]+)", shown) for kind in found.split(",")]
    assert answer
    assert tests or kinds or NOT_SHOWN in shown
    assert [test for test in tests if not is_a_test(test)] == []
    assert set(kinds) <= {kind.name for kind in ALL_KINDS}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_make_test_shows_on_a_real_broker_and_store_comes_first(row: list[str]) -> None:
    first = re.findall(r"`(tests/[^`]+)`", row[2])[0]
    assert first.startswith(("tests/e2e/", "tests/broker/"))
    assert not is_long(first)


def test_every_kind_of_chaos_stands_in_the_table() -> None:
    assert [kind.name for kind in ALL_KINDS if not any(kind.name in row[2] for row in rows())] == []
