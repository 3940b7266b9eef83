"""A SOCKS5 proxy (RFC 1928, RFC 1929): how it is named, which one to take to a relay, and a way through it.

The proxy looks up the relay's name, so that it can be an onion service; no name server here is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from clave_client.errors import RelayUnreachable, UsageError
from clave_client.net.address import RelayAddress
from clave_client.net.tcp import connect_to_any, resolve
from clave_host.addresses import join_address
from clave_wire.text import sanitize

__all__ = ["NO_PROXY", "Proxy", "proxy_of_environment"]

NO_PROXY: Final = "none"
"""What is given in place of a proxy to connect without one."""

_SCHEMES: Final = ("socks5", "socks5h")
_EXAMPLE: Final = "socks5://127.0.0.1:9050"
_MOST_CREDENTIAL_BYTES: Final = 255
_MOST_SHOWN: Final = 100
"""Characters of a proxy's answer that are shown."""

_UNLIMITED: Final = 1e6
"""Seconds that the library may take: whoever calls has a limit for connecting as a whole."""

_REFUSALS: Final = {
    2: "does not allow it; ask who runs the proxy",
    3: "finds no network that leads there; check the relay's address",
    4: "finds no such host; check the relay's address",
    5: "was refused there; is the relay running?",
    6: "got no answer there; is the relay running?",
    7: "does not open connections; use another proxy",
    8: "does not take such an address; name the relay otherwise",
}
"""What a proxy that did not connect says, by the code of its reply (RFC 1928, section 6)."""


@dataclass(frozen=True)
class Proxy:
    """Where a SOCKS5 proxy listens, and what it asks for; `str` leaves out the user and the password."""

    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Parse `socks5://[USER:PASSWORD@]HOST:PORT`, or `socks5h`. Raises `UsageError`, without secrets."""
        try:
            url = urlsplit(text.strip())
            host, port = url.hostname or "", url.port or 0
        except ValueError:
            url, host, port = SplitResult("", "", "", "", ""), "", 0
        if url.scheme not in _SCHEMES or not host or not port or url.path.strip("/") or url.query:
            raise UsageError(
                f"a proxy is given as {_EXAMPLE}, with its port; only SOCKS5 is supported, and"
                f" {NO_PROXY} connects without one"
            )
        user, password = unquote(url.username or ""), unquote(url.password or "")
        given = [each for each in (user, password) if each]
        if len(given) == 1 or any(not each.isascii() or len(each) > _MOST_CREDENTIAL_BYTES for each in given):
            raise UsageError(
                "a proxy's user and password are given together, of up to 255 ASCII characters each;"
                " write special ones as %40"
            )
        return cls(RelayAddress.parse(join_address(host, port)).host, port, user, password)

    def encode(self) -> str:
        """Return what `parse` reads, with the password."""
        at = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"socks5://{at}{join_address(self.host, self.port)}"

    def __str__(self) -> str:
        return f"socks5://{join_address(self.host, self.port)}"

    async def connect(self, address: RelayAddress) -> socket.socket:
        """Return a socket that the proxy has connected to a relay. Raises `RelayUnreachable`."""
        from python_socks import ProxyError, ProxyType  # here, as most connections take no proxy
        from python_socks.async_.asyncio import Proxy as Way

        way = Way(
            ProxyType.SOCKS5,
            self.host,
            self.port,
            self.user or None,
            self.password or None,
            rdns=True,
            forward=cast(Any, _Link(self)),
            loop=asyncio.get_running_loop(),
        )
        try:
            return await way.connect(address.host, address.port, timeout=_UNLIMITED)
        except ProxyError as error:
            reason = _REFUSALS.get(error.error_code or 0)
            if reason is None:
                said = sanitize(str(error))[:_MOST_SHOWN]
                reason = (
                    f"does not connect there ({said}); check that it is a SOCKS5 proxy, its user and"
                    " password, and the relay's address"
                )
            raise RelayUnreachable(f"no way to {address}: the proxy {self} {reason}") from None
        except (OSError, ValueError):
            raise RelayUnreachable(
                f"the proxy {self} hangs up or answers something else; check that it is a SOCKS5 proxy"
            ) from None


class _Link:
    """The connection to a proxy, by any of its addresses; to `python_socks` a proxy before the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def connect(self, dest_host: str, dest_port: int, timeout: float | None) -> socket.socket:  # noqa: ASYNC109
        """Return a socket connected to the proxy. Raises `RelayUnreachable`."""
        try:
            return await connect_to_any(await resolve(dest_host, dest_port))
        except socket.gaierror:
            raise RelayUnreachable(f"there is no host {dest_host}; check the proxy's address") from None
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else "no answer"
            raise RelayUnreachable(f"no proxy at {self._proxy} ({reason}); is it running?") from None


def proxy_of_environment(environment: Mapping[str, str], address: RelayAddress) -> Proxy | None:
    """Return the proxy that ALL_PROXY names for a relay, as curl reads it; None for none.

    Loopback needs none, nor what NO_PROXY lists: names with all that end with them, addresses, or `*`. Raises
    `UsageError`.
    """
    text = environment.get("all_proxy") or environment.get("ALL_PROXY") or ""
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not text.strip() or _is_loopback(address.host) or _is_listed(address.host, exempt):
        return None
    try:
        return Proxy.parse(text)
    except UsageError as error:
        raise UsageError(f"ALL_PROXY cannot be used: {error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return f".{host.lower().rstrip('.')}".endswith(".localhost")


def _is_listed(host: str, listed: str) -> bool:
    name = f".{host.lower().rstrip('.')}"
    for entry in listed.lower().replace(",", " ").split():
        if entry == "*" or name.endswith(f".{entry.strip('[]').removeprefix('*').strip('.')}"):
            return True
    return False
