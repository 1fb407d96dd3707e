"""No name of before the rooms is left. `renamed.txt`: what each module, class and function was called, and is now."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
TABLE = Path(__file__).with_name("renamed.txt")
ROWS = dict(line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#"))
MODULES = {old: new for old, new in ROWS.items() if ":" not in old}
NAMES = {old: new for old, new in ROWS.items() if ":" in old}
TELLS_OF_BEFORE = {TABLE.name, "CHANGELOG.md", "requirements.lock"}
OLD = re.compile(
    "|".join(
        rf"(?<![\w./]){re.escape(name)}(?![\w])|(?<![\w]){re.escape(name.replace('.', '/'))}(?:\.py\b|/)"
        for name in sorted(MODULES, key=len, reverse=True)
    )
)


def texts() -> list[Path]:
    """The tracked files of the project that people write."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    files = [PROJECT / name for name in listed.stdout.split("\n") if name]
    kinds = (".py", ".md", ".toml", ".yml", ".yaml", ".json", ".sh", "")
    return [file for file in files if file.suffix in kinds and file.name not in TELLS_OF_BEFORE and file.is_file()]


def defined_in(module: str) -> set[str]:
    """Classes, functions and constants of a module, by its source."""
    file = PROJECT / (module.replace(".", "/") + ".py")
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


def test_no_old_module_is_named_anywhere() -> None:
    found = [f"{file}: {match[0]}" for file in texts() for match in OLD.finditer(file.read_text())]
    assert found == []


@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_a_renamed_module_is_there_under_its_new_name_alone(old: str, new: str) -> None:
    assert importlib.util.find_spec(new) is not None
    with suppress(ModuleNotFoundError):
        before = importlib.util.find_spec(old)
        # A folder without a module, as git leaves it with caches in it, is found without an origin.
        assert before is None or before.origin is None


@pytest.mark.parametrize(("old", "new"), NAMES.items())
def test_a_renamed_class_or_function_is_there_under_its_new_name_alone(old: str, new: str) -> None:
    module, name = new.split(":")
    assert name in defined_in(module)
    assert old.split(":")[1] not in defined_in(module)
