"""Values that are put together without being validated equal those that are, in memory and as bytes."""

from __future__ import annotations

import pickle

import pytest

from schemas.base import Frozen, construct
from schemas.errors import ErrorKind
from schemas.events.reports import HeldState
from schemas.job import JobStatus, StageState
from schemas.stage import STAGES, Stage
from tests.contract.examples import FIRST


def parts_of(value: Frozen) -> dict[str, object]:
    return {name: getattr(value, name) for name in type(value).model_fields}


@pytest.mark.parametrize("example", FIRST, ids=lambda example: type(example).__name__)
def test_a_value_made_of_valid_parts_is_the_validated_one(example: Frozen) -> None:
    value = construct(type(example), **parts_of(example))
    assert value == example
    assert value.to_bytes() == example.to_bytes()
    assert pickle.loads(pickle.dumps(value)) == example
    assert type(example).read(value.to_bytes()) == example


def test_what_is_left_out_has_its_default() -> None:
    assert construct(StageState, key="k") == StageState(key="k")
    assert construct(StageState, key="k").to_bytes() == StageState(key="k").to_bytes()


def test_a_copy_with_changes_leaves_the_original_as_it_was() -> None:
    before = construct(StageState, key="k")
    after = before.replace(failures=2)
    assert (before.failures, after.failures) == (0, 2)
    assert after == StageState(key="k", failures=2)


@pytest.mark.parametrize("enum", [Stage, JobStatus, ErrorKind, HeldState])
def test_members_are_still_members(enum: type[Stage]) -> None:
    assert all(getattr(enum, name) is member is enum(member.value) for name, member in enum.__members__.items())


def test_each_stage_but_the_ends_has_two_neighbours() -> None:
    assert [stage.upstream for stage in STAGES] == [None, *STAGES[:-1]]
    assert [stage.downstream for stage in STAGES] == [*STAGES[1:], None]
