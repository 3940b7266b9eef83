"""`clave-relay account`: the name of a lost device's account is freed, and what becomes of that account."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clave_crypto.identity import fingerprint
from clave_server.admin.integrity import check_rows
from clave_server.admin.request_handler import AdminHandler
from clave_server.admin.requests import FreeAccount, Freed
from clave_server.errors import AdminError, DamageError
from clave_server.limits.quotas import Quota
from clave_server.storage import schema
from clave_wire import messages as m
from commandkit import refused, run, said
from relaykit import ConnectionClosed, Participant, RawClient, RelayProcess, RelayUnderTest, running_relay

SUITE = 2


async def publish(client: RawClient, *packages: bytes) -> None:
    answer = await client.ask(m.PublishKeyPackages(client.next_id(), SUITE, list(packages), b"last"))
    assert isinstance(answer, m.Done)


async def free(relay: RelayUnderTest, name: str) -> Freed:
    freed = await AdminHandler(relay.relay, relay.data_dir).handle(FreeAccount(name))
    assert isinstance(freed, Freed)
    return freed


def check_database(relay: RelayUnderTest) -> None:
    connection = schema.connect_reader(relay.database)
    check_rows(connection)
    connection.close()


async def test_the_name_can_be_registered_anew_and_the_former_key_is_told(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    assert await free(relay, "Red") == Freed("red", red.participant.account.public, 1, 1)
    assert await red.closed() is m.Code.BAD_LOGIN
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="the name red is no longer this key") as closed:
            await relay.join(red.participant)
        assert closed.value.code is m.Code.BAD_LOGIN
        with pytest.raises(ConnectionClosed, match="the name red is no longer this key"):
            await relay.join(Participant("red", red.participant.account))  # another device of that key
        await relay.restart()
    heir = await relay.join("red")
    assert heir.logged_in.registered
    blue = await relay.join("blue")
    answer = await blue.ask(m.Lookup(blue.next_id(), "red"))
    assert isinstance(answer, m.Account)
    assert [device for device, _ in answer.devices] == [heir.participant.device]
    with pytest.raises(ConnectionClosed, match="the name red is no longer this key"):
        await relay.join(red.participant)
    check_database(relay)


async def test_nothing_of_the_former_key_is_handed_out(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    await publish(red, b"one", b"two")
    await free(relay, "red")
    for name in ("red", "red 1"):
        answer = await blue.ask(m.ClaimKeyPackages(blue.next_id(), name, SUITE))
        assert isinstance(answer, m.Refused)
        assert answer.code is m.Code.NO_SUCH_NAME
    connection = schema.connect_reader(relay.database)
    for table in ("key_packages", "last_resorts"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0  # noqa: S608
    connection.close()
    check_database(relay)


async def test_a_freed_account_stays_in_its_rooms_under_its_name(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await free(relay, "red")
    assert await red.closed() is m.Code.BAD_LOGIN
    assert (await blue.next_presence()).online is False
    await blue.say(b"hello")
    for _ in range(2):
        back = await relay.join(blue.participant)
        members = dict((await back.resume(0)).members)
        assert members[red.participant.device] == "red"
        await relay.restart()


async def test_the_bytes_of_welcomes_to_a_freed_account_are_free_again(tmp_path: Path) -> None:
    async with running_relay(tmp_path, quota=Quota(0, 10**6)) as relay:
        blue, red = await relay.join("blue"), await relay.join("red")
        await blue.create()
        await blue.resume(0)
        await blue.submit(
            blue.entry(b"add", kind=m.Kind.COMMIT, add=(red.participant.device,), welcome=bytes(5000))
        )
        usage = relay.relay.context.sessions[blue.participant.device].usage
        before = usage.stored
        await free(relay, "red")
        assert before - usage.stored == 5000
        check_database(relay)


async def test_only_a_name_that_is_registered_can_be_freed(relay: RelayUnderTest) -> None:
    await relay.join("red")
    await free(relay, "red")
    for name in ("red", "red 1", "nobody", "\x1b[31m"):
        with pytest.raises(AdminError, match="nobody has the name"):
            await free(relay, name)


async def test_a_damaged_account_is_not_freed(relay: RelayUnderTest) -> None:
    await relay.join("red")
    await relay.stop()
    connection = schema.connect_writer(relay.database)
    connection.execute("UPDATE accounts SET skeleton = 'x'")
    connection.close()
    await relay.start()
    with pytest.raises(DamageError):
        await free(relay, "red")


async def test_account_commands_work_while_the_relay_runs_and_while_it_is_stopped(data: Path) -> None:
    red, blue = Participant("red"), Participant("blue")
    async with RelayProcess(data) as process:
        for person in (red, blue):
            await (await (await RawClient.connect(process.port)).log_in(person)).close()
        head, *rows = (await said(data, "account", "list")).splitlines()
        assert head.split() == ["name", "devices", "rooms", "made", "stored", "fingerprint"]
        assert [row.split()[:3] for row in rows] == [["blue", "1", "0"], ["red", "1", "0"]]
        assert rows[1].endswith(fingerprint(red.account.public))
        client = await (await RawClient.connect(process.port)).log_in(red)
        assert await said(data, "account", "free", "red") == (
            "red is free to be registered anew; devices that can no longer log in: 1, connections closed: 1\n"
        )
        assert await client.closed() is m.Code.BAD_LOGIN
        await client.close()
    assert "connections closed: 0" in await said(data, "account", "free", "BLUE")
    assert len((await said(data, "account", "list")).splitlines()) == 1
    refused(await asyncio.to_thread(run, data, "account", "free", "blue"), "nobody has the name blue")
