"""Clients of other makers, each in an environment of its own: `python -m tests.clients` installs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".build" / "clients"
UV = ROOT / ".build" / "uv" / "bin" / "uv"
SDKS = ("2.26.0", "2.54.0", "3.54.0")
"""Of `openai`: the last one that sends JSON, the last of its line, and one that speaks through another HTTP library."""
OFFICIAL = {f"openai-{version}": f"openai=={version}" for version in SDKS}
PINS = OFFICIAL | {"litellm": "litellm==1.80.0"}


def python_of(name: str) -> Path:
    return FOLDER / name / "bin" / "python"


def install(name: str) -> None:
    """Does nothing where it is there. The mark is written last, so half an environment is made anew."""
    mark = FOLDER / name / PINS[name]
    if mark.exists():
        return
    subprocess.run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, FOLDER / name], check=True)
    subprocess.run([UV, "pip", "install", "--quiet", "--python", python_of(name), PINS[name]], check=True)
    mark.touch()
