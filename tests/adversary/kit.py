"""What adversaries are made of: a relay that lies to one client, and a member whose client is modified.

A lying relay is put between a client's link and the real relay, inside the client's process and inside TLS.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest

from clave_client import events
from clave_client.events import Event, Inconsistency
from clave_client.formats.agreed_state import AgreedState
from clave_client.formats.former_state import FORMER_STATE_EXTENSION
from clave_client.formats.payload import epoch_id, sign_payload
from clave_client.formats.welcome import RejoinInfo, Welcome
from clave_client.net.address import RelayAddress
from clave_client.net.transport import Connect, OnMessages, RelayTransport
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import state_proposal
from clave_client.store.account import leaf_lifetime
from clave_client.values import Phase
from clave_crypto.mls import (
    Add,
    CipherSuite,
    Group,
    NoPolicy,
    decode_key_package,
)
from clave_wire.connection import ClientConnection
from clave_wire.header import Header, digest_names, pack_header
from clave_wire.messages import (
    Accepted,
    ClaimKeyPackages,
    Entry,
    KeyPackages,
    Kind,
    Mend,
    Rejected,
    Submit,
    ToClient,
    ToRelay,
)
from scenarios.stage import TIMEOUT, Relay, Somebody, people_at, relay_at

E = TypeVar("E", bound=Event)
changed = msgspec.structs.replace

_NAMES: dict[bytes, str] = {}
"""Whose each device on stage is, for garbage that adds it."""


class Wire:
    """What lies between one client and the relay. `shown` and `told` say what becomes of each message."""

    def __init__(self) -> None:
        self.honest()
        self.link: RelayTransport | None = None

    def honest(self) -> None:
        """Pass everything on as it is."""
        self.shown: Callable[[ToClient], Sequence[ToClient]] = lambda message: (message,)
        self.told: Callable[[ToRelay], Sequence[ToRelay]] = lambda message: (message,)

    def show(self, *messages: ToClient) -> None:
        """Show the client what no relay sent."""
        assert self.link is not None
        self.link.on_messages(list(messages))

    def say(self, message: ToRelay) -> None:
        """Tell the relay what the client did not say."""
        assert self.link is not None
        RelayTransport.send(self.link, message)


class LyingLink(RelayTransport):
    """A link with a wire: that of `name`, which a subclass sets."""

    name: ClassVar[str]
    wires: ClassVar[dict[str, Wire]] = {}

    def __init__(self, address: RelayAddress, on_messages: OnMessages) -> None:
        super().__init__(address, on_messages)
        self._wire = wire_of(self.name)
        self._wire.link = self
        self.connection = _SplicedConnection(self._wire)

    def send(self, message: ToRelay) -> None:
        for said in self._wire.told(message):
            super().send(said)


class _SplicedConnection(ClientConnection):
    """The protocol of a connection, whose incoming messages go over a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ToClient]:
        received = super().receive_data(data)
        return [shown for message in received for shown in self._wire.shown(message)]


def _lying_connector(name: str) -> Connect:
    """Return how the client of `name` connects: over its wire."""

    class Link(LyingLink):
        pass

    Link.name = name
    return Link.connect


def wire_of(name: str) -> Wire:
    """Return the wire of whoever goes by `name`."""
    return LyingLink.wires.setdefault(name, Wire())


