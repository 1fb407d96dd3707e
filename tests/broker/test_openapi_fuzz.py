"""The service against its own OpenAPI document, by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.settings import DEFAULT_KEY
from tests.processes import Service

pytestmark = pytest.mark.broker

ALWAYS = ("--phases", "examples,coverage,fuzzing", "--no-color")
# What a model allows is not in the document: a size may be well formed and still be refused.
SPARED = ("--exclude-checks", "positive_data_acceptance")
# A stream of events ends with its job, and a test of a webhook with what the notifier says: here no job ends, and there
# is no notifier.
LEFT_OUT = ("--exclude-path-regex", "/(events|test)$")


def fuzz(entrance: Service, folder: Path, *more: str, seconds: float) -> None:
    url = f"http://127.0.0.1:{entrance.settings.gateway_port}"
    asked = [f"{url}/openapi.json", "--header", f"Authorization: Bearer {DEFAULT_KEY}", *ALWAYS, *SPARED, *LEFT_OUT]
    words = [sys.executable, "-m", "schemathesis.cli", "run", *asked, *more]
    # It leaves what it has found in the folder where it runs.
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=seconds)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert entrance.is_ready


def test_what_the_document_says_is_what_the_service_does(entrance: Service, tmp_path: Path) -> None:
    fuzz(entrance, tmp_path, "--max-examples", "3", "--generation-deterministic", seconds=120)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_the_document_says_at_length(entrance: Service, tmp_path: Path) -> None:
    fuzz(entrance, tmp_path, "--max-examples", "200", "--generation-database", "none", seconds=580)
