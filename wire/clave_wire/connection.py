"""The connection's state machine for both ends: bytes in, messages out, which message is legal when.

Does no I/O and knows neither sockets, TLS, time nor keys. `receive_data` returns messages to handle; `send`
returns bytes to write. A `RemoteError` ends the connection: a relay writes `closing(error.code, str(error))`,
then closes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from clave_wire import messages as m
from clave_wire.errors import MisuseError, RemoteError
from clave_wire.framing import DECODE_ERRORS, HEADER_BYTES, FrameBuffer, malformed, pack, to_client, to_relay
from clave_wire.limits import MAX_FRAME, MAX_FRAME_BEFORE_LOGIN, MAX_TEXT_BYTES
from clave_wire.login import transcript

__all__ = ["ALPN", "TRANSITIONS", "VERSIONS", "ClientConnection", "RelayConnection", "State"]

ALPN: Final = "clave/1"
"""The protocol's name in TLS (RFC 7301)."""

VERSIONS: Final[tuple[int, ...]] = (7, 6, 5, 4)
"""The protocol versions that this package supports, best first."""

_FIELDS_BEFORE: Final[Mapping[type, tuple[int, int]]] = {
    m.LoggedIn: (5, 6),
    m.PublishKeyPackages: (5, 5),
    m.ClaimKeyPackages: (7, 3),
}
"""By which version messages got more fields, and how many they had before; peers of then take no more."""

_FIRST_WITH_TIMES: Final = 6
"""The first version that has `AcceptedAt`."""

_FIRST_WITH_LINKS: Final = 7
"""The first version that has `Offer`, `FindLink` and `LinkOffer`, and all about several devices."""

_SINCE_7: Final = (m.Offer, m.FindLink, m.PassOn, m.OpenPairing, m.RemoveDevice, m.FindRevocations)


class State(enum.Enum):
    """A connection's state: the message expected next, or open, leaving (`GOODBYE`), closed."""

    HELLO = "hello"
    GREETING = "greeting"
    LOGIN = "login"
    LOGGED_IN = "logged in"
    OPEN = "open"
    GOODBYE = "goodbye"
    CLOSED = "closed"


_REQUESTS: Final = (
    m.PublishKeyPackages,
    m.Lookup,
    m.ClaimKeyPackages,
    m.DeleteAccount,
    m.CreateRoom,
    m.Resume,
    m.Submit,
    m.TakeInvitation,
    m.Mend,
    *_SINCE_7,
)
_ANSWERS: Final = (
    m.NextCertificate,
    m.Done,
    m.Refused,
    m.Account,
    m.KeyPackages,
    m.Resumed,
    m.Accepted,
    m.Rejected,
    m.Entry,
    m.Invitation,
    m.Presence,
    m.AcceptedAt,
    m.LinkOffer,
    m.Passed,
    m.Revocations,
)

TRANSITIONS: Final[Mapping[State, Mapping[type, State]]] = {
    State.HELLO: {m.Hello: State.GREETING, m.Closing: State.CLOSED},
    State.GREETING: {m.Greeting: State.LOGIN, m.Closing: State.CLOSED},
    State.LOGIN: {m.Login: State.LOGGED_IN, m.Closing: State.CLOSED},
    State.LOGGED_IN: {m.LoggedIn: State.OPEN, m.Closing: State.CLOSED},
    State.OPEN: {
        **dict.fromkeys(_REQUESTS + _ANSWERS, State.OPEN),
        m.Goodbye: State.GOODBYE,
        m.Closing: State.CLOSED,
    },
    State.GOODBYE: {**dict.fromkeys(_ANSWERS, State.GOODBYE), m.Closing: State.CLOSED},
    State.CLOSED: {},
}
"""The legal messages of each state, of either end, and the state that follows."""

_In = TypeVar("_In", m.ToRelay, m.ToClient)
_Out = TypeVar("_Out", m.ToRelay, m.ToClient)


