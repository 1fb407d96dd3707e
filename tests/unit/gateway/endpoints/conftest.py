"""A gateway that sets up webhook endpoints without a broker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import SecretStr

from gateway.dependencies import Gateway
from runtime.settings import Settings
from tests.unit.gateway.endpoints.samples import Acknowledging


@pytest.fixture
def gateway(gateway: Gateway) -> Gateway:
    """One whose intake acknowledges everything."""
    settings = Settings(webhook_secret=SecretStr("s" * 32))
    return replace(gateway, settings=settings, intake=cast(Any, Acknowledging()))
