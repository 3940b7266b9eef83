"""The control socket and its request handler: what operators can do, and invalid or silent clients."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from clave_server.accounts.tokens import token_digest
from clave_server.admin.control_socket import ControlSocket, send_request
from clave_server.admin.request_handler import AdminHandler
from clave_server.admin.requests import (
    AddBan,
    AdminRequest,
    Deleted,
    GetStatus,
    LiftBan,
    ListBans,
    ListTokens,
    MakeToken,
    Prune,
    RevokeToken,
)
from clave_server.errors import AdminError, NotRunning, StartError
from clave_server.limits.bans import Ban, BanKind, parse_ban
from clave_server.rooms.retention import RetentionPolicy
from clave_wire import messages as m
from relaykit import PATIENCE_SECONDS, ConnectionClosed, Participant, RelayUnderTest, running_relay


@pytest.fixture
async def path(relay: RelayUnderTest) -> AsyncIterator[Path]:
    control = await ControlSocket.open(
        relay.data_dir.control, AdminHandler(relay.relay, relay.data_dir).handle
    )
    yield relay.data_dir.control
    await control.close()


async def ask(path: Path, wanted: AdminRequest[Any]) -> Any:
    return await asyncio.to_thread(send_request, path, wanted)


async def send_line(path: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await reader.readline()
    writer.close()
    return json.loads(answer) if answer else {}


async def test_only_the_owner_can_open_the_control_socket(path: Path) -> None:
    assert stat.filemode(os.lstat(path).st_mode) == "srw-------"


async def test_status_reports_accounts_rooms_connections_and_disk(relay: RelayUnderTest, path: Path) -> None:
    red, _ = await relay.room_of("red", "blue")
    await relay.join(Participant("red", red.participant.account))
    status = await ask(path, GetStatus())
    assert status.online == ["blue", "red"]
    assert (status.accounts, status.rooms, status.gauges.rooms_open) == (2, 1, 1)
    assert (status.gauges.people, status.gauges.devices, status.gauges.connections) == (2, 3, 3)
    assert status.gauges.storage_works
    assert status.listening == [f"127.0.0.1:{relay.port}"]
    assert status.fingerprint.replace(" ", "") == red.certificate.hex()
    assert status.disk.database >= relay.database.stat().st_size > 0
    assert status.disk.free > 0


async def test_a_banned_name_is_disconnected_at_once_and_refused_afterwards(
    relay: RelayUnderTest, path: Path
) -> None:
    red, blue = await relay.room_of("red", "blue")
    assert await ask(path, AddBan(parse_ban("RED"))) == 1
    assert await red.closed() is m.Code.BANNED
    assert (await blue.next_presence()).online is False
    with pytest.raises(ConnectionClosed) as closed:
        await relay.join(red.participant)
    assert closed.value.code is m.Code.BANNED
    with pytest.raises(ConnectionClosed) as closed:
        await relay.join("red")
    assert closed.value.code is m.Code.BANNED
    assert (await blue.say(b"they are gone")).seq == 2
    await relay.restart()
    with pytest.raises(ConnectionClosed) as closed:
        await relay.join(red.participant)
    assert closed.value.code is m.Code.BANNED


async def test_a_device_banned_during_its_login_is_refused(relay: RelayUnderTest, path: Path) -> None:
    gate = threading.Event()
    relay.relay.reader.submit(lambda _: gate.wait(), lambda _: None)
    joining = asyncio.ensure_future(relay.join("red"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not relay.relay.reader.waiting:  # noqa: ASYNC110  (a queue tells nobody that it fills)
            await asyncio.sleep(0.001)
    assert await ask(path, AddBan(parse_ban("red"), unknown=True)) == 0
    gate.set()
    with pytest.raises(ConnectionClosed) as closed:
        await joining
    assert closed.value.code is m.Code.BANNED
    assert relay.relay.context.sessions == {}


async def test_a_lifted_ban_no_longer_applies(relay: RelayUnderTest, path: Path) -> None:
    red = Participant("red")
    await ask(path, AddBan(parse_ban("red"), unknown=True))
    with pytest.raises(ConnectionClosed):
        await relay.join(red)
    await ask(path, LiftBan(parse_ban("red")))
    await relay.join(red)
    assert await ask(path, ListBans()) == []
    with pytest.raises(AdminError, match="not banned"):
        await ask(path, LiftBan(parse_ban("red")))


async def test_a_banned_network_is_disconnected_before_and_after_login(
    relay: RelayUnderTest, path: Path
) -> None:
    red, silent = await relay.join("red"), await relay.connect()
    await silent.greet()
    assert await ask(path, AddBan(parse_ban("127.0.0.0/8"))) == 2
    assert await red.closed() is m.Code.BANNED
    assert await silent.closed() is m.Code.BANNED
    assert await (await relay.connect()).closed() is m.Code.BANNED
    assert relay.relay.context.counters.connections_refused == {m.Code.BANNED: 1}


async def test_a_refused_request_does_not_fail_entries_of_its_flush(
    relay: RelayUnderTest, path: Path
) -> None:
    (red,) = await relay.room_of("red")
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    relay.sequencer.submit(lambda _: None, gate.set_result)  # the next flush waits for this one
    handler = AdminHandler(relay.relay, relay.data_dir)
    failing = asyncio.ensure_future(handler.handle(RevokeToken(7)))
    await red.send(red.entry(b"in the same flush"))
    with pytest.raises(AdminError, match="no token 7"):
        await failing
    assert (await red.expect(m.Accepted)).seq == 2
    assert gate.done()


async def test_an_invalid_ban_is_refused_and_not_stored(relay: RelayUnderTest, path: Path) -> None:
    for kind in BanKind:
        with pytest.raises(AdminError, match=r"x1b\[31mx"):
            await ask(path, AddBan(Ban(kind, "\x1b[31mx")))
    with pytest.raises(AdminError, match="1000 characters"):
        await ask(path, AddBan(Ban(BanKind.NAME, "red", note="x" * 1001)))
    assert await ask(path, ListBans()) == []
    await relay.restart()
    await relay.join("red")


async def test_a_name_that_nobody_has_is_banned_only_as_an_unknown_one(
    relay: RelayUnderTest, path: Path
) -> None:
    with pytest.raises(AdminError, match=r"nobody has the name red here.*account list.*--unknown"):
        await ask(path, AddBan(parse_ban("red")))
    assert await ask(path, ListBans()) == []
    await relay.join("red")
    assert await ask(path, AddBan(parse_ban("Red"))) == 1


class FailingRequest(AdminRequest[int], frozen=True, tag="failing_request"):
    """Writes, then raises an error that no request should."""

    ANSWER = int

    def step(self, connection: apsw.Connection, now: int) -> int:
        connection.execute("INSERT INTO bans(kind, subject, note, made_at) VALUES ('name', 'red', '', 1)")
        raise ZeroDivisionError


async def test_a_request_that_raises_is_rolled_back_alone(relay: RelayUnderTest, path: Path) -> None:
    (red,) = await relay.room_of("red")
    handler = AdminHandler(relay.relay, relay.data_dir)
    digest = token_digest("twice")
    await handler.handle(MakeToken(digest, "", None, None))
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    relay.sequencer.submit(lambda _: None, gate.set_result)  # the next flush waits for this one
    again = asyncio.ensure_future(handler.handle(MakeToken(digest, "", None, None)))
    failing_request = asyncio.ensure_future(handler.handle(FailingRequest()))
    await red.send(red.entry(b"in the same flush"))
    with pytest.raises(AdminError, match="does not take this order"):
        await again
    with pytest.raises(ZeroDivisionError):
        await failing_request
    assert (await red.expect(m.Accepted)).seq == 2
    assert gate.done()
    assert await ask(path, ListBans()) == []
    assert relay.relay.context.counters.storage_failures == 0


async def test_pruning_uses_the_limits_of_the_request_or_else_the_settings(tmp_path: Path) -> None:
    async with running_relay(tmp_path, retention=RetentionPolicy(days=36500)) as relay:
        (red,) = await relay.room_of("red")
        for _ in range(20):
            await red.say(bytes(500))
        participant = red.participant
        await relay.restart()
        await relay.join(participant)
        handler = AdminHandler(relay.relay, relay.data_dir)
        assert await handler.handle(Prune(0, 0)) == Deleted(0, 0)
        deleted = await handler.handle(Prune(0, 3000))
    assert isinstance(deleted, Deleted)
    assert 10 < deleted.entries < 20
    assert deleted.size > 500 * deleted.entries


async def test_pruning_without_limits_is_refused(path: Path) -> None:
    with pytest.raises(AdminError, match="--retain-days"):
        await ask(path, Prune(0, 0))


async def test_tokens_are_made_listed_and_revoked(path: Path) -> None:
    number = await ask(path, MakeToken(token_digest("x"), "a note", 5, None))
    (token,) = await ask(path, ListTokens())
    assert (token.id, token.note, token.expires_at, token.uses_left) == (number, "a note", 5, None)
    await ask(path, RevokeToken(number))
    assert await ask(path, ListTokens()) == []


def make_token(**changed: object) -> bytes:
    digest = base64.b64encode(bytes(32)).decode()
    fields = {"order": "make-token", "digest": digest, "note": "", "expires_at": 1, "uses": 1}
    return json.dumps(fields | changed).encode() + b"\n"


async def test_the_request_to_make_a_token_is_accepted(path: Path) -> None:
    assert (await send_line(path, make_token()))["answer"] == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'{"order": "dance"}\n',
        b'{"order": "revoke-token"}\n',
        b'{"order": "status", "loud": true}\n',
        b'{"order": "add-ban", "ban": {"kind": "colour", "subject": "red"}}\n',
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b'{"order": "make-token", "note": "\xff"}\n',
        b'{"order": "revoke-token", "id": 9007199254740992}\n',
        b'{"order": "revoke-token", "id": -1}\n',
        b'{"order": "prune", "days": 36501, "room_bytes": 0}\n',
        b'{"order": "prune", "days": 0, "room_bytes": 9007199254740992}\n',
        make_token(uses=10**9 + 1),
        make_token(expires_at=2**53),
        make_token(note="x" * 1001),
        make_token(digest="AAAA"),
    ],
)
async def test_an_invalid_request_is_answered_with_an_error(path: Path, line: bytes) -> None:
    answer = await send_line(path, line)
    assert "does not understand" in answer["error"]
    assert (await ask(path, GetStatus())).accounts == 0


async def test_connections_that_send_too_much_or_nothing_are_closed(path: Path) -> None:
    assert await send_line(path, b"x" * 200_000) == {}
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert (await ask(path, GetStatus())).accounts == 0


async def test_a_silent_connection_is_closed_after_a_timeout(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clave_server.admin.control_socket.REQUEST_SECONDS", 0.05)
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert await reader.read() == b""
    writer.close()


async def test_clients_that_disconnect_before_the_answer_disturb_nothing(
    relay: RelayUnderTest, path: Path
) -> None:
    (red,) = await relay.room_of("red")
    for _ in range(20):
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'{"order": "list-tokens"}\n')
        writer.close()
    assert (await red.say(b"hello")).seq == 2
    assert await ask(path, ListTokens()) == []


async def test_a_request_without_a_running_relay_raises_not_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        send_request(tmp_path / "control.sock", GetStatus())
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NotRunning):
        send_request(tmp_path / "control.sock", GetStatus())


async def nothing(_request: AdminRequest[Any]) -> object:
    return []


async def test_the_socket_of_a_killed_relay_is_replaced_and_a_missing_folder_is_an_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    control = await ControlSocket.open(path, nothing)
    assert await ask(path, ListTokens()) == []
    await control.close()
    assert not path.exists()
    with pytest.raises(StartError, match="control socket"):
        await ControlSocket.open(tmp_path / "missing" / "control.sock", nothing)


async def test_a_socket_path_longer_than_the_system_allows_works(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    control = await ControlSocket.open(folder / "control.sock", nothing)
    assert await ask(folder / "control.sock", ListTokens()) == []
    await control.close()


async def test_an_answer_of_another_version_is_an_error(tmp_path: Path) -> None:
    control = await ControlSocket.open(tmp_path / "control.sock", nothing)
    with pytest.raises(AdminError, match="another version"):
        await ask(tmp_path / "control.sock", GetStatus())
    await control.close()


@pytest.mark.parametrize("answer", [b"[" * 100_000, b'{"answer": 1, "error": "\xff"}', b""])
async def test_an_unreadable_answer_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer + b"\n")
        writer.close()

    path = tmp_path / "control.sock"
    async with await asyncio.start_unix_server(talk, str(path)):
        with pytest.raises(AdminError, match="another version"):
            await ask(path, GetStatus())


async def test_no_request_is_sent_to_a_socket_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[AdminRequest[Any]] = []

    async def hear(given: AdminRequest[Any]) -> object:
        heard.append(given)
        return []

    control = await ControlSocket.open(tmp_path / "control.sock", hear)
    monkeypatch.setattr("clave_server.admin.control_socket.os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(AdminError, match="belongs to another user"):
        await ask(tmp_path / "control.sock", ListTokens())
    monkeypatch.undo()
    monkeypatch.setattr(
        "clave_server.admin.control_socket.listener_of", lambda *_: tmp_path.stat().st_uid + 1
    )
    with pytest.raises(AdminError, match="not the data folder's owner"):
        await ask(tmp_path / "control.sock", ListTokens())
    assert heard == []
    monkeypatch.undo()
    assert await ask(tmp_path / "control.sock", ListTokens()) == []
    await control.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
async def test_root_accepts_answers_only_from_the_owner_of_the_folder(tmp_path: Path) -> None:
    nobody = 65534
    control = await ControlSocket.open(tmp_path / "control.sock", nothing)
    os.chown(tmp_path, nobody, nobody)
    with pytest.raises(AdminError, match="not the data folder's owner"):
        await ask(tmp_path / "control.sock", ListTokens())
    os.chown(tmp_path, 0, 0)
    await ask(tmp_path / "control.sock", ListTokens())  # answered after the one before has ended
    await control.close()
    os.chown(tmp_path, nobody, nobody)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control.sock"))
        os.seteuid(nobody)
        listening.listen()
        os.seteuid(0)
        asking = asyncio.ensure_future(ask(tmp_path / "control.sock", ListTokens()))
        answering, _ = await asyncio.to_thread(listening.accept)
        with answering:
            answering.sendall(b'{"answer": []}\n')
            assert await asking == []


async def test_closing_the_socket_ends_waiting_requests(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never(_request: AdminRequest[Any]) -> object:
        asked.set()
        return await asyncio.Event().wait()

    control = await ControlSocket.open(tmp_path / "control.sock", never)
    waiting = asyncio.ensure_future(ask(tmp_path / "control.sock", ListTokens()))
    await asked.wait()
    await control.close()
    with pytest.raises(AdminError, match="stopped"):
        await waiting


@pytest.mark.parametrize("turns", range(4))
async def test_a_client_that_connects_as_the_socket_closes_is_closed_too(tmp_path: Path, turns: int) -> None:
    async def never(_request: AdminRequest[Any]) -> object:
        return await asyncio.Event().wait()

    path = tmp_path / "control.sock"
    control = await ControlSocket.open(path, never)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_SECONDS)
        client.connect(str(path))
        for _ in range(turns):  # of the loop: not accepted yet, accepted, being served
            await asyncio.sleep(0)
        await control.close()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""
    assert not path.exists()
