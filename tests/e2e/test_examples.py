"""The examples are the public contract: plain clients with no import of ours, on the real line."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from confluent_kafka import TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.events.completions import JobCompleted
from schemas.events.prompts import PromptSubmitted
from schemas.stage_keys import identity_of
from streams.kafka import clients
from streams.kafka.reader import Reader
from streams.kafka.topics import COMPLETIONS, PROMPTS
from tests.e2e.conftest import Line
from tests.support import eventually
from tests.unit.latentline.test_job_table import completion

pytestmark = pytest.mark.broker

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OURS = {"schemas", "gpu_runner", "stages", "streams", "infra", "latentline"}


def environment(line: Settings) -> dict[str, str]:
    names = {
        "KAFKA": line.kafka_bootstrap,
        "PROMPTS": PROMPTS.named(line.topic_prefix),
        "COMPLETIONS": COMPLETIONS.named(line.topic_prefix),
        "GROUP": f"{line.topic_prefix}example",
    }
    return os.environ | names


def produce(line: Settings, prompt: str) -> None:
    subprocess.run([sys.executable, EXAMPLES / "producer.py", *prompt.split()], env=environment(line), check=True)


@contextmanager
def consumer(line: Settings) -> Iterator[IO[str]]:
    """What the consumer prints, line by line, until it is interrupted."""
    argv = [sys.executable, str(EXAMPLES / "consumer.py")]
    process = subprocess.Popen(argv, env=environment(line), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.send_signal(2)
        assert process.wait(30) == 0
        process.stdout.close()


def handled(line: Settings) -> int:
    """How many ends the consumer's group has committed."""
    names = environment(line)
    reader = clients.consumer(clients.READER, line, group_id=names["GROUP"])
    try:
        places = [TopicPartition(names["COMPLETIONS"], number) for number in range(COMPLETIONS.partitions)]
        return sum(max(place.offset, 0) for place in reader.committed(places, timeout=10))
    finally:
        reader.close()


@pytest.mark.parametrize("name", ["producer.py", "consumer.py"])
def test_an_example_is_short_and_imports_nothing_of_ours(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {module.partition(".")[0] for module in imported} & OURS
    assert len(text.splitlines()) <= 32


def test_the_producer_writes_the_event_that_the_line_reads(line: Settings) -> None:
    produce(line, "a blue square moving up on a red background")
    with Reader(line) as reader:
        reader.assign(reader.from_start(PROMPTS))
        (record,) = reader.read_to_end()
    event, around = envelope.read(record.value(), clients.headers_of(record))
    assert event == PromptSubmitted(prompt="a blue square moving up on a red background", tenant="acme")
    assert (record.key(), around.source, len(around.id)) == (b"acme", "examples/producer", 36)


def test_the_consumer_tells_each_end_once_also_after_it_was_stopped(line: Settings) -> None:
    producer = clients.producer(clients.PRODUCER, line)

    def end(job: str) -> None:
        value, headers = envelope.write(completion(job=job), id=job, source="test", time=time.time())
        producer.produce(COMPLETIONS.named(line.topic_prefix), value, "acme", headers=[*headers])
        producer.flush(10)

    end("video_1")
    with consumer(line) as said:
        assert said.readline() == "latentline.job_completed.v1 video_1 videos/v.mp4\n"
        eventually(lambda: handled(line) == 1)
    end("video_2")
    with consumer(line) as said:
        assert said.readline() == "latentline.job_completed.v1 video_2 videos/v.mp4\n"


def test_a_prompt_of_the_producer_comes_out_at_the_consumer(line_of_all: Line) -> None:
    settings = line_of_all.settings
    produce(settings, "a green circle moving right on a white background")
    with Reader(settings) as reader:
        reader.assign(reader.from_start(PROMPTS))
        *_, record = reader.read_to_end()
    event, around = envelope.read(record.value(), clients.headers_of(record))
    assert isinstance(event, PromptSubmitted)
    job = identity_of(event, around.source, around.id).job
    with consumer(settings) as said:
        line = next(line for line in said if job in line)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    assert line == f"latentline.job_completed.v1 {job} {end.video.key}\n"
