"""Addresses of a host: all are tried, each soon after the one before; partly in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clave_client.errors import RelayUnreachable
from clave_client.net import route, tcp
from clave_client.net.address import RelayAddress
from clave_client.net.tcp import ATTEMPT_DELAY, Endpoint, connect_to_any, resolve
from simulation.clock import VirtualLoop, run

PATIENCE = 30.0


@contextmanager
def swallowing() -> Iterator[int]:
    """Yield a port of loopback whose queue of connections is full, so that the kernel drops what comes."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(server.getsockname())
        yield server.getsockname()[1]


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def of(*ports: int) -> list[Endpoint]:
    return [Endpoint(socket.AF_INET, 0, ("127.0.0.1", port)) for port in ports]


async def test_an_address_that_swallows_packets_keeps_nobody_from_the_next() -> None:
    with swallowing() as dead, listening() as alive:
        async with asyncio.timeout(PATIENCE):
            connection = await connect_to_any(of(dead, dead, alive))
        with connection:
            assert connection.getpeername()[1] == alive


async def test_an_address_that_refuses_keeps_nobody_from_the_next() -> None:
    with listening() as alive:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        with await connect_to_any(of(port, alive)) as connection:
            assert connection.getpeername()[1] == alive


async def test_an_unknown_family_keeps_nobody_from_the_next() -> None:
    with listening() as alive:
        odd = Endpoint(socket.AF_INET6, 0, ("fe80::1%nosuchcard", 1, 0, 0))
        with contextlib.suppress(OSError), await connect_to_any([odd, *of(alive)]) as connection:
            assert connection.getpeername()[1] == alive


class Attempts:
    """Stands in for the kernel, in virtual time: after how long each endpoint, by its port, does what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fates: dict[int, tuple[float, int]]) -> None:
        self.begun: dict[int, float] = {}
        self.given_up: list[int] = []
        self.open: list[socket.socket] = []
        self._fates = fates
        monkeypatch.setattr(tcp, "_connect", self._connect)

    async def _connect(self, endpoint: Endpoint) -> socket.socket:
        port = int(endpoint.address[1])
        self.begun[port] = asyncio.get_running_loop().time()
        after, failure = self._fates[port]
        try:
            await asyncio.sleep(after)
        except asyncio.CancelledError:
            self.given_up.append(port)
            raise
        if failure:
            raise OSError(failure, "failed")
        self.open.append(socket.socket())
        return self.open[-1]

    def connect(self) -> socket.socket:
        return run(VirtualLoop(), connect_to_any(of(*self._fates)))


def test_each_address_is_tried_a_quarter_of_a_second_after_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = Attempts(monkeypatch, {1: (100.0, 0), 2: (100.0, 0), 3: (0.01, 0), 4: (0.0, 0)})
    attempts.connect().close()
    assert attempts.begun == {1: 0.0, 2: pytest.approx(ATTEMPT_DELAY), 3: pytest.approx(2 * ATTEMPT_DELAY)}
    assert sorted(attempts.given_up) == [1, 2]
    assert ATTEMPT_DELAY == 0.25


def test_after_a_failure_the_next_address_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(monkeypatch, {1: (0.1, errno.ECONNREFUSED), 2: (0.0, 0)})
    attempts.connect().close()
    assert attempts.begun == {1: 0.0, 2: pytest.approx(0.1)}


def test_a_slow_address_still_wins_over_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(monkeypatch, {1: (2.0, 0), 2: (100.0, 0)})
    attempts.connect().close()
    assert attempts.given_up == [2]


def test_of_two_connections_made_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(monkeypatch, {1: (ATTEMPT_DELAY + 0.5, 0), 2: (0.5, 0)})
    chosen = attempts.connect()
    left = [one.fileno() for one in attempts.open if one is not chosen]
    chosen.close()
    assert left in ([], [-1])


def test_the_error_that_says_most_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    fates = {1: (0.0, errno.ENETUNREACH), 2: (0.0, errno.ECONNREFUSED), 3: (0.0, errno.EAFNOSUPPORT)}
    with pytest.raises(OSError, match="failed") as caught:
        Attempts(monkeypatch, fates).connect()
    assert caught.value.errno == errno.ECONNREFUSED


# Names


async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    six, four = socket.AF_INET6, socket.AF_INET

    def found(*_: Any, flags: int, **__: Any) -> list[tuple[Any, ...]]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        families = (six, six, six, four, four)
        return [(each, socket.SOCK_STREAM, 6, "", (str(n), 1)) for n, each in enumerate(families)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    assert [one.address[0] for one in await resolve("both.invalid", 1)] == ["0", "3", "1", "4", "2"]


async def test_an_address_needs_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    (found,) = await resolve("127.0.0.1", 7)
    assert found.address == ("127.0.0.1", 7)


async def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    def hang(*_: Any, flags: int, **__: Any) -> list[tuple[Any, ...]]:
        if not flags:
            asked.set()
            answered.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_NONAME, "late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    loop = asyncio.get_running_loop()
    opening = asyncio.create_task(route.open_connection(RelayAddress("slow.invalid", 1), loop.time() + 0.2))
    try:
        with pytest.raises(RelayUnreachable, match=r"looking up slow\.invalid takes too long; check this"):
            await opening
        assert asked.is_set()
    finally:
        answered.set()


@pytest.mark.parametrize(
    ("number", "words"),
    [(socket.EAI_NONAME, "no host it.invalid; check the address"), (socket.EAI_AGAIN, "no name server")],
)
async def test_a_name_that_is_not_found_is_told(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(number, "not found")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(RelayUnreachable, match=words):
        await route.open_connection(RelayAddress("it.invalid", 1), asyncio.get_running_loop().time() + 9)


async def test_a_host_that_never_answers_is_given_up_in_words() -> None:
    with swallowing() as dead:
        until = asyncio.get_running_loop().time() + 0.1
        with pytest.raises(RelayUnreachable, match=r"no relay at .* \(no answer\); is it running"):
            await route.open_connection(RelayAddress("127.0.0.1", dead), until)
