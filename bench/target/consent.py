"""Whether an endpoint may be put under load: somebody has to have said so. Pure."""

from __future__ import annotations

import ipaddress
from enum import Enum


class Consent(Enum):
    """What is known of whether it may be."""

    GIVEN = "given"
    ASK = "ask"
    REFUSED = "refused"


def consent(host: str, *, yes: bool, interactive: bool) -> Consent:
    """Whether to begin, to ask, or not to. Another machine is never a target that nobody has agreed to.

    Args:
        host: of the endpoint; yes: it was agreed to on the command line; interactive: somebody is there to be asked.
    """
    if yes:
        return Consent.GIVEN
    if interactive:
        return Consent.ASK
    return Consent.GIVEN if is_this_machine(host) else Consent.REFUSED


def is_this_machine(host: str) -> bool:
    """Whether it is a loopback address, or its usual name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
