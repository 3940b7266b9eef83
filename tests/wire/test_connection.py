"""Connections: states, limits, and that a lowered version is detected."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_wire import messages as m
from clave_wire.connection import TRANSITIONS, VERSIONS, ClientConnection, RelayConnection, State
from clave_wire.errors import MisuseError, RemoteError
from clave_wire.framing import pack
from clave_wire.limits import MAX_FRAME, MAX_FRAME_BEFORE_LOGIN, MAX_PAYLOAD_BYTES

NONCE = bytes(range(32))
ROOM = bytes(16)
LOGIN = m.Login(bytes(32), b"identity", bytes(64), "")
SUBMIT = m.Submit(ROOM, 1, 0, m.Kind.APPLICATION, b"hello")

TO_RELAY: list[m.ToRelay] = [
    m.Hello(list(VERSIONS), "test"),
    LOGIN,
    m.PublishKeyPackages(1, 1, [b"package"], b""),
    m.PublishKeyPackages(1, 1, [b"package"], b"", replace=True),
    m.PublishKeyPackages(1, 1, [b"package"], b"", not_after=1_800_000_000),
    m.Lookup(1, "blue"),
    m.ClaimKeyPackages(1, "blue", 1),
    m.DeleteAccount(1),
    m.CreateRoom(1, ROOM),
    m.Resume(1, ROOM, 0),
    SUBMIT,
    m.TakeInvitation(1, 1),
    m.Mend(1, ROOM, [], []),
    m.Offer(ROOM, 1, [m.OfferedLink(bytes(32), 1_800_000_000, 5, b"sealed")], b"group info"),
    m.FindLink(1, bytes(32), 0),
    m.ClaimKeyPackages(1, "blue", 1, bytes(32)),
    m.PassOn(1, bytes(32), b"data"),
    m.OpenPairing(1, bytes(32)),
    m.RemoveDevice(1, bytes(32), bytes(64)),
    m.FindRevocations(1, "blue"),
    m.Goodbye(),
]
TO_CLIENT: list[m.ToClient] = [
    m.Greeting(VERSIONS[0], NONCE, "relay", MAX_FRAME),
    m.LoggedIn("red", False, [], 0, bytes(16)),
    m.LoggedIn("red", False, [], 0, bytes(16), 3, 1_800_000_000_000),
    m.NextCertificate(bytes(32), bytes(64)),
    m.Done(1),
    m.Refused(1, m.Code.LIMIT, "no"),
    m.Closing(m.Code.FULL, "full"),
    m.Account(1, []),
    m.KeyPackages(1, []),
    m.Resumed(1, ROOM, 0, 0, 0, 0, [], []),
    m.Accepted(ROOM, 1, 1),
    m.Rejected(ROOM, 1, m.Code.STALE, "no"),
    m.Entry(ROOM, 1, bytes(32), 1, m.Kind.APPLICATION, 0, b""),
    m.Invitation(1, ROOM, 1, bytes(32), b"welcome"),
    m.Presence(ROOM, bytes(32), "blue", True, ""),
    m.AcceptedAt(ROOM, 1_800_000_000_000),
    m.LinkOffer(1, ROOM, 1, 0, 1, b"sealed", b"group info"),
    m.Passed(bytes(32), b"data"),
    m.Revocations(1, [(bytes(32), bytes(64))]),
]
PATH: list[m.ToRelay | m.ToClient] = [TO_RELAY[0], TO_CLIENT[0], LOGIN, TO_CLIENT[1], m.Goodbye()]
"""What is said on the way through the states."""


def said(value: object) -> str:
    return value.name if isinstance(value, State) else type(value).__name__


def pair_in(state: State) -> tuple[ClientConnection, RelayConnection]:
    client, relay = ClientConnection(), RelayConnection()
    if state is State.CLOSED:
        client.receive_data(relay.closing(m.Code.SHUTDOWN, "bye"))
    else:
        for message in PATH[: list(State).index(state)]:
            if isinstance(message, m.Hello):
                relay.receive_data(client.hello("test"))
            elif isinstance(message, m.Greeting):
                client.receive_data(relay.greet(NONCE, "relay"))
            elif isinstance(message, m.ToRelay):
                relay.receive_data(client.send(message))
            else:
                client.receive_data(relay.send(message))
    assert client.state is relay.state is state
    return client, relay


def test_samples_cover_every_message() -> None:
    assert {type(message) for message in TO_RELAY} == set(m.ToRelay.__args__)
    assert {type(message) for message in TO_CLIENT} == set(m.ToClient.__args__)


@pytest.mark.parametrize(("state", "message"), list(itertools.product(State, TO_RELAY)), ids=said)
def test_client_sends_and_relay_accepts_exactly_what_the_table_allows(
    state: State, message: m.ToRelay
) -> None:
    legal = type(message) in TRANSITIONS[state]
    client, relay = pair_in(state)
    if legal:
        assert relay.receive_data(client.send(message)) == [message]
        assert client.state is relay.state is TRANSITIONS[state][type(message)]
        return
    with pytest.raises(MisuseError):
        client.send(message)
    assert client.state is state
    if state is State.CLOSED:
        assert relay.receive_data(pack(message)) == []
        return
    with pytest.raises(RemoteError) as caught:
        relay.receive_data(pack(message))
    assert caught.value.code is m.Code.UNEXPECTED
    assert relay.state is State.CLOSED


@pytest.mark.parametrize(("state", "message"), list(itertools.product(State, TO_CLIENT)), ids=said)
def test_relay_sends_and_client_accepts_exactly_what_the_table_allows(
    state: State, message: m.ToClient
) -> None:
    legal = type(message) in TRANSITIONS[state]
    client, relay = pair_in(state)
    if legal:
        assert client.receive_data(relay.send(message)) == [message]
        assert client.state is relay.state is TRANSITIONS[state][type(message)]
        return
    with pytest.raises(MisuseError):
        relay.send(message)
    if state is not State.CLOSED:
        with pytest.raises(RemoteError) as caught:
            client.receive_data(pack(message))
        assert caught.value.code is m.Code.UNEXPECTED


def test_neither_end_sends_what_only_the_other_may() -> None:
    client, relay = pair_in(State.OPEN)
    with pytest.raises(MisuseError):
        client.send(m.Done(1))  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(MisuseError):
        relay.send(m.Goodbye())  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(RemoteError):
        relay.receive_data(pack(m.Done(1)))


def test_both_ends_sign_and_verify_the_same_transcript() -> None:
    client, relay = pair_in(State.LOGIN)
    transcript = client.transcript(bytes(32), b"identity")
    assert transcript == relay.transcript(bytes(32), b"identity")
    assert transcript != client.transcript(b"\x01" + bytes(31), b"identity")


def test_the_best_common_version_is_chosen() -> None:
    client, relay = ClientConnection((1, 3, 2)), RelayConnection((4, 3, 2))
    relay.receive_data(client.hello("test"))
    client.receive_data(relay.greet(NONCE, "relay"))
    assert client.version == relay.version == 3


def test_no_common_version_closes_the_connection_with_a_readable_reason() -> None:
    client, relay = ClientConnection((7,)), RelayConnection((1,))
    with pytest.raises(RemoteError) as caught:
        relay.receive_data(client.hello("test"))
    assert caught.value.code is m.Code.VERSION
    [closing] = client.receive_data(relay.closing(caught.value.code, str(caught.value)))
    assert isinstance(closing, m.Closing)
    assert closing.code is m.Code.VERSION


def test_a_version_that_was_not_offered_is_refused() -> None:
    client = ClientConnection((2,))
    client.hello("test")
    with pytest.raises(RemoteError) as caught:
        client.receive_data(pack(m.Greeting(1, NONCE, "relay", MAX_FRAME)))
    assert caught.value.code is m.Code.VERSION


def test_version_removed_in_transit_fails_the_login() -> None:
    client, relay = ClientConnection((2, 1)), RelayConnection((2, 1))
    client.hello("test")
    relay.receive_data(pack(m.Hello([1], "test")))  # somebody removed version 2
    client.receive_data(relay.greet(NONCE, "relay"))
    assert client.transcript(bytes(32), b"") != relay.transcript(bytes(32), b"")


def test_before_login_frames_are_small() -> None:
    client, relay = pair_in(State.LOGIN)
    with pytest.raises(RemoteError) as caught:
        relay.receive_data((MAX_FRAME_BEFORE_LOGIN + 1).to_bytes(4, "big"))
    assert caught.value.code is m.Code.TOO_LARGE
    with pytest.raises(RemoteError):
        client.receive_data((MAX_FRAME_BEFORE_LOGIN + 1).to_bytes(4, "big"))


def test_after_login_frames_are_larger_even_within_the_same_bytes() -> None:
    client, relay = pair_in(State.LOGGED_IN)
    big = m.Invitation(1, ROOM, 1, bytes(32), bytes(MAX_FRAME_BEFORE_LOGIN * 2))
    received = client.receive_data(relay.send(m.LoggedIn("red", False, [], 0, bytes(16))) + pack(big))
    assert received[1] == big
    payload = bytes(MAX_PAYLOAD_BYTES)
    submit = m.Submit(ROOM, 1, 0, m.Kind.APPLICATION, payload)
    assert relay.receive_data(client.send(submit)) == [submit]


def test_a_client_keeps_to_the_size_the_relay_named() -> None:
    client = ClientConnection()
    client.hello("test")
    client.receive_data(pack(m.Greeting(VERSIONS[0], NONCE, "relay", 100)))
    client.send(LOGIN)
    client.receive_data(pack(m.LoggedIn("red", False, [], 0, bytes(16))))
    with pytest.raises(MisuseError):
        client.send(m.Submit(ROOM, 1, 0, m.Kind.APPLICATION, bytes(100)))
    assert client.state is State.OPEN
    client.send(SUBMIT)


def test_stream_end_is_an_error_only_inside_a_frame() -> None:
    _, relay = pair_in(State.OPEN)
    relay.receive_data(pack(SUBMIT)[:-1])
    with pytest.raises(RemoteError):
        relay.receive_eof()
    _, relay = pair_in(State.OPEN)
    relay.receive_eof()
    assert relay.state is State.CLOSED


def test_login_steps_out_of_order_are_errors() -> None:
    with pytest.raises(MisuseError):
        ClientConnection().transcript(bytes(32), b"")
    with pytest.raises(MisuseError):
        RelayConnection().greet(NONCE, "relay")


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from([State.HELLO, State.LOGIN, State.OPEN]))
def test_garbage_gives_typed_errors_and_closes(pieces: list[bytes], state: State) -> None:
    for connection in pair_in(state):
        try:
            for piece in pieces:
                connection.receive_data(piece)
        except RemoteError:
            assert connection.state is State.CLOSED


# A peer of a version before


PUBLICATION = m.PublishKeyPackages(1, 1, [b"package"], b"last", True, 1_800_000_000)
LOGGED_IN = m.LoggedIn("red", False, [(1, 2)], 5, bytes(16), 3, 1_800_000_000_000)


def open_pair(
    client_versions: tuple[int, ...], relay_versions: tuple[int, ...]
) -> list[m.ToClient | m.ToRelay]:
    """Log in with ends of these versions; return what came through of the login and a publication."""
    client, relay = logging_in(client_versions, relay_versions)
    return [*client.receive_data(relay.send(LOGGED_IN)), *relay.receive_data(client.send(PUBLICATION))]


def logging_in(
    client_versions: tuple[int, ...], relay_versions: tuple[int, ...]
) -> tuple[ClientConnection, RelayConnection]:
    """Return ends of these versions, of which the relay is about to say that the client is logged in."""
    client, relay = ClientConnection(client_versions), RelayConnection(relay_versions)
    assert not relay.has_times
    relay.receive_data(client.hello("test"))
    client.receive_data(relay.greet(NONCE, "relay"))
    assert client.version == relay.version == min(client_versions[0], relay_versions[0])
    relay.receive_data(client.send(LOGIN))
    return client, relay


@pytest.mark.parametrize("versions", [VERSIONS, (5, 4)])
def test_version_5_carries_the_relays_time_and_when_key_packages_expire(versions: tuple[int, ...]) -> None:
    assert open_pair(versions, VERSIONS) == [LOGGED_IN, PUBLICATION]
    assert open_pair(VERSIONS, versions) == [LOGGED_IN, PUBLICATION]


def test_version_6_carries_when_the_relay_accepted_what_follows() -> None:
    client, relay = logging_in(VERSIONS, VERSIONS)
    client.receive_data(relay.send(LOGGED_IN))
    time = m.AcceptedAt(ROOM, 1_800_000_000_000)
    assert relay.has_times
    assert client.receive_data(relay.send(time)) == [time]
    assert pack(time)[4:] == msgspec.msgpack.encode([43, ROOM, 1_800_000_000_000])


@pytest.mark.parametrize("version", [5, 4])
def test_a_peer_of_a_version_before_6_is_not_told_when(version: int) -> None:
    for client_versions, relay_versions in (((version,), VERSIONS), (VERSIONS, (version,))):
        client, relay = logging_in(client_versions, relay_versions)
        client.receive_data(relay.send(LOGGED_IN))
        assert not relay.has_times
        with pytest.raises(MisuseError):
            relay.send(m.AcceptedAt(ROOM, 1_800_000_000_000))
        assert client.receive_data(relay.send(m.Done(1))) == [m.Done(1)]


@pytest.mark.parametrize("at", [-1, 2**53, 2**63, "soon", None, 0.5])
def test_a_time_that_is_no_count_is_malformed(at: object) -> None:
    client, _ = pair_in(State.OPEN)
    body = msgspec.msgpack.encode([43, ROOM, at])
    with pytest.raises(RemoteError) as caught:
        client.receive_data(len(body).to_bytes(4, "big") + body)
    assert caught.value.code is m.Code.MALFORMED


@pytest.mark.parametrize(("client", "relay"), [((4,), VERSIONS), (VERSIONS, (4,))])
def test_with_a_peer_of_version_4_the_fields_of_version_5_are_left_out(
    client: tuple[int, ...], relay: tuple[int, ...]
) -> None:
    logged_in, publication = open_pair(client, relay)
    assert logged_in == msgspec.structs.replace(LOGGED_IN, time=0)
    assert publication == msgspec.structs.replace(PUBLICATION, not_after=0)


def test_the_bytes_for_a_peer_of_version_4_are_those_of_version_4() -> None:
    assert pack(PUBLICATION, 5)[4:] == msgspec.msgpack.encode([20, 1, 1, [b"package"], b"last", True])
    assert pack(LOGGED_IN, 6)[4:] == msgspec.msgpack.encode([4, "red", False, [[1, 2]], 5, bytes(16), 3])
    assert pack(PUBLICATION)[4:] == msgspec.msgpack.encode(
        [20, 1, 1, [b"package"], b"last", True, 1_800_000_000]
    )


SINCE_7 = (m.Offer, m.FindLink, m.PassOn, m.OpenPairing, m.RemoveDevice, m.FindRevocations)


@pytest.mark.parametrize("message", SINCE_7, ids=lambda kind: kind.__name__)
def test_what_version_7_brought_an_older_relay_is_not_sent(message: type) -> None:
    (sample,) = (each for each in TO_RELAY if type(each) is message)
    for version in (6, 7):
        client, relay = ClientConnection((version,)), RelayConnection()
        relay.receive_data(client.hello("test"))
        client.receive_data(relay.greet(NONCE, "relay"))
        relay.receive_data(client.send(LOGIN))
        client.receive_data(relay.send(TO_CLIENT[1]))
        if version == 6:
            with pytest.raises(MisuseError):
                client.send(sample)
            assert not client.has_devices
        else:
            client.send(sample)
            assert client.has_devices


def test_an_older_relay_is_asked_for_the_key_packages_of_all_devices() -> None:
    whole = m.ClaimKeyPackages(1, "blue", 1, bytes(32))
    for version, sent in ((6, m.ClaimKeyPackages(1, "blue", 1)), (7, whole)):
        client, relay = ClientConnection((version,)), RelayConnection()
        relay.receive_data(client.hello("test"))
        client.receive_data(relay.greet(NONCE, "relay"))
        relay.receive_data(client.send(LOGIN))
        client.receive_data(relay.send(TO_CLIENT[1]))
        assert relay.receive_data(client.send(whole)) == [sent]
