"""A topic whose last stable offset hangs is told, with its place and for how long, until it can be read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import pytest
from confluent_kafka import KafkaError, KafkaException

from runtime.metrics import registry_of
from runtime.settings import Settings
from streams.coordinator.service import stability as stability_module
from streams.coordinator.service.stability import Stability
from streams.kafka.offsets import HELD_AFTER_S, Ends
from tests.support import eventually

PLACE = ("prompts", 0)


@pytest.fixture
def stability() -> Iterator[Stability]:
    found = Stability(Settings(topic_prefix="", kafka_bootstrap="127.0.0.1:1"), cell=0)
    yield found
    found.close()


def shown(name: str) -> float | None:
    return registry_of("coordinator").get_sample_value(f"latentline_{name}", {"topic": "prompts"})


def test_what_is_held_at_one_offset_is_told_once_it_lasts(stability: Stability) -> None:
    later = HELD_AFTER_S + 1
    stability.take({PLACE: Ends(7, 9)}, 0.0)
    assert stability.words(HELD_AFTER_S) == []
    stability.take({PLACE: Ends(7, 12)}, later)
    [words] = stability.words(later)
    assert words.startswith(f"prompts cannot be read beyond offset 7 for {later:.0f} s")
    assert (shown("stable_offset_lag_records"), shown("stable_offset_held_seconds")) == (5, later)
    stability.take({PLACE: Ends(12, 12)}, later + 1)
    assert stability.words(later + 1) == []
    assert (shown("stable_offset_lag_records"), shown("stable_offset_held_seconds")) == (0, 0)


def test_short_transactions_one_after_the_other_hold_nothing(stability: Stability) -> None:
    for second in range(int(3 * HELD_AFTER_S)):
        stability.take({PLACE: Ends(second, second + 1)}, float(second))
        assert stability.words(float(second)) == []


def test_a_client_that_was_refused_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka goes on with the leader epoch of before a restart, so that nothing held would be seen for minutes."""
    made: list[Settings] = []
    monkeypatch.setattr(stability_module, "EVERY_S", 0.01)
    monkeypatch.setattr(stability_module, "admin_client", made.append)
    monkeypatch.setattr(stability_module, "ends_of", refused)
    watched = Stability(Settings(topic_prefix="", kafka_bootstrap="127.0.0.1:1"), cell=0)
    try:
        eventually(lambda: len(made) > 2)
    finally:
        watched.close()


def refused(admin: object, places: object) -> NoReturn:
    raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
