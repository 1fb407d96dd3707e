"""No name of before the rooms is left: `renamed.txt` says what each module was called and what it is called now."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
TABLE = Path(__file__).with_name("renamed.txt")
RENAMED = dict(line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#"))
TELLS_OF_BEFORE = {TABLE.name, "CHANGELOG.md", "requirements.lock"}
OLD = re.compile(
    "|".join(
        rf"(?<![\w./]){re.escape(name)}(?![\w])|(?<![\w]){re.escape(name.replace('.', '/'))}(?:\.py\b|/)"
        for name in sorted(RENAMED, key=len, reverse=True)
    )
)


def texts() -> list[Path]:
    """The tracked files of the project, or all of it where git does not know them."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    files = [PROJECT / name for name in listed.stdout.split("\n") if name]
    kinds = (".py", ".md", ".toml", ".yml", ".yaml", ".json", ".sh", "")
    return [file for file in files if file.suffix in kinds and file.name not in TELLS_OF_BEFORE and file.is_file()]


def test_no_old_name_is_left() -> None:
    found = [f"{file}: {match[0]}" for file in texts() for match in OLD.finditer(file.read_text())]
    assert found == []


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_what_is_renamed_is_there_under_its_new_name_alone(old: str, new: str) -> None:
    assert importlib.util.find_spec(new) is not None
    with suppress(ModuleNotFoundError):
        assert importlib.util.find_spec(old) is None
