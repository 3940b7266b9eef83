"""An account is deleted at its owner's request: on all its devices, and nobody else's with it."""

from __future__ import annotations

import asyncio

import pytest

from clave_server.storage import schema
from clave_wire import messages as m
from relaykit import ConnectionClosed, Participant, RelayUnderTest


async def test_the_name_is_free_and_the_key_logs_in_no_more(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    laptop = await relay.join(Participant("red", red.participant.account))
    assert isinstance(await red.ask(m.DeleteAccount(1)), m.Done)
    assert await laptop.closed() is m.Code.BAD_LOGIN
    assert await red.closed() is m.Code.BAD_LOGIN
    for participant in (red.participant, laptop.participant):
        with pytest.raises(ConnectionClosed, match="the name red is no longer this key"):
            await relay.join(participant)
    heir = await relay.join("red")
    assert heir.logged_in.registered
    await relay.restart()
    with pytest.raises(ConnectionClosed, match="the name red is no longer this key"):
        await relay.join(red.participant)


async def test_a_second_request_does_not_delete_who_has_the_name_next(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    await red.send(m.DeleteAccount(1))
    await red.send(m.DeleteAccount(2))
    heir = None
    while heir is None:
        try:
            heir = await relay.join("red")
        except ConnectionClosed:  # it is not free yet
            await asyncio.sleep(0)
    await red.closed()
    assert isinstance(await heir.ask(m.Lookup(1, "red")), m.Account)
    connection = schema.connect_reader(relay.database)
    names = connection.execute("SELECT name FROM accounts ORDER BY id").fetchall()
    connection.close()
    assert names == [("red 1",), ("red",)]
