"""Opens a TCP connection to a host by any of its addresses (happy eyeballs, RFC 8305). Knows no TLS."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final, NamedTuple

__all__ = ["ATTEMPT_DELAY", "Endpoint", "connect_to_any", "resolve"]

ATTEMPT_DELAY: Final = 0.25
"""Seconds that an address may take before the next one is tried beside it (RFC 8305, section 5)."""

_UNTELLING: Final = {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
"""Errors of a family of addresses that this machine does not have; another address's error says more."""


class Endpoint(NamedTuple):
    """One address of a host, as `getaddrinfo` names it."""

    family: int
    proto: int
    address: tuple[str | int | bytes, ...]


async def resolve(host: str, port: int) -> list[Endpoint]:
    """Return the addresses of `host` in the order to try them: families take turns. Raises `socket.gaierror`.

    A thread asks, which can be left behind: the system's resolver may take longer than anybody waits.
    """
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Endpoint]] = loop.create_future()

    def settle(found: list[Endpoint] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: list[Endpoint] | OSError
        try:
            found = _look_up(host, port, 0)
        except OSError as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=ask, name="clave-resolver", daemon=True).start()
    return await answer


def _look_up(host: str, port: int, flags: int) -> list[Endpoint]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    endpoints = [Endpoint(family, proto, address) for family, _, proto, _, address in found]
    first = [one for one in endpoints if one.family == endpoints[0].family]
    others = [one for one in endpoints if one.family != endpoints[0].family]
    return [one for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


async def connect_to_any(endpoints: Sequence[Endpoint]) -> socket.socket:
    """Return a socket connected to the first endpoint that answers. Raises `OSError` when none does.

    Each is tried when the one before failed, or has not answered within `ATTEMPT_DELAY`.
    """
    waiting = list(endpoints)
    attempts: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_connect(waiting.pop(0))))
            done, _ = await asyncio.wait(
                attempts,
                timeout=ATTEMPT_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                attempts.discard(attempt)
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for attempt in attempts:
            attempt.cancel()
        for late in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()
    raise min(errors, key=lambda error: error.errno in _UNTELLING)


async def _connect(endpoint: Endpoint) -> socket.socket:
    connection = socket.socket(endpoint.family, socket.SOCK_STREAM, endpoint.proto)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, endpoint.address)
    except BaseException:
        connection.close()
        raise
    return connection
