"""README's "Use it": each command is run as it stands there, with the addresses of the line that the tests started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from infra.local import ports
from stages.media.h264 import probe
from streams.kafka.topics import COMPLETIONS, PROMPTS
from tests.e2e.conftest import Line
from tests.e2e.test_cli import variables
from tests.processes import Service, services

pytestmark = pytest.mark.broker

PROJECT = Path(__file__).resolve().parents[2]
GATEWAY, ENVIRONMENT = "127.0.0.1:8080", ".venv/bin/"
USE_IT = re.search(r"^## Use it$(.*?)^## ", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", USE_IT[1] if USE_IT else "", re.MULTILINE | re.DOTALL)


def block(word: str) -> str:
    """The one block with this word in it."""
    found: str
    (found,) = [text for _, text in BLOCKS if word in text]
    return found


def test_every_block_can_be_read() -> None:
    assert [language for language, _ in BLOCKS] == ["sh", "python", "sh", "sh"]
    for language, text in BLOCKS:
        if language == "python":
            compile(text, "README.md", "exec")
        else:
            subprocess.run(["sh", "-n", "-c", text], check=True)


@pytest.fixture(scope="module")
def gateway(whole: Line) -> Iterator[Service]:
    [port] = ports.choose([0])
    settings = whole.settings.model_copy(update={"gateway_port": port})
    with services(settings, gateway="gateway") as running:
        yield running["gateway"]


def here(text: str, gateway: Service) -> str:
    """The text with this line's gateway, and with this environment's commands."""
    text = text.replace(GATEWAY, f"127.0.0.1:{gateway.settings.gateway_port}")
    return text.replace(ENVIRONMENT, f"{Path(sys.executable).parent}/").replace("examples/", f"{PROJECT}/examples/")


def environment(line: Line) -> dict[str, str]:
    settings = line.settings
    names = {"KAFKA": settings.kafka_bootstrap, "GROUP": f"{settings.topic_prefix}readme"}
    topics = {"PROMPTS": PROMPTS.named(settings.topic_prefix), "COMPLETIONS": COMPLETIONS.named(settings.topic_prefix)}
    return os.environ | variables(line) | names | topics


@pytest.mark.long
def test_curl(gateway: Service, line_of_all: Line, tmp_path: Path) -> None:
    text = here(block("curl"), gateway)
    done = subprocess.run(["sh", "-ec", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "event: done" in done.stdout
    assert probe((tmp_path / "video.mp4").read_bytes()).frames == 17


@pytest.mark.long
def test_the_official_client(gateway: Service, line_of_all: Line, tmp_path: Path) -> None:
    argv = [sys.executable, "-W", "ignore", "-c", here(block("openai"), gateway)]
    subprocess.run(argv, cwd=tmp_path, check=True)
    assert probe((tmp_path / "video.mp4").read_bytes()).frames == 17
    with Image.open(tmp_path / "frames.jpg") as frames:
        assert frames.size == (5 * 64, 4 * 64)


@pytest.mark.long
def test_kafka(gateway: Service, line_of_all: Line, tmp_path: Path) -> None:
    produce, consume = here(block("producer.py"), gateway).splitlines()
    subprocess.run(["sh", "-ec", produce], env=environment(line_of_all), cwd=tmp_path, check=True)
    consumer = subprocess.Popen(
        ["sh", "-ec", f"exec {consume}"], env=environment(line_of_all), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert consumer.stdout is not None
    assert any(line.startswith("latentline.job_completed.v1 ") for line in consumer.stdout)
    consumer.send_signal(2)
    assert consumer.wait(30) == 0
    consumer.stdout.close()


@pytest.mark.long
def test_the_command_line(gateway: Service, line_of_all: Line, tmp_path: Path) -> None:
    text = here(block("latentline submit"), gateway)
    done = subprocess.run(
        ["sh", "-ec", text], env=environment(line_of_all), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "completed" in done.stdout
