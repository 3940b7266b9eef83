"""What version 7 brought for several devices is for connections of version 7."""

from __future__ import annotations

import pytest

from clave_wire import messages as m
from clave_wire.connection import ClientConnection
from clave_wire.framing import pack
from relaykit import ConnectionClosed, Participant, RawClient, RelayUnderTest


async def older(relay: RelayUnderTest, participant: Participant) -> RawClient:
    """Log in with version 6."""
    client = await relay.connect()
    client.connection = ClientConnection((6,))
    return await client.log_in(participant)


async def test_an_older_connection_is_passed_nothing(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    laptop = await older(relay, Participant("red", red.participant.account))
    answer = await red.ask(m.PassOn(1, laptop.participant.device, b"hello"))
    assert isinstance(answer, m.Refused)
    assert answer.text == "that device is not connected"


@pytest.mark.parametrize(
    "request_",
    [
        m.PassOn(7, bytes(32), b"hello"),
        m.OpenPairing(7, bytes(32)),
        m.RemoveDevice(7, bytes(32), bytes(64)),
        m.FindRevocations(7, "red"),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_an_older_connection_is_refused(relay: RelayUnderTest, request_: m.ToRelay) -> None:
    red = await older(relay, Participant("red"))
    await red.write(pack(request_))
    answer = await red.receive()
    assert isinstance(answer, m.Refused)
    assert (answer.id, answer.code) == (7, m.Code.BAD_REQUEST)


async def test_an_older_connection_is_not_paired(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    guest = Participant("red")
    guest.identity = b""
    assert isinstance(await red.ask(m.OpenPairing(1, guest.device)), m.Done)
    with pytest.raises(ConnectionClosed, match="the login does not hold"):
        await older(relay, guest)
