"""Connections in memory: bytes take their time, lines are cut, tails are lost. Knows no frames.

A `Wire` is one connection of a client's `RelayLink` and the relay's `ClientTransport`, each at an `End`, its
asyncio transport. There is no TLS; both ends find the relay's certificate where TLS has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from clave_wire.connection import ALPN

__all__ = ["End", "Network", "Timing", "Wire"]

_HIGH_WATER = 64 * 1024


@dataclass
class Timing:
    """How long bytes take, in seconds: between the two, and ten times as long one time in twenty."""

    shortest: float = 0.001
    longest: float = 0.05

    def draw(self, dice: Random) -> float:
        """Return the delay of one piece."""
        delay = dice.uniform(self.shortest, self.longest)
        return delay * 10 if dice.random() < 0.05 else delay


class _Tls:
    """What both ends ask of TLS."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def selected_alpn_protocol(self) -> str:
        return ALPN

    def getpeercert(self, *, binary_form: bool) -> bytes:
        return self._certificate


class _Socket:
    def setsockopt(self, *_: Any) -> None:
        """There is no kernel to tell."""


class End(asyncio.Transport):
    """One end of a wire, as its protocol sees it. What it writes goes into `other`."""

    def __init__(self, wire: Wire, tls: _Tls, owner: str) -> None:
        super().__init__()
        self.owner = owner
        self.wire = wire
        self.other: End
        self.protocol: asyncio.Protocol
        self.change: Callable[[bytes], bytes] | None = None
        """What a liar does with the bytes written here."""
        self.before_write: Callable[[], None] | None = None
        self.after_write: Callable[[], None] | None = None
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._flying: deque[tuple[float, bytes | None]] = deque()
        self._flying_bytes = 0
        self._arrives = 0.0
        self._high = _HIGH_WATER
        self._paused_writing = False
        self._reading = True
        self._held: list[bytes | None] = []
        self.closing = False
        self.lost = False
        self.dead = False

    # --- what asyncio's protocols call ---

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": _Socket(), "ssl_object": self._tls}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self._reading and not self.closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._give_held)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._flying_bytes

    def can_write_eof(self) -> bool:
        return False

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write(self, data: Any) -> None:
        if self.closing or self.dead:
            return
        if self.before_write:
            self.before_write()
        data = bytes(data)
        if self.change is not None:
            data = self.change(data)
        self._fly(data)
        if self.after_write:
            self.after_write()

    def _fly(self, data: bytes) -> None:
        if not data:
            return
        self.wire.network.note("bytes", self.owner, len(data))
        if len(data) > 1 and self.wire.dice.random() < 0.1:
            middle = self.wire.dice.randrange(1, len(data))
            self._send(data[:middle])
            self._send(data[middle:])
        else:
            self._send(data)
        if self._flying_bytes > self._high and not self._paused_writing:
            self._paused_writing = True
            self.protocol.pause_writing()

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._send(None)
            self._loop.call_soon(self.mark_cannot_follow, None)

    def abort(self) -> None:
        if self.lost:
            return
        self.closing = True
        self._flying.clear()
        self._flying_bytes = 0
        self._loop.call_soon(self.mark_cannot_follow, None)
        self.other.hear_of_reset(self.wire.timing.draw(self.wire.dice))

    # --- what the wire does ---

    def _send(self, data: bytes | None) -> None:
        """Put a piece on its way; None is the end."""
        self._arrives = max(self._arrives, self._loop.time() + self.wire.timing.draw(self.wire.dice))
        self._flying.append((self._arrives, data))
        self._flying_bytes += len(data or b"")
        self._loop.call_at(self._arrives, self._arrived)

    def _arrived(self) -> None:
        if not self._flying or self._flying[0][0] > self._loop.time() + 1e-9:
            return
        _, data = self._flying.popleft()
        self._flying_bytes -= len(data or b"")
        if self._paused_writing and self._flying_bytes <= self._high // 4 and not self.lost:
            self._paused_writing = False
            self.protocol.resume_writing()
        self.other.take(data)

    def lose_tail(self, keep: int) -> None:
        """Lose what is on its way but its first `keep` bytes, and all that follows."""
        kept: deque[tuple[float, bytes | None]] = deque()
        for at, data in self._flying:
            if data is None or keep <= 0:
                break
            kept.append((at, data[:keep]))
            keep -= len(data)
        self._flying, self._flying_bytes = kept, sum(len(data or b"") for _, data in kept)
        self.dead = True

    def take(self, data: bytes | None) -> None:
        """Give a piece to the protocol, or keep it while it does not read."""
        if self.lost or self.closing:
            return
        if not self._reading or self._held:
            self._held.append(data)
        else:
            self._give(data)

    def _give_held(self) -> None:
        while self._held and self._reading and not self.closing:
            self._give(self._held.pop(0))

    def _give(self, data: bytes | None) -> None:
        if data is None:
            self.protocol.eof_received()
            self.close()
        else:
            self.protocol.data_received(data)

    def hear_of_reset(self, after: float) -> None:
        """Lose the connection after a while."""
        self._loop.call_later(after, self.mark_cannot_follow, ConnectionResetError("reset"))

    def mark_cannot_follow(self, error: Exception | None) -> None:
        """Tell the protocol that it is over, once."""
        if not self.lost:
            self.lost = self.closing = True
            self.wire.network.note("lost", self.owner, type(error).__name__)
            self.wire.forget()
            self.protocol.connection_lost(error)


