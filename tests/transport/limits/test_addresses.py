"""Where a client is: what a proxy that is trusted says, and nothing that anybody else could have written."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.limits import Proxies, network_of
from transport.settings import Server
from transport.wire.port import Request

NETWORKS = ("10.0.0.0/8", "fd00::/8")


def client(peer: str, *values: str, header: str = "x-forwarded-for", networks: tuple[str, ...] = NETWORKS) -> str:
    request = Request(path="/", headers={header: values} if values else {})
    return Proxies(networks, header).client(request, peer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1",), "192.0.2.7"),  # anybody can write that
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),  # 1.1.1.1 was there before our proxy added its own
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),  # in two headers
        ("10.0.0.1", ("198.51.100.1, 10.0.0.2",), "198.51.100.1"),  # through two proxies
        ("10.0.0.1", ("10.9.9.9",), "10.9.9.9"),  # inside all the way
        ("10.0.0.1", ("198.51.100.1, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1, , 10.0.0.2,",), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("fd00::1", ("[2001:db8::7]:4711",), "2001:db8::7"),
        ("::ffff:10.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("", ("198.51.100.1",), ""),
    ],
)
def test_the_rightmost_hop_that_is_no_proxy_of_ours_is_the_client(
    peer: str, values: tuple[str, ...], expected: str
) -> None:
    assert client(peer, *values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('proto=https;For="[2001:db8::7]:80";by=10.0.0.1', "2001:db8::7"),
        ("for=1.1.1.1, for=198.51.100.1;host=a", "198.51.100.1"),
        ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
        ("host=for=1.1.1.1", "10.0.0.1"),
    ],
)
def test_forwarded_is_read_where_it_was_chosen(value: str, expected: str) -> None:
    assert client("10.0.0.1", value, header="forwarded") == expected


def test_the_header_that_was_not_chosen_is_not_read() -> None:
    request = Request(path="/", headers={"forwarded": ["for=1.1.1.1"]})
    assert Proxies(NETWORKS).client(request, "10.0.0.1") == "10.0.0.1"


@given(
    written=st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=12)), max_size=5), real=st.ip_addresses(v=4)
)
def test_whatever_a_client_writes_it_is_where_the_proxy_saw_it(written: list[str], real: ipaddress.IPv4Address) -> None:
    if real not in ipaddress.ip_network("10.0.0.0/8"):
        assert client("10.0.0.1", ", ".join([*written, str(real)])) == str(real)


@given(st.text(max_size=60))
def test_no_header_is_a_defect(value: str) -> None:
    for header in ("x-forwarded-for", "forwarded"):
        ipaddress.ip_address(client("10.0.0.1", value, header=header))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_a_64_counts_as_one_address(address: str, expected: str) -> None:
    assert network_of(address) == expected


def test_a_network_that_is_none_is_a_setting_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"trusted_proxies: 10[.]0[.]0[.]1/8 has host bits set"):
        Server(trusted_proxies=("10.0.0.1/8",))
