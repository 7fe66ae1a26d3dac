"""Which addresses an import may be sent to."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.remote.addresses import may_reach


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_addresses_may_be_reached(address: str) -> None:
    assert may_reach(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "localhost",
        "",
    ],
)
def test_addresses_inside_may_not(address: str) -> None:
    assert not may_reach(address, ())


def test_a_network_that_the_operator_names_may_be_reached_and_no_other() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))
    assert may_reach("10.1.2.3", allowed)
    assert may_reach("::ffff:10.1.2.3", allowed)
    assert may_reach("fd00:1::5", allowed)
    assert not may_reach("10.2.0.1", allowed)
    assert not may_reach("fd00:2::5", allowed)
    assert not may_reach("169.254.169.254", allowed)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_however_ipv6_wraps_it(number: int) -> None:
    plain = ip_address(number)
    assert may_reach(f"::ffff:{plain}", ()) == may_reach(str(plain), ())
    assert may_reach(f"64:ff9b::{plain}", ()) == may_reach(str(plain), ())