class Wire:
    """One connection."""

    def __init__(self, network: Network, host: str) -> None:
        self.network = network
        self.host = host
        self.dice = network.dice
        self.timing = network.timing
        tls = _Tls(network.certificate)
        self.client, self.relay = End(self, tls, host), End(self, tls, "relay")
        self.client.other, self.relay.other = self.relay, self.client

    def cut(self, *, client_hears: float, relay_hears: float) -> None:
        """Lose what is on its way but some of it; each end hears of it after so many seconds."""
        for end, hears in ((self.client, client_hears), (self.relay, relay_hears)):
            flying = end.get_write_buffer_size()
            end.lose_tail(self.dice.randrange(flying + 1) if self.dice.random() < 0.5 else flying)
            end.hear_of_reset(hears)

    def forget(self) -> None:
        """Let go of the wire once both ends have lost it."""
        if self.client.lost and self.relay.lost and self in self.network.wires:
            self.network.wires.remove(self)


class Network:
    """Everything between the clients' hosts and the relay.

    `accept` makes the relay's protocol of a new connection, or is None while no relay listens.
    """

    def __init__(self, dice: Random, timing: Timing, certificate: bytes, note: Callable[..., None]) -> None:
        self.dice = dice
        self.timing = timing
        self.certificate = certificate
        self.note = note
        self.wires: list[Wire] = []
        self.accept: Callable[[str], asyncio.Protocol] | None = None
        self.unreachable: set[str] = set()
        self.prepare: Callable[[Wire], None] = lambda _: None

    async def connect(
        self, host: str, client: Callable[[], asyncio.Protocol]
    ) -> tuple[End, asyncio.Protocol]:
        """Connect a client; raises `OSError`."""
        await asyncio.sleep(2 * self.timing.draw(self.dice))
        if self.accept is None or host in self.unreachable:
            raise ConnectionRefusedError(111, "refused")
        wire = Wire(self, host)
        self.wires.append(wire)
        wire.client.protocol, wire.relay.protocol = client(), self.accept(host)
        self.prepare(wire)
        self.note("connected", host)
        wire.relay.protocol.connection_made(wire.relay)
        wire.client.protocol.connection_made(wire.client)
        return wire.client, wire.client.protocol

    def wires_of(self, host: str) -> list[Wire]:
        """Return the connections of a host, oldest first."""
        return [wire for wire in self.wires if wire.host == host]
