"""Which machine a client is at: behind proxies that are trusted, and for counting."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from transport.wire.port import Request

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;"\s]*))', re.IGNORECASE)  # RFC 7239
_PORT = re.compile(r"^(?:\[([^\]]*)\]|([^:]*))(?::\w+)?$")

HeaderName = Literal["x-forwarded-for", "forwarded"]


class Proxies:
    """Believes a header of proxies that are trusted, and of nobody else.

    Each proxy adds, at the right, whom it was called by. So the rightmost one that is no proxy of ours is the client;
    what stands left of it, the client wrote itself.

    Args:
        networks: those of the proxies.
        header: which they set. Only one is read: the other one would come from whoever calls them.
    """

    def __init__(self, networks: Iterable[str] = (), header: HeaderName = "x-forwarded-for") -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in networks]
        self._header = header

    def are(self, address: str) -> bool:
        """Whether a proxy of ours has this address."""
        return (parsed := _parsed(address)) is not None and self._trusts(parsed)

    def client(self, request: Request, peer: str) -> str:
        """The address of the client that sent a request; the peer's own if it is no proxy of ours.

        Where a hop is hidden or garbled, the last proxy that can be believed stands for what is behind it.
        """
        found = _parsed(peer)
        if found is None or not self._networks:
            return peer
        for hop in reversed(self._hops(request)):
            if not self._trusts(found) or (before := _parsed(hop)) is None:
                break
            found = before
        return str(found)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def _hops(self, request: Request) -> Sequence[str]:
        hops = [each.strip() for each in request.header(self._header).split(",") if each.strip()]
        return hops if self._header == "x-forwarded-for" else [_named_for(hop) for hop in hops]


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 a /64, which is what one customer gets at least. Empty: unknown."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return "" if parsed is None else str(parsed)


def _named_for(element: str) -> str:
    found = _FOR.search(element)
    return "" if found is None else found[1] or found[2] or ""


def _parsed(text: str) -> _Address | None:
    """An address, with or without a port; None: it is none, such as `unknown`, or a name."""
    for each in (text, _without_port(text)):
        try:
            address = ipaddress.ip_address(each.partition("%")[0])
        except ValueError:
            continue
        return getattr(address, "ipv4_mapped", None) or address
    return None


def _without_port(text: str) -> str:
    found = _PORT.match(text)
    return "" if found is None else found[1] or found[2] or ""
