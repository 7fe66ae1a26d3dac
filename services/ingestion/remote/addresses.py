"""Addresses that this service may connect to on somebody's behalf."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("::/96"))
"""IPv6 that carries an IPv4 address in its last 32 bits, beside those that Python's own properties name."""
REFUSED = tuple(
    map(
        ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "100::/64", "2001::/23", "5f00::/16", "fec0::/10"),
    )
)
"""Special purposes that not every Python release knows (IANA's registries), and site-local."""


def may_reach(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address is public, or lies in a network that the operator allows; both for what it carries inside."""
    try:
        address = ip_address(text)
    except ValueError:  # such as fe80::1%eth0
        return False
    return all(_public(one) or _within(one, allowed) for one in (address, *_carried(address)))


def _public(address: Address) -> bool:
    special = any(address.version == network.version and address in network for network in REFUSED)
    mapped = isinstance(address, IPv6Address) and bool(_carried(address))
    return not special and not address.is_multicast and (address.is_global or mapped)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _carried(address: Address) -> list[Address]:
    """IPv4 addresses inside an IPv6 one: mapped, 6to4, Teredo (both ends), translated."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in TRANSLATED) and int(address) > 1:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]
