"""After a life that hung, prompts are taken in alone, and the one that ends two lives in a row is dead-lettered."""

from __future__ import annotations

from pathlib import Path

from runtime.settings import Settings
from runtime.watchdog import report_of
from streams.coordinator.core.dispatch import Record
from streams.coordinator.service.cautious_intake import Caution
from streams.kafka.topics import PROMPTS


def record(offset: int) -> Record:
    return Record(PROMPTS.name, 0, offset, b"{}", [])


def life(settings: Settings, hung: bool, batch: int = 200) -> Caution:
    """The caution with which a life begins whose former one hung or did not."""
    report = report_of(settings, "coordinator")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("in normalize" if hung else "")
    return Caution.after_former_life(settings, batch)


def test_the_prompt_that_ends_two_lives_in_a_row_is_dead_lettered_and_no_other(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for _ in range(2):
        caution = life(settings, hung=True)
        assert caution.prepared(record(7)).fault is None
        caution.taken_in()
        assert caution.prepared(record(8)).fault is None
        # Here it hangs; what came before is committed.
    caution = life(settings, hung=True)
    assert "2 lives of the coordinator" in (caution.prepared(record(8)).fault or "")
    caution.taken_in()
    assert caution.prepared(record(9)).fault is None


def test_a_life_that_ended_in_any_other_way_counts_for_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for hung in (True, True, False):
        caution = life(settings, hung)
        if caution.left:
            caution.prepared(record(8))
    assert not caution.left
    caution = life(settings, hung=True)
    assert caution.prepared(record(8)).fault is None


def test_caution_ends_after_as_many_prompts_as_one_turn_takes_in(tmp_path: Path) -> None:
    caution = life(Settings(data_dir=tmp_path), hung=True, batch=2)
    for offset in range(2):
        caution.prepared(record(offset))
        caution.taken_in()
    assert not caution.left
    assert list((tmp_path / "stuck").glob("*.json")) == []