class _Connection(Generic[_In, _Out]):
    """What both ends share: state, buffer and limits."""

    _decoder: msgspec.msgpack.Decoder[_In]

    def __init__(self) -> None:
        self._state = State.HELLO
        self._buffer = FrameBuffer(MAX_FRAME_BEFORE_LOGIN)
        self._offered: tuple[int, ...] = ()
        self._version: int | None = None
        self._nonce = b""
        self._send_limit = MAX_FRAME_BEFORE_LOGIN

    @property
    def state(self) -> State:
        """The connection's state."""
        return self._state

    @property
    def version(self) -> int | None:
        """The protocol version agreed on, None before."""
        return self._version

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[_In]:
        """Take bytes from the peer; return the messages that are complete, in order.

        Raises `RemoteError`, after which the connection is closed; messages of the same call are lost.
        """
        if self._state is State.CLOSED:
            return []
        received: list[_In] = []
        decode, state = self._decoder.decode, self._state
        legal = TRANSITIONS[state]
        try:
            for body in self._buffer.cut(data):
                message = decode(body)
                if legal.get(type(message)) is not state:
                    self._advance(message)
                    state = self._state
                    legal = TRANSITIONS[state]
                received.append(message)
                if state is State.CLOSED:
                    break
        except DECODE_ERRORS as error:
            self._state = State.CLOSED
            raise malformed(error) from None
        except RemoteError:
            self._state = State.CLOSED
            raise
        return received

    @property
    def partial(self) -> int:
        """Bytes of an unfinished frame."""
        return self._buffer.partial

    def receive_eof(self) -> None:
        """Take the end of the peer's stream. Raises `RemoteError` if a frame is unfinished."""
        was_open, self._state = self._state is not State.CLOSED, State.CLOSED
        if was_open and self._buffer.partial:
            raise RemoteError(m.Code.MALFORMED, "the connection ended in the middle of a frame")

    def send(self, message: _Out) -> bytes:
        """Return the frame of `message`.

        Raises `MisuseError`, and changes nothing, if it is not legal now or too large.
        """
        following = TRANSITIONS[self._state].get(type(message)) if self._is_sendable(message) else None
        if following is None:
            raise MisuseError(f"{type(message).__name__} may not be sent in state {self._state.value!r}")
        frame = pack(message, self._fields_of(type(message)))
        if len(frame) - HEADER_BYTES > self._send_limit:
            raise MisuseError(f"a frame of {len(frame)} bytes; the other end takes {self._send_limit}")
        self._enter(following)
        return frame

    @property
    def has_links(self) -> bool:
        """Whether the version agreed on has links."""
        return self._version is not None and self._version >= _FIRST_WITH_LINKS

    @property
    def has_devices(self) -> bool:
        """Whether the version agreed on has what several devices of an account need."""
        return self.has_links

    def _fields_of(self, kind: type) -> int | None:
        """Return how many fields the version agreed on has of a message, or None for all."""
        since, before = _FIELDS_BEFORE.get(kind, (0, 0))
        return before if self._version is not None and self._version < since else None

    def transcript(self, certificate: bytes, identity: bytes) -> bytes:
        """Return what the device key signs on this connection (see `clave_wire.login.transcript`)."""
        if self._version is None:
            raise MisuseError("there is no login transcript before a version is agreed")
        return transcript(
            versions=self._offered,
            version=self._version,
            nonce=self._nonce,
            certificate=certificate,
            identity=identity,
        )

    def _advance(self, message: _In) -> None:
        following = TRANSITIONS[self._state].get(type(message))
        if following is None:
            raise RemoteError(
                m.Code.UNEXPECTED, f"{type(message).__name__} is not allowed in state {self._state.value!r}"
            )
        self._enter(following)
        self._received(message)

    def _enter(self, state: State) -> None:
        if state is State.OPEN and self._state is not State.OPEN:
            self._opened()
        self._state = state

    def _opened(self) -> None:
        self._buffer.limit = MAX_FRAME

    def _is_sendable(self, message: _Out) -> bool:
        raise NotImplementedError

    def _received(self, message: _In) -> None:
        raise NotImplementedError


class ClientConnection(_Connection[m.ToClient, m.ToRelay]):
    """The client's end: `hello()`, then a `Login` signed over `transcript()`, then requests."""

    _decoder = to_client

    def __init__(self, versions: Sequence[int] = VERSIONS) -> None:
        super().__init__()
        self._versions = tuple(versions)
        self._relay_limit = MAX_FRAME_BEFORE_LOGIN

    def hello(self, software: str) -> bytes:
        """Return the first frame to send, with the versions that this client supports."""
        self._offered = self._versions
        return self.send(m.Hello(list(self._offered), software))

    def _received(self, message: m.ToClient) -> None:
        if isinstance(message, m.Greeting):
            if message.version not in self._offered:
                raise RemoteError(
                    m.Code.VERSION,
                    f"the relay chose protocol version {message.version}, which was not offered",
                )
            self._version, self._nonce = message.version, message.nonce
            self._relay_limit = min(message.max_frame, MAX_FRAME)

    def _opened(self) -> None:
        super()._opened()
        self._send_limit = self._relay_limit

    def _is_sendable(self, message: m.ToRelay) -> bool:
        return isinstance(message, m.ToRelay) and (self.has_links or not isinstance(message, _SINCE_7))


class RelayConnection(_Connection[m.ToRelay, m.ToClient]):
    """The relay's end: `greet()` after `Hello`, `LoggedIn` after a valid `Login`, then answers."""

    _decoder = to_relay

    def __init__(self, versions: Sequence[int] = VERSIONS) -> None:
        super().__init__()
        self._versions = tuple(versions)

    @property
    def has_times(self) -> bool:
        """Whether the version agreed on has `AcceptedAt`; it may not be sent otherwise."""
        return self._version is not None and self._version >= _FIRST_WITH_TIMES

    def greet(self, nonce: bytes, software: str) -> bytes:
        """Return the greeting; `nonce` is 32 random bytes, used for this connection only."""
        if self._version is None:
            raise MisuseError("a greeting answers a Hello, and there was none")
        self._nonce = nonce
        return self.send(m.Greeting(self._version, nonce, software, MAX_FRAME))

    def closing(self, code: m.Code, text: str, retry_after: int = 0) -> bytes:
        """Return the last frame to send; works in every state, also after a `RemoteError`."""
        self._state = State.CLOSED
        return pack(m.Closing(code, text[:MAX_TEXT_BYTES], retry_after))

    def _received(self, message: m.ToRelay) -> None:
        if isinstance(message, m.Hello):
            self._offered = tuple(message.versions)
            self._version = next((version for version in self._versions if version in self._offered), None)
            if self._version is None:
                spoken = ", ".join(map(str, self._versions))
                raise RemoteError(m.Code.VERSION, f"this relay speaks protocol version {spoken} only")

    def _opened(self) -> None:
        super()._opened()
        self._send_limit = MAX_FRAME

    def _is_sendable(self, message: m.ToClient) -> bool:
        return isinstance(message, m.ToClient) and (self.has_times or not isinstance(message, m.AcceptedAt))
