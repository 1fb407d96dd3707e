"""A read model of its own for each test, and a gateway on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.api_keys import Keys
from gateway.dependencies import Gateway
from gateway.rate_limits import Rates
from gateway.read_model.change_notifier import ChangeNotifier
from gateway.read_model.eta import EtaEstimator
from gateway.read_model.read_model import ReadModel
from runtime.settings import Settings
from tests.unit.gateway.samples import BUNDLES


@pytest.fixture
def model(tmp_path: Path) -> Iterator[ReadModel]:
    model = ReadModel.in_folder(tmp_path)
    model.open_source("log", 0.0)
    yield model
    model.close()


@pytest.fixture
def gateway(model: ReadModel) -> Gateway:
    """One that has caught up and can reach neither broker nor store."""
    settings, away = Settings(), cast(Any, None)
    feed = cast(Any, SimpleNamespace(is_caught_up=True))
    return Gateway(
        settings,
        BUNDLES,
        model,
        Keys(settings),
        ChangeNotifier(),
        feed,
        away,
        away,
        away,
        EtaEstimator(),
        Rates(settings),
    )
