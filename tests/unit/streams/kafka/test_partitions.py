"""More than one cell is refused in words, by everything that reads the settings, until it is safe."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from latentline.main import app
from streams.kafka.partitions import WrongPartitions, check_count
from streams.kafka.topics import PROMPTS

COMMANDS = (
    "up", "doctor", "topics apply", "topics check", "coordinator", "worker encode", "views", "gateway", "notifier",
    "submit circle", "audit", "gc",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not refused must not find a broker either."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTLINE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LATENTLINE_KAFKA_BOOTSTRAP", "127.0.0.1:9")


@pytest.mark.parametrize("command", COMMANDS)
def test_two_cells_are_refused_by_every_command_and_process(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTLINE_CELLS", "2")
    answer = CliRunner().invoke(app, command.split())
    assert answer.exit_code == 2
    assert answer.stderr.startswith("error: LATENTLINE_CELLS: 2 cells are not safe yet")
    assert "set 1" in answer.stderr
    assert not (tmp_path / "data").exists(), "nothing was begun"


def test_a_worker_of_a_cell_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTLINE_CELL", "1")
    answer = CliRunner().invoke(app, ["worker", "encode"])
    assert (answer.exit_code, answer.stderr) == (
        2, "error: LATENTLINE_CELL: 1 is no cell of this line: they are numbered from 0 to 0\n"
    )  # fmt: skip


def test_the_advice_about_too_many_partitions_is_one_that_can_be_followed() -> None:
    with pytest.raises(WrongPartitions) as refused:
        check_count(PROMPTS, "prompts", found=2, cells=1)
    assert "LATENTLINE_CELLS=2" not in str(refused.value)
    assert "delete the topic while the line is down" in str(refused.value)
