"""Opens the connection that TLS to a relay begins on, and says in words why there is none. Knows no TLS."""

from __future__ import annotations

import asyncio
import os
import socket

from clave_client.errors import RelayUnreachable
from clave_client.net.address import RelayAddress
from clave_client.net.proxy import Proxy
from clave_client.net.tcp import connect_to_any, resolve

__all__ = ["open_connection"]


async def open_connection(
    address: RelayAddress, deadline: float, proxy: Proxy | None = None
) -> socket.socket:
    """Return a socket connected to a relay, through the proxy if there is one.

    It is connected by `deadline`, in the event loop's time. Raises `RelayUnreachable`.
    """
    if proxy is not None:
        try:
            async with asyncio.timeout_at(deadline):
                return await proxy.connect(address)
        except TimeoutError:
            raise RelayUnreachable(
                f"no way to {address}: the proxy {proxy} takes too long; check it, or try again later"
            ) from None
    try:
        async with asyncio.timeout_at(deadline):
            endpoints = await resolve(address.host, address.port)
    except TimeoutError:
        raise RelayUnreachable(
            f"looking up {address.host} takes too long; check this machine's network and name server"
        ) from None
    except socket.gaierror as error:
        reason = "check the address"
        if error.errno == socket.EAI_AGAIN:
            reason = "check the address and this machine's network: no name server answers"
        raise RelayUnreachable(f"there is no host {address.host}; {reason}") from None
    try:
        async with asyncio.timeout_at(deadline):
            return await connect_to_any(endpoints)
    except TimeoutError:
        raise RelayUnreachable(f"no relay at {address} (no answer); is it running?") from None
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "no answer"
        raise RelayUnreachable(f"no relay at {address} ({reason}); is it running?") from None
