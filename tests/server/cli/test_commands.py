"""The operator's commands against a real relay, running and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clave_server.accounts.tokens import make_token
from clave_server.admin.gauges import Gauges
from clave_server.limits.bans import Ban, BanKind, add_ban
from clave_server.storage import schema
from clave_wire import messages as m
from commandkit import make_folder, refused, run, said
from relaykit import ROOM, ConnectionClosed, Participant, RawClient, RelayProcess

COMMANDS = [
    ["check"],
    ["status"],
    ["top"],
    ["token"],
    ["token", "make"],
    ["token", "list"],
    ["token", "revoke"],
    ["ban"],
    ["unban"],
    ["account"],
    ["account", "list"],
    ["account", "free"],
    ["backup"],
    ["prune"],
]


async def log_in(port: int, who: Participant, token: str = "") -> RawClient | m.Code | None:
    client = await RawClient.connect(port)
    try:
        return await client.log_in(who, token)
    except ConnectionClosed as closed:
        await client.close()
        return closed.code


async def can_log_in(port: int, who: Participant, token: str = "") -> bool:
    client = await log_in(port, who, token)
    if isinstance(client, RawClient):
        await client.close()
        return True
    return False


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(data: Path, command: list[str]) -> None:
    result = run(data, *command, "--help")
    assert result.returncode == 0
    assert re.search(rf"Example:\n +clave-relay {' '.join(command)}", result.stdout)
    assert "--data" in result.stdout or command in (["token"], ["account"])


def test_commands_without_a_data_folder_fail_and_create_nothing(data: Path) -> None:
    refused(run(data, "status"), "no relay runs", str(data), "--data")
    for command in (
        ["token", "make"],
        ["token", "list"],
        ["ban", "red"],
        ["ban"],
        ["unban", "red"],
        ["prune"],
    ):
        refused(run(data, *command), "no relay has run", str(data), "--data")
    refused(run(data, "backup", data.parent / "backup.tar"), "no relay has run", str(data))
    assert list(data.parent.iterdir()) == []


def test_options_go_after_the_command(data: Path) -> None:
    command = [sys.executable, "-m", "clave_server", "--data", str(data), "status"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert "clave-relay status --data" in result.stderr.splitlines()[-1]


async def test_status_of_a_running_relay(data: Path, tmp_path: Path) -> None:
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        table = await said(data, "status")
        assert re.search(r"^people +1 online, devices: 1; red$", table, re.MULTILINE)
        assert re.search(rf"^listening +127\.0\.0\.1:{process.port}$", table, re.MULTILINE)
        assert re.search(r"^rooms +0, 0 of them open$", table, re.MULTILINE)
        assert re.search(r"^disk +database \d+\.\d KiB, \d+\.\d .iB free$", table, re.MULTILINE)
        status = json.loads(await said(data, "status", "--json"))
        assert (status["online"], status["gauges"]["devices"]) == (["red"], 1)
        config = tmp_path / "relay.toml"
        config.write_text(f'data = "{data}"\nmax-clients = 5\n')
        command = [sys.executable, "-m", "clave_server", "status", "--config", str(config)]
        found = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
        assert f"127.0.0.1:{process.port}" in found.stdout
        await client.close()
    refused(run(data, "status"), "no relay runs")


async def test_tokens_can_be_made_while_the_relay_runs_and_while_it_is_stopped(
    data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("of the file\n")
    options = ("--registration", "token", "--registration-token-file", str(file))
    red, blue, green, last = (Participant(name) for name in ("red", "blue", "green", "last"))
    async with RelayProcess(data, *options) as process:
        once = (await said(data, "token", "make", "--note", "running")).strip()
        assert not await can_log_in(process.port, red)
        assert await can_log_in(process.port, red, once)
        assert await can_log_in(process.port, red)
        assert not await can_log_in(process.port, blue, once)
        assert await can_log_in(process.port, blue, "of the file")
    twice = (await said(data, "token", "make", "--note", "stopped", "--uses", "2", "--days", "0")).strip()
    listed = await said(data, "token", "list")
    assert once not in listed
    assert twice not in listed
    head, first, second = listed.splitlines()
    assert head.split() == ["id", "made", "until", "uses", "left", "note"]
    assert re.fullmatch(r"1 +20\S+ \S+ +20\S+ \S+ +0 +running", first)
    assert re.fullmatch(r"2 +20\S+ \S+ +for ever +2 +stopped", second)
    async with RelayProcess(data, *options) as process:
        assert await can_log_in(process.port, green, twice)
        revoked = await said(data, "token", "revoke", "2")
        assert revoked == "token 2 is revoked; names registered with it stay\n"
        assert not await can_log_in(process.port, last, twice)
    refused(run(data, "token", "revoke", "2"), "no token 2", "token list")


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "make", "--uses", "1000000001"],
        ["token", "make", "--days", "36501"],
        ["token", "make", "--note", os.fsdecode(b"\xff")],
        ["token", "make", "--note", "x" * 1001],
        ["token", "revoke", "9007199254740992"],
        ["ban", "red", "--note", "x" * 1001],
        ["prune", "--retain-days", "36501"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30].encode("ascii", "replace").decode(),
)
def test_invalid_arguments_are_refused_before_anything_is_done(data: Path, arguments: list[str]) -> None:
    make_folder(data)
    result = run(data, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("Error: Invalid value for ")


def test_rows_with_control_characters_are_listed_escaped(data: Path) -> None:
    make_folder(data)
    connection = schema.connect_writer(data / "relay.db")
    for expires_at in (2**62, -(2**62), 2**53):
        digest = expires_at.to_bytes(8, signed=True)
        make_token(connection, digest, note="\x1b[31mnote", made_at=1, expires_at=expires_at, uses=None)
    add_ban(connection, Ban(BanKind.NETWORK, "\x1b[31mx", "", 2**62))
    connection.close()
    tokens, bans = run(data, "token", "list"), run(data, "ban")
    assert (tokens.stderr, bans.stderr) == ("", "")
    assert len(tokens.stdout.splitlines()) == 4
    assert f"@{2**62 // 1000}" in tokens.stdout
    assert "<U+001B>[31mx  network" in bans.stdout
    assert "\x1b" not in tokens.stdout + bans.stdout


async def test_a_start_ignores_a_stored_ban_that_names_no_network(data: Path) -> None:
    make_folder(data)
    connection = schema.connect_writer(data / "relay.db")
    add_ban(connection, Ban(BanKind.NETWORK, "nonsense", "", 1))
    add_ban(connection, Ban(BanKind.NAME, "red", "", 1))
    connection.close()
    async with RelayProcess(data) as process:
        assert await log_in(process.port, Participant("red")) is m.Code.BANNED
        assert await can_log_in(process.port, Participant("blue"))
        process.process.terminate()
        _, logged = await process.process.communicate()
    assert b"ban not in force: it names no network  subject=nonsense" in logged


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE bans SET subject = CAST(x'72ff64' AS TEXT) WHERE subject = 'red'", "r\ufffdd"),
        ("DELETE FROM bans WHERE subject = 'red'", None),
    ],
)
async def test_a_start_with_a_damaged_or_missing_ban_is_refused(
    data: Path, damage: str, named: str | None
) -> None:
    make_folder(data)
    for name in ("red", "blue"):
        assert run(data, "ban", name, "--unknown", "--note", "spam").returncode == 0
    connection = sqlite3.connect(data / "relay.db")
    connection.execute(damage)
    connection.commit()
    connection.close()
    found = run(data, "check", "--listen", "127.0.0.1:0")
    assert found.returncode == 1
    assert re.search("error +database +.*(ban of .* is damaged|a ban is missing)", found.stdout)
    for command in (["--listen", "127.0.0.1:0"], ["ban"]):
        refused(run(data, *command), "ban", "on disk", "clave-relay unban --damaged")
    assert run(data, "ban", "green", "--unknown").returncode == 0
    refused(run(data, "ban"), "clave-relay unban --damaged")  # a change hides nothing
    mended = await said(data, "unban", "--damaged")
    assert mended.count("forgotten: ") == (named is not None)
    assert named is None or f"forgotten: {named};" in mended
    async with RelayProcess(data) as process:
        assert await log_in(process.port, Participant("blue")) is m.Code.BANNED
        assert await log_in(process.port, Participant("green")) is m.Code.BANNED


def test_unban_takes_either_a_name_or_damaged(data: Path) -> None:
    make_folder(data)
    for arguments in ([], ["red", "--damaged"]):
        result = run(data, "unban", *arguments)
        assert (result.returncode, result.stdout) == (2, "")


def test_a_damaged_token_is_named_and_can_be_revoked(data: Path) -> None:
    make_folder(data)
    for _ in range(2):
        assert run(data, "token", "make").returncode == 0
    connection = sqlite3.connect(data / "relay.db")
    connection.execute("UPDATE tokens SET uses_left = 1000 WHERE id = 2")
    connection.commit()
    connection.close()
    found = run(data, "check", "--listen", "127.0.0.1:0", "--registration", "token")
    assert (found.returncode, "registration token 2 is damaged" in found.stdout) == (0, True)
    refused(run(data, "token", "list"), "registration token 2 is damaged", "clave-relay token revoke 2")
    assert run(data, "token", "revoke", "2").returncode == 0
    assert len(run(data, "token", "list").stdout.splitlines()) == 2


def test_a_stored_ban_of_an_unknown_kind_is_an_error(data: Path) -> None:
    make_folder(data)
    connection = schema.connect_writer(data / "relay.db")
    add_ban(connection, Ban("colour", "red", "", 1))  # type: ignore[arg-type]  # a later version's
    connection.close()
    refused(run(data, "ban"), "a ban in the database", "no known kind")
    refused(run(data, "--listen", "127.0.0.1:0"), "a ban in the database", "no known kind")


def test_a_database_without_the_needed_table_is_an_error(data: Path) -> None:
    make_folder(data)
    connection = sqlite3.connect(data / "relay.db")
    connection.execute("DROP TABLE tokens")
    connection.close()
    refused(run(data, "token", "list"), "the database", "no such table")


def test_answers_of_a_hostile_relay_are_escaped(data: Path) -> None:
    data.mkdir(mode=0o700)
    gauges = dict.fromkeys(Gauges.__struct_fields__, 1) | {"storage_works": True}
    evil = "\x1b]0;x\x07"
    texts = dict.fromkeys(("version", "fingerprint", "registration"), evil)
    numbers = dict.fromkeys(("uptime", "accounts", "rooms"), 1) | {"started_at": 2**62}
    told = {"listening": [evil], "online": [evil], "gauges": gauges, "disk": {"database": 1, "free": 1}}
    for answer, command in (
        ({"error": evil}, ["status"]),
        ({"answer": {**texts, **numbers, **told}}, ["status"]),
        ({"answer": {"present": evil, "following": evil}}, ["certificate"]),
    ):
        with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor() as pool:
            listening.bind(str(data / "control.sock"))
            listening.listen()
            listening.settimeout(60)
            running = pool.submit(run, data, *command)
            talk, _ = listening.accept()
            with talk:
                talk.sendall(json.dumps(answer).encode() + b"\n")
                result = running.result()
        (data / "control.sock").unlink()
        assert "<U+001B>]0;x<U+0007>" in result.stdout + result.stderr
        assert "\x1b" not in result.stdout + result.stderr


async def test_bans_work_while_the_relay_runs_and_while_it_is_stopped(data: Path) -> None:
    red, blue = Participant("red"), Participant("blue")
    async with RelayProcess(data) as process:
        client = await log_in(process.port, red)
        assert isinstance(client, RawClient)
        answer = await said(data, "ban", "Red", "--note", "spam")
        assert answer == "red is banned; connections closed: 1\n"
        assert await client.closed() is m.Code.BANNED
        await client.close()
        assert await log_in(process.port, red) is m.Code.BANNED
    answer = await said(data, "ban", "2001:db8::1")
    assert answer == "2001:db8::/64, the whole network of that address, is banned; connections closed: 0\n"
    assert await said(data, "unban", "2001:db8::2") == "2001:db8::/64 is no longer banned\n"
    await said(data, "ban", "127.0.0.0/8")
    assert "127.0.0.0/8  network" in (listed := await said(data, "ban"))
    assert re.search(r"^red +name +20\S+ \S+ +spam$", listed, re.MULTILINE)
    async with RelayProcess(data) as process:
        assert await log_in(process.port, blue) is m.Code.BANNED
        await said(data, "unban", "127.0.0.0/8")
        assert await can_log_in(process.port, blue)
        assert await log_in(process.port, red) is m.Code.BANNED
    await said(data, "unban", "red")
    refused(run(data, "unban", "red"), "red is not banned")
    refused(run(data, "ban", "two words"), "neither an address")
    refused(run(data, "ban", "rde"), "nobody has the name rde here", "account list", "--unknown")
    async with RelayProcess(data) as process:
        assert await can_log_in(process.port, red)


# --- prune ---------------------------------------------------------------------------------------------


def deleted(answer: str) -> int:
    found = re.fullmatch(r"deleted: (\d+) entries, .*B\n", answer)
    assert found, answer
    return int(found[1])


async def test_pruning_works_while_the_relay_runs_and_while_it_is_stopped(data: Path) -> None:
    red = Participant("red")
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(red)
        await client.create()
        for _ in range(40):
            await client.say(bytes(1000))
        await client.close()
        refused(await asyncio.to_thread(run, data, "prune"), "--retain-days", "--retain-bytes")
        process.process.terminate()
        await process.process.wait()
    refused(run(data, "prune"), "--retain-days", "--retain-bytes")
    assert deleted(await said(data, "prune", "--retain-days", "1")) == 0
    first = deleted(await said(data, "prune", "--retain-bytes", "30000"))
    assert 10 < first < 20
    async with RelayProcess(data) as process:
        second = deleted(await said(data, "prune", "--retain-bytes", "20000"))
        assert second > 0
        client = await (await RawClient.connect(process.port)).log_in(red)
        refusal = await client.ask(m.Resume(1, ROOM, 0))
        assert isinstance(refusal, m.Refused)
        assert refusal.code is m.Code.PRUNED
        kept_from = first + second + 1
        assert (await client.resume(kept_from - 1)).seq == 40
        assert (await client.expect(m.Entry)).seq == kept_from
        await client.close()


async def test_entries_sent_before_a_ban_are_kept(data: Path) -> None:
    red = Participant("red")
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(red)
        await client.create()
        await client.say(b"hello")
        await said(data, "ban", "red")
        assert await client.closed() is m.Code.BANNED
        await client.close()
        await said(data, "unban", "red")
        client = await (await RawClient.connect(process.port)).log_in(red)
        assert (await client.resume(0, ROOM)).seq == 1
        await client.close()


# --- what the log says of the operator -----------------------------------------------------------------


async def test_the_log_of_a_running_relay_says_what_its_operator_did(data: Path) -> None:
    async with RelayProcess(data) as process:
        client = await log_in(process.port, Participant("red"))
        assert isinstance(client, RawClient)
        made = (await said(data, "token", "make", "--note", "choir")).strip()
        await said(data, "token", "list")
        await said(data, "token", "revoke", "1")
        await said(data, "ban", "red", "--note", "spam")
        await said(data, "ban")
        await said(data, "unban", "red")
        await said(data, "account", "free", "red")
        await said(data, "prune", "--retain-days", "7")
        await client.close()
        process.process.terminate()
        _, log = await process.process.communicate()
    said_of = [line.split("  ", 2)[1:] for line in log.decode().splitlines() if "by=operator" in line]
    assert [" ".join(words) for words in said_of] == [
        "info token made  by=operator  token=1  uses=1  note=choir",
        "info token revoked  by=operator  token=1",
        "info banned  by=operator  subject=red  note=spam  closed=1",
        "info ban lifted  by=operator  subject=red",
        "info account freed  by=operator  name=red  devices=1  closed=0",
        "info entries pruned  by=operator  entries=0  bytes=0",
    ]
    assert made not in log.decode()
