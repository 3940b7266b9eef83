"""What a link's key signs, and who may speak of links."""

from __future__ import annotations

import pytest

from clave_wire import messages as m
from clave_wire.connection import ClientConnection, RelayConnection
from clave_wire.errors import MisuseError, RemoteError
from clave_wire.framing import pack
from clave_wire.limits import MAX_FRAME, MAX_LINKS, MAX_SEALED_KEY_BYTES
from clave_wire.links import PROOF_BYTES, LinkProof, join_transcript

ROOM, HEAD, DEVICE = bytes(16), bytes([1]) * 32, bytes([2]) * 32


def test_a_proof_is_the_key_and_the_signature() -> None:
    proof = LinkProof(bytes([3]) * 32, bytes([4]) * 64)
    assert proof.encode() == bytes([3]) * 32 + bytes([4]) * 64
    assert LinkProof.decode(proof.encode()) == proof
    for size in (0, PROOF_BYTES - 1, PROOF_BYTES + 1):
        with pytest.raises(RemoteError):
            LinkProof.decode(bytes(size))


def test_each_part_of_what_is_signed_counts() -> None:
    assert join_transcript(ROOM, HEAD, DEVICE, "r\u00e9d") == (
        b"clave join by link\0" + ROOM + HEAD + DEVICE + "r\u00e9d".encode()
    )


@pytest.mark.parametrize("version", [4, 5, 6])
def test_a_client_does_not_speak_of_links_before_version_7(version: int) -> None:
    client = ClientConnection((version,))
    client.hello("test")
    client.receive_data(pack(m.Greeting(version, bytes(32), "relay", MAX_FRAME)))
    client.send(m.Login(bytes(32), b"identity", bytes(64), ""))
    client.receive_data(pack(m.LoggedIn("red", False, [], 0, bytes(16))))
    assert not client.has_links
    for message in (m.Offer(ROOM, 0, [], b""), m.FindLink(1, DEVICE, 0)):
        with pytest.raises(MisuseError):
            client.send(message)


@pytest.mark.parametrize(
    "links",
    [
        [m.OfferedLink(DEVICE, 0, 1, b"")] * (MAX_LINKS + 1),
        [m.OfferedLink(DEVICE, 0, 1, bytes(MAX_SEALED_KEY_BYTES + 1))],
        [m.OfferedLink(DEVICE[:-1], 0, 1, b"")],
        [m.OfferedLink(DEVICE, -1, 1, b"")],
    ],
)
def test_an_offer_beyond_the_limits_is_malformed(links: list[m.OfferedLink]) -> None:
    client, relay = ClientConnection(), RelayConnection()
    relay.receive_data(client.hello("test"))
    client.receive_data(relay.greet(bytes(32), "relay"))
    relay.receive_data(client.send(m.Login(bytes(32), b"identity", bytes(64), "")))
    relay.send(m.LoggedIn("red", False, [], 0, bytes(16)))
    with pytest.raises(RemoteError) as caught:
        relay.receive_data(pack(m.Offer(ROOM, 0, links, b"")))
    assert caught.value.code is m.Code.MALFORMED
