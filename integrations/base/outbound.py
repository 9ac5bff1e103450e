"""Where this installation may connect to: https and public addresses, plus what the operator has allowed.

The address that is connected to is judged, never the spelling of a name: a decimal or octal host, an IPv4
address wrapped in IPv6 and a name whose DNS answer changes all end as one resolved address here.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal
from urllib.parse import urlsplit

from integrations.base.errors import ConfigurationError

EVERYTHING = "1"

_NEVER_NETWORKS: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fe80::/10"),
)
_NEVER_ADDRESSES = frozenset(
    ipaddress.ip_address(a)
    for a in (
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, pod identity
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure wire server
        "192.0.0.192",  # Oracle
    )
)
_NEVER_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.tencentyun.com",
    }
)
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = IPv6Network("::/96")

Address = IPv4Address | IPv6Address


def _inner(ip: Address) -> list[Address]:
    """The address itself and every IPv4 address that it carries to its real destination."""
    found: list[Address] = [ip]
    if isinstance(ip, IPv6Address):
        carried = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64 or (ip in _V4_COMPATIBLE and int(ip) > 1):
            carried.append(IPv4Address(int(ip) & 0xFFFFFFFF))
        found += [v4 for v4 in carried if v4 is not None]
    return found


def _is_public(ip: Address) -> bool:
    if ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback:
        return False
    if isinstance(ip, IPv6Address) and ip.is_site_local:
        return False
    return ip.is_global


def _literal(host: str) -> Address | None:
    """The address that `host` spells, also in the decimal, octal and hexadecimal ways that resolvers accept."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        if not host[:1].isdigit():
            return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


class OutboundPolicy:
    """What may be connected to. `allow` holds the entries of ALLOW_PRIVATE_HOSTS.

    An entry is a host name, an address, a network, or "1" for everything; what it matches may also be plain
    http. Link-local and metadata addresses are refused whatever `allow` says. Raises ValueError for an entry
    that looks like a network and is none.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        names: set[str] = set()
        networks: list[IPv4Network | IPv6Network] = []
        self._everything = False
        for entry in (e.strip().lower() for e in allow):
            if not entry:
                continue
            if entry == EVERYTHING:
                self._everything = True
                continue
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if "/" in entry:
                    raise ValueError(f"ALLOW_PRIVATE_HOSTS: {entry!r} is not a network") from None
                names.add(entry.rstrip("."))
        self._names = frozenset(names)
        self._networks = tuple(networks)

    def _allowed(self, host: str, ips: Iterable[Address]) -> bool:
        if self._everything or host in self._names:
            return True
        return any(ip in net for ip in ips for net in self._networks if ip.version == net.version)

    def check_url(self, url: str) -> None:
        """Refuse what can be refused without asking DNS: for forms, and before every request.

        Raises ConfigurationError. Passing does not mean that a connection will be allowed: see `check_address`.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".").lower()
            parts.port  # noqa: B018 - reading it is what validates it
        except ValueError as error:
            raise _refused("The URL", f"cannot be read ({error})", "url_invalid") from None
        if parts.scheme not in ("http", "https") or not host:
            raise _refused(host or "The URL", "must be a full https address", "url_invalid")
        if parts.username is not None or parts.password is not None:
            raise _refused(host, "must not carry a user name or password in its URL", "url_invalid")
        if host in _NEVER_NAMES:
            raise _refused(host, "is a metadata service, which is never called", "outbound_refused")
        literal = _literal(host)
        if literal is not None:
            self.check_address(host, str(literal), parts.scheme)
        elif parts.scheme == "http" and not (self._allowed(host, ()) or self._networks):
            raise _refused(host, "must be called over https", "https_required")

    def check_address(self, host: str, ip: str, scheme: str) -> None:
        """Judge one resolved address of `host`, just before connecting to it. Raises ConfigurationError."""
        host = host.strip("[]").rstrip(".").lower()
        address = ipaddress.ip_address(ip.partition("%")[0])
        every = _inner(address)
        if host in _NEVER_NAMES or any(a in _NEVER_ADDRESSES or any(a in n for n in _never(a)) for a in every):
            raise _refused(host, f"leads to {ip}, a link-local or metadata address, which is never called", "outbound_refused")
        if self._allowed(host, every):
            return
        if scheme != "https":
            raise _refused(host, "must be called over https", "https_required")
        if not all(_is_public(a) for a in every if not _is_wrapper(a)):
            raise _refused(host, f"leads to {ip}, which is not a public address", "outbound_refused")


def _never(ip: Address) -> list[IPv4Network | IPv6Network]:
    return [net for net in _NEVER_NETWORKS if net.version == ip.version]


def _is_wrapper(ip: Address) -> bool:
    """Whether only the carried IPv4 address counts: IPv4-mapped and NAT64 addresses are no place of their own."""
    return isinstance(ip, IPv6Address) and (ip.ipv4_mapped is not None or ip in _NAT64)


def _refused(host: str, why: str, code: Literal["url_invalid", "outbound_refused", "https_required"]) -> ConfigurationError:
    return ConfigurationError(
        f"{host} {why}.",
        code=code,
        remedy="Correct the URL of the connection, or have the administrator add the host to ALLOW_PRIVATE_HOSTS.",
    )