@pytest.fixture(autouse=True)
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give every client of a test a wire."""
    monkeypatch.setattr(Somebody, "connector", _lying_connector)
    LyingLink.wires.clear()
    yield
    LyingLink.wires.clear()


# --- people ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stage(folder: Path, *names: str) -> AsyncIterator[tuple[Relay, list[Somebody]]]:
    async with (
        relay_at(folder / "relay") as relay,
        people_at(relay, folder / "home", *names) as people,
    ):
        _NAMES.update((device(person), person.name) for person in people)
        yield relay, people


def device(person: Somebody) -> bytes:
    return person.client.sync.account.device.public


def room_of(person: Somebody, room: bytes) -> LocalRoom:
    return person.client.sync.rooms[room]


def members(person: Somebody, room: bytes) -> set[str]:
    return {member.name for member, *_ in person.client.members(room)}


async def until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for is in another process, too)
            await asyncio.sleep(0.02)


async def read_up(room: bytes, *people: Somebody) -> None:
    """Wait until everyone is in the same epoch and has read as far as the others."""
    await until(lambda: len({(p.authenticator(room), room_of(p, room).record.cursor) for p in people}) == 1)


async def talk(room: bytes, *people: Somebody, seconds: float = TIMEOUT) -> None:
    """Have everyone say something that everyone else reads."""
    said = {}
    for person in people:
        said[person] = f"{person.name} says {os.urandom(4).hex()}"
        person.client.post(room, said[person])
    await until(
        lambda: all(text in reader.texts(room) for text in said.values() for reader in people), seconds
    )


def lies(person: Somebody) -> set[Inconsistency]:
    return {event.inconsistency for event in person.happened if isinstance(event, events.Diverged)}


def faults(person: Somebody) -> list[str]:
    return [event.reason for event in person.happened if isinstance(event, events.Disconnected)]


def notices(person: Somebody) -> list[str]:
    return [event.text for event in person.happened if isinstance(event, events.Notice)]


def of_kind(person: Somebody, kind: type[E]) -> list[E]:
    return [event for event in person.happened if isinstance(event, kind)]


# --- a member whose client is modified ---------------------------------------------------------------------


class Insider:
    """Takes over a member's connection in one room: its own client hears nothing more of it.

    It keeps the keys of the epoch it took over in, and can submit anything, numbered so that an honest relay
    looks at it.
    """

    def __init__(self, person: Somebody, room: bytes) -> None:
        here = room_of(person, room)
        self.person = person
        self.room = room
        self.head = here.head
        self.seen = here.chain.seen()
        self.group = here.copy_group()
        self.heard: list[ToClient] = []
        self.key = here.device
        self.wire = wire_of(person.name)
        self._read = here.record.read
        self._accepted = here.last_accepted
        self._answers: asyncio.Queue[Accepted | Rejected] = asyncio.Queue()
        self.wire.shown = self._hear

    def _hear(self, message: ToClient) -> Sequence[ToClient]:
        if getattr(message, "room", None) != self.room:
            return (message,)
        self.heard.append(message)
        if isinstance(message, Entry) and message.kind is not Kind.APPLICATION:
            self._read = message.seq
        if isinstance(message, Accepted | Rejected):
            self._answers.put_nowait(message)
        return ()

    def entries(self, kind: Kind | None = None) -> list[Entry]:
        """Return what it is shown of the log, others' entries only."""
        return [e for e in self.heard if isinstance(e, Entry) and kind in (None, e.kind)]

    def garbage(
        self,
        kind: Kind,
        *,
        head: bytes | None = None,
        add: Sequence[bytes] = (),
        remove: Sequence[bytes] = (),
        ref: bytes = b"",
    ) -> bytes:
        """Return a payload with any header and a body that is nothing."""
        if kind is Kind.COMMIT:
            ref = ref or digest_names((device, _NAMES.get(device, "")) for device in add)
        header = Header(kind, head or self.head, self.seen, 0, list(add), list(remove), ref)
        return pack_header(header) + os.urandom(300)

    def signed(
        self, kind: Kind, *, head: bytes | None = None, add: Sequence[bytes] = (), ref: bytes = b""
    ) -> bytes:
        """Return a payload that it signs."""
        return sign_payload(
            self.room, Header(kind, head or self.head, self.seen, 0, list(add), [], ref), self.key
        )

    async def put(self, kind: Kind, payload: bytes, welcome: bytes = b"") -> Accepted | Rejected:
        """Submit, again if something came between; return the relay's answer."""
        while True:
            self.wire.say(Submit(self.room, self._accepted + 1, self._read, kind, payload, welcome))
            async with asyncio.timeout(TIMEOUT):
                answer = await self._answers.get()
            if isinstance(answer, Accepted):
                self._accepted += 1
                if kind is not Kind.APPLICATION:
                    self._read = max(self._read, answer.seq)
                return answer
            if answer.code not in ("stale", "out-of-order"):
                return answer
            await asyncio.sleep(0.01)

    def mend(self, *, add: Sequence[bytes] = (), remove: Sequence[bytes] = ()) -> None:
        """Ask the relay to route to others."""
        self.wire.say(Mend(1 << 40, self.room, list(add), list(remove)))


async def welcome_elsewhere(insider: Insider, guest: str) -> bytes:
    """Return a welcome for `guest` into a group of the insider's own that goes by the room's id."""
    account, suite = insider.person.client.sync.account, insider.group.suite
    link = insider.person.client.sync.transport
    answer = await link.request(lambda request: ClaimKeyPackages(request, guest, suite.id))
    assert isinstance(answer, KeyPackages)
    now = time.time()
    not_before, not_after = leaf_lifetime(now)
    group = Group.create(
        suite,
        insider.room,
        account.identity,
        account.device.secret,
        policy=NoPolicy(),
        extensions=insider.group.extensions,
        not_before=not_before,
        not_after=not_after,
        extension_types=(FORMER_STATE_EXTENSION,),
    )
    commit = group.commit([Add(decode_key_package(answer.packages[0]))], now=int(now), path=False)
    group.merge(commit)
    assert commit.welcome is not None
    return Welcome.seal(commit.welcome, epoch_id(group), insider.seen, insider.key)


def help_elsewhere(insider: Insider, state: AgreedState, victim: bytes) -> bytes:
    """Return what lets `victim` into an epoch of the insider's own, in which `state` is agreed."""
    group = insider.group
    own = Group.restore(group.state(), policy=NoPolicy())
    own.merge(own.commit([state_proposal(own.extensions, state)], now=int(time.time())))
    leaf = next(member.leaf_index for member in group.members() if member.signature_key == victim)
    sealed = group.seal_to_member(leaf, "clave GroupInfo", own.group_info())
    return RejoinInfo(sealed, epoch_id(own)).encode()


@contextmanager
def paths_spoiled_for(insider: Somebody, room: bytes, *victims: Somebody) -> Iterator[None]:
    """Have what an insider's paths seal to `victims` open for none of them."""
    keys = set()
    for victim in victims:
        group = room_of(victim, room).group
        keys.add(bytes(group.member(group.own_leaf).leaf.encryption_key))
    suite = type(room_of(insider, room).group.suite)
    real = suite.encrypt_with_label

    def spoil(self: CipherSuite, key: bytes, label: bytes, *rest: Any, **named: Any) -> tuple[bytes, bytes]:
        kem, sealed = real(self, key, label, *rest, **named)
        spoiled = label == b"UpdatePathNode" and bytes(key) in keys
        return kem, os.urandom(len(sealed)) if spoiled else sealed

    suite.encrypt_with_label = spoil  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        suite.encrypt_with_label = real  # type: ignore[method-assign]


def is_in(person: Somebody, room: bytes) -> bool:
    rooms = person.client.sync.rooms
    return room in rooms and rooms[room].record.phase is Phase.JOINED
