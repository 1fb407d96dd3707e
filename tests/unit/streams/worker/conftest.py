"""A worker on the bench, new for each test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runtime.settings import Settings
from schemas.stage import Stage
from streams.worker.loop.leases import Leases
from streams.worker.loop.worker import Worker
from tests.unit.streams.worker.bench import Bench, Recorder


@pytest.fixture
def bench(tmp_path: Any) -> Bench:
    worker = Worker(Settings(data_dir=tmp_path, worker_name="w", slots=4), (Stage.DENOISE,), ("tiny",))
    record: Any = Recorder()
    worker.compute = worker.reporter = worker.inboxes = record
    worker.leases = Leases(worker.name, worker.incarnation, record, record, record)
    worker.surroundings = SimpleNamespace(condition="ready")  # type: ignore[assignment]
    return Bench(worker, record)
