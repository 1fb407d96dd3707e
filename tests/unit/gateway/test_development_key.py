"""The key that everybody knows opens to this machine alone: by where the gateway listens, by Host, by Origin."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from gateway.api_keys import Keys, UnsafeSettings, check_mode
from gateway.dependencies import Gateway
from gateway.development_key import foreign_because, host_of, is_loopback
from runtime.settings import DEFAULT_KEY, Settings
from tests.unit.gateway.samples import SOME, asked

OWN = SecretStr("o" * 32)
LOOPBACK = ("127.0.0.1", "127.9.8.7", "localhost", "LOCALHOST", "localhost.", "[::1]", "::1")
ELSEWHERE = (
    "0.0.0.0", "::", "10.0.0.1", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "127.1",
    "[::ffff:10.0.0.1]", "2130706433", "127.0.0.1@evil.example", "１２７.0.0.1",
)  # fmt: skip


def of_origin(origin: str, host: str = "127.0.0.1:8080", origins: str = "") -> bool:
    settings = Settings(gateway_cors_origins=origins)
    return foreign_because(settings, {"host": host, "origin": origin}) is None


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_loopback_however_it_is_written(host: str) -> None:
    assert is_loopback(host)
    check_mode(Settings(gateway_host=host))


@pytest.mark.parametrize("host", ELSEWHERE)
def test_no_start_elsewhere_with_the_key_that_everybody_knows(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UnsafeSettings, match="LATENTLINE_GATEWAY_HOST"):
        check_mode(Settings(gateway_host=host))
    check_mode(Settings(gateway_host=host, gateway_default_key=OWN))
    check_mode(Settings(gateway_host=host, gateway_default_key=SecretStr("")))


def test_no_start_with_it_where_any_page_may_ask() -> None:
    with pytest.raises(UnsafeSettings, match="CORS_ORIGINS"):
        check_mode(Settings(gateway_cors_origins="https://studio.example, *"))
    check_mode(Settings(gateway_cors_origins="https://studio.example"))
    check_mode(Settings(gateway_cors_origins="*", gateway_default_key=OWN))


def test_production_takes_no_short_key() -> None:
    safe = Settings(
        gateway_mode="production", gateway_default_key=OWN, gateway_key_secret=OWN, webhook_secret=OWN
    )  # fmt: skip
    check_mode(safe)
    with pytest.raises(UnsafeSettings, match="DEFAULT_KEY has fewer than 16"):
        check_mode(safe.model_copy(update={"gateway_default_key": SecretStr("12345")}))


@pytest.mark.parametrize("header", ["127.0.0.1:8080", "127.0.0.1", "localhost:1", "[::1]:8080", "[::1]"])
def test_a_host_is_read_without_its_port(header: str) -> None:
    assert is_loopback(host_of(header))


@pytest.mark.parametrize("host", ["evil.example:8080", "gateway", "10.0.0.1:8080"])
def test_a_name_that_was_made_to_lead_here_gets_and_opens_nothing(gateway: Gateway, host: str) -> None:
    headers = {"host": host}
    assert asked(gateway, "GET", "/page.json", key=None, headers=headers).json() == {"key": ""}
    refused = asked(gateway, "GET", SOME, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "development_key")
    assert asked(gateway, "GET", "/page.json", key=None).json() == {"key": DEFAULT_KEY}
    assert asked(gateway, "GET", SOME).status_code == 404


def test_a_page_of_another_origin_opens_nothing(gateway: Gateway) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost"):
        assert asked(gateway, "POST", "/v1/videos", headers={"origin": origin}, json={}).status_code == 403
        assert asked(gateway, "GET", "/page.json", key=None, headers={"origin": origin}).json() == {"key": ""}
    own = asked(gateway, "POST", "/v1/videos", headers={"origin": "http://127.0.0.1"}, json={})
    assert own.json()["error"]["code"] == "missing_required_parameter"


def test_an_origin_is_the_gateways_own_or_named() -> None:
    assert of_origin("http://127.0.0.1:8080")
    assert of_origin("https://localhost:8443", "LocalHost:8443")
    assert not of_origin("http://127.0.0.1:8081")
    assert of_origin("https://studio.example", origins="https://studio.example")
    assert not of_origin("https://evil.example", origins="https://studio.example")


def test_a_key_of_ones_own_is_never_told_and_opens_from_anywhere(gateway: Gateway) -> None:
    settings = Settings(gateway_default_key=OWN)
    own = replace(gateway, settings=settings, keys=Keys(settings))
    assert asked(own, "GET", "/page.json", key=None).json() == {"key": ""}
    assert asked(own, "GET", SOME, key=OWN.get_secret_value(), headers={"host": "a.example"}).status_code == 404
    assert asked(own, "GET", SOME).status_code == 401
