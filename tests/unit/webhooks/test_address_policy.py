"""Which addresses may be reached."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from runtime.settings import Settings
from webhooks.address_policy import Gate, forbidden

INSIDE = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:808:808::1", "2001::1", "100::1", "3fff::1", "5f00::1", "192.88.99.1",
)  # fmt: skip
OUTSIDE = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_is_refused_in_whatever_clothes(address: str) -> None:
    assert forbidden(ip_address(address))
    assert not Gate().admits("a.example", address, 443)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_outside_may_be_reached(address: str) -> None:
    assert Gate().admits("a.example", address, 443)


@pytest.mark.parametrize(
    ("allowed", "url", "problem"),
    [
        ("", "https://a.example/x?y=1", None),
        ("", "https://a.example:8443", None),
        ("", "http://a.example", "https"),
        ("", "ftp://a.example", "https"),
        ("", "https://127.0.0.1/", "private"),
        ("", "https://[::1]/", "private"),
        ("", "https://[::ffff:10.0.0.1]/", "private"),
        ("", "https://8.8.8.8/", None),
        ("", "https://me:secret@a.example/", "user name"),
        ("", "https:///x", "no host"),
        ("", "https://a.example:99999/", "no URL"),
        ("", "https://[::1/", "no URL"),
        ("localhost:8000", "http://localhost:8000/", None),
        ("localhost:8000", "http://localhost:8001/", "https"),
        ("localhost:*", "http://localhost:8001/", None),
        ("localhost:80", "http://localhost/", None),
        ("LOCALHOST:8000, 10.0.0.0/8:80", "http://Localhost.:8000/", None),
        ("localhost:*", "http://127.0.0.1/", "https"),
        ("10.0.0.0/8:80", "http://10.1.2.3/", None),
        ("10.0.0.0/8:443", "https://10.1.2.3/", None),
        ("10.0.0.0/8:80", "https://10.1.2.3/", "private"),
        ("10.0.0.0/8:*", "https://11.0.0.1/", None),
        ("10.0.0.0/8:*", "https://192.168.0.1/", "private"),
        ("[fd00::/8]:443", "https://[fd00::1]/", None),
        ("[fd00::/8]:443", "https://[fd00::1]:8443/", "private"),
        ("10.1.2.3:8080", "http://10.1.2.3:8080/", None),
    ],
)  # fmt: skip
def test_which_urls_are_taken(allowed: str, url: str, problem: str | None) -> None:
    found = Gate.of(allowed).problem_with_url(url)
    assert found is None if problem is None else found is not None and problem in found


def test_what_the_operator_names_may_be_reached_and_its_neighbours_not() -> None:
    gate = Gate.of("hook.internal:80, 10.1.0.0/16:80, [fd00::/8]:80")
    assert gate.admits("hook.internal", "127.0.0.1", 80)
    assert gate.admits("a.example", "10.1.2.3", 80)
    assert gate.admits("a.example", "fd00::1", 80)
    assert not gate.admits("hook.internal.example", "127.0.0.1", 80)
    assert not gate.admits("a.example", "10.2.0.1", 80)
    assert not gate.admits("hook.internal", "127.0.0.1", 81)


@pytest.mark.parametrize(
    "entry",
    ["localhost", "10.1.0.0/16", "fd00::/8", "[fd00::/8]", "localhost:", "localhost:0", "localhost:65536", ":80",
     "http://localhost:80", "[not-an-address]:80", "local host:80"],
)  # fmt: skip
def test_an_allowance_without_a_port_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValidationError, match="webhook_allow"):
        Settings(webhook_allow=f"localhost:80,{entry}")
