"""The `clave-relay` command: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clave_wire import messages as m
from clave_wire.login import fingerprint_text
from relaykit import ConnectionClosed, Participant, RawClient, RelayProcess

FIRST_LINE = re.compile(r"listening on 127\.0\.0\.1:\d+  fingerprint (?P<fingerprint>([0-9a-f]{4} ?){16})\n")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clave_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that the command failed with one line, after click's usage if an option is invalid by itself."""
    assert result.returncode == (2 if "Usage" in result.stderr else 1), result.stderr
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    for word in words:
        assert word in last
    assert len(result.stderr.splitlines()) == (4 if result.returncode == 2 else 1)


async def test_the_first_line_has_the_port_and_the_fingerprint_that_clients_see(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data") as process:
        found = FIRST_LINE.fullmatch(process.first_line)
        assert found
        client = await RawClient.connect(process.port)
        assert found["fingerprint"] == fingerprint_text(client.certificate)
        await client.close()
    async with RelayProcess(tmp_path / "data") as process:
        again = FIRST_LINE.fullmatch(process.first_line)
        assert again
        assert again["fingerprint"] == found["fingerprint"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_relay_with_every_accepted_entry_on_disk(
    tmp_path: Path, number: signal.Signals
) -> None:
    red = Participant("red")
    async with RelayProcess(tmp_path / "data") as process:
        client = await (await RawClient.connect(process.port)).log_in(red)
        await client.create()
        sent = 0
        for _ in range(50):
            await client.send(client.entry(b"hello"))
        os.kill(process.pid, number)
        try:
            while await client.expect(m.Accepted):
                sent += 1
        except ConnectionClosed as closed:
            assert closed.code is m.Code.SHUTDOWN  # noqa: PT017  (the count is asserted too)
        assert await process.process.wait() == 0
        await client.close()
    async with RelayProcess(tmp_path / "data") as process:
        client = await (await RawClient.connect(process.port)).log_in(red)
        assert (await client.resume(0)).seq >= sent
        await client.close()


async def test_a_closed_standard_output_does_not_stop_the_relay(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data") as process:
        assert process.process.stdout
        process.process.stdout._transport.close()  # type: ignore[attr-defined]  # as `| head` does
        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        await client.create()
        for _ in range(100):
            await client.say(b"hello")
        await client.close()
        os.kill(process.pid, signal.SIGTERM)
        assert await process.process.wait() == 0


async def test_a_blocked_standard_output_does_not_block_the_relay(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "clave_server",
        "--listen",
        "127.0.0.1:0",
        "--data",
        str(tmp_path / "data"),
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=writing)
    os.close(writing)
    first = b""
    while not first.endswith(b"\n"):
        first += os.read(reading, 1)
    port = int(first.split()[2].rpartition(b":")[2])
    client = await (await RawClient.connect(port)).log_in(Participant("red"))
    await client.create()
    for _ in range(10):
        for _ in range(200):
            await client.send(client.entry(b"hello"))
        for _ in range(200):
            await client.expect(m.Accepted)
    await client.close()
    process.terminate()
    async with asyncio.timeout(20):
        assert await process.wait() == 0
    os.close(reading)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_a_terminal_gets_colours_unless_no_color_is_set(
    tmp_path: Path, environment: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "clave_server",
        "--listen",
        "127.0.0.1:0",
        "--data",
        str(tmp_path / "data"),
    ]
    clean = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    process = await asyncio.create_subprocess_exec(*command, stdout=theirs, env={**clean, **environment})
    os.close(theirs)
    screen = os.fdopen(ours, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    first = await loop.run_in_executor(None, screen.readline)
    client = await RawClient.connect(int(first.split()[2].rpartition(b":")[2]))
    await client.log_in(Participant("red"))
    line = await loop.run_in_executor(None, screen.readline)
    assert b"registered" in line
    assert (b"\x1b[" in line) == coloured
    await client.close()
    process.terminate()
    assert await process.wait() == 0
    screen.close()


# --- refusals ------------------------------------------------------------------------------------------


async def test_a_second_relay_on_the_same_folder_or_port_is_refused(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data") as process:
        second = await asyncio.to_thread(run, "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
        refused(second, "another relay", str(tmp_path / "data"))
        other = str(tmp_path / "other")
        same_port = await asyncio.to_thread(run, "--listen", f"127.0.0.1:{process.port}", "--data", other)
        refused(same_port, "cannot listen", str(process.port), "in use")


def test_a_folder_that_others_can_open_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    refused(run("--data", str(tmp_path)), "others can open", f"chmod 700 {tmp_path}")


def test_a_folder_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    refused(run("--data", str(tmp_path / "link")), "symbolic link")


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(run("--data", str(tmp_path / "file")), "cannot make the data folder")
    refused(run("--data", str(tmp_path / "file" / "below")), "cannot make the data folder")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


def private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def test_a_file_that_is_no_database_is_refused(data: Path) -> None:
    private(data / "relay.db", b"not a database at all" * 1000)
    refused(run("--listen", "127.0.0.1:0", "--data", str(data)), "damaged", "relay.db")


def test_a_database_of_a_newer_version_is_refused(data: Path) -> None:
    private(data / "relay.db", b"")
    connection = sqlite3.connect(data / "relay.db")
    connection.execute("PRAGMA application_id = 0x636C7672")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    refused(run("--listen", "127.0.0.1:0", "--data", str(data)), "newer", "relay.db")


def test_a_database_of_another_program_is_refused(data: Path) -> None:
    private(data / "relay.db", b"")
    connection = sqlite3.connect(data / "relay.db")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    refused(run("--listen", "127.0.0.1:0", "--data", str(data)), "another program")


@pytest.mark.parametrize("name", ["relay.db", "tls.pem"])
def test_files_that_others_can_read_are_refused(data: Path, name: str) -> None:
    (data / name).touch(mode=0o644)
    (data / name).chmod(0o644)
    refused(run("--listen", "127.0.0.1:0", "--data", str(data)), "others can read", name)


def test_a_file_that_is_no_certificate_is_refused(data: Path) -> None:
    private(data / "tls.pem", b"not a certificate")
    refused(run("--listen", "127.0.0.1:0", "--data", str(data)), "tls.pem")


@pytest.mark.parametrize(
    "listen", ["7878", "host:port", "::1:7878", "host:70000", "host:-1", "", "host:" + "9" * 5000]
)
def test_an_invalid_listen_address_is_refused(data: Path, listen: str) -> None:
    refused(run("--listen", listen, "--data", str(data)), "HOST:PORT")


@pytest.mark.parametrize("host", ["x" * 64, "a..b", os.fsdecode(b"\xff")])
@pytest.mark.parametrize("option", ["--listen", "--metrics"])
def test_a_host_that_is_no_valid_name_is_refused(data: Path, host: str, option: str) -> None:
    arguments = ["--listen", "127.0.0.1:0", "--data", str(data), option, f"{host}:1"]
    refused(run(*arguments), "cannot listen", "name of a host")
    checked = run("check", *arguments)
    assert (checked.returncode, checked.stderr) == (1, "")
    assert "name of a host" in checked.stdout


@pytest.mark.parametrize("command", [[], ["check"], ["status"], ["token", "list"]])
def test_a_folder_whose_name_is_too_long_is_refused(tmp_path: Path, command: list[str]) -> None:
    refused(run(*command, "--data", str(tmp_path / ("x" * 300))), "--data", "longer")


@pytest.mark.parametrize(
    "option",
    ["--retain-days 999999999999", "--retain-bytes 9007199254740992", "--max-clients 9007199254740992"],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, option: str) -> None:
    refused(run("check", "--data", str(tmp_path / "data"), *option.split()), "not in the range")


def test_an_unknown_host_is_an_error(data: Path) -> None:
    refused(run("--listen", "host.invalid:0", "--data", str(data)), "cannot listen", "host.invalid")


def test_an_unusable_token_file_is_refused(data: Path, tmp_path: Path) -> None:
    refused(run("--data", str(data), "--registration-token-file", "x"), "--registration token")
    token = tmp_path / "token"
    arguments = ["--data", str(data), "--registration", "token", "--registration-token-file", str(token)]
    refused(run(*arguments), "cannot read")
    token.write_text("two\nlines")
    refused(run(*arguments), "one registration token")


# --- configuration -------------------------------------------------------------------------------------


def test_a_configuration_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('listen = "127.0.0.1:0"\nmax-cleints = 5\n')
    refused(run("--config", str(config)), "unknown", "max-cleints")


@pytest.mark.parametrize(
    "content",
    [
        "listen",
        "max-clients = 0",
        'mirror = "loud"',
        "max-clients = []",
        "listen = " + "[" * 20_000,
        "max-clients = " + "9" * 5000,
        "max-clients = 0x" + "f" * 9000,
        'data = "a\\u0000b"',
    ],
    ids=lambda content: content[:20],
)
def test_a_configuration_with_invalid_values_is_refused(tmp_path: Path, content: str) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(content)
    refused(run("--config", str(config)))


def test_control_characters_of_a_configuration_are_escaped(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('"\\u001b]0;x\\u0007" = 1\n')
    result = run("--config", str(config))
    refused(result, "unknown", "<U+001B>]0;x<U+0007>")
    assert "\x1b" not in result.stderr


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    refused(run("--config", str(tmp_path / "none.toml")), "cannot read the configuration")


async def test_options_override_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('max-clients = 1\nregistration = "closed"\nmirror = "off"\n')
    environment = {"CLAVE_RELAY_REGISTRATION": "open", "CLAVE_RELAY_MAX_CLIENTS": "2"}
    options = ["--config", str(config), "--max-clients", "3"]
    async with RelayProcess(tmp_path / "data", *options, environment=environment) as process:
        clients = [
            await (await RawClient.connect(process.port)).log_in(Participant(name))
            for name in ("red", "blue", "green")
        ]
        fourth = await RawClient.connect(process.port)
        assert await fourth.closed() is m.Code.FULL
        for client in (*clients, fourth):
            await client.close()


@pytest.mark.parametrize("proxies", ['"127.0.0.1"', '["127.0.0.1", "::1"]'])
def test_a_list_option_in_a_configuration_takes_a_text_or_a_list(tmp_path: Path, proxies: str) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(f'listen = "127.0.0.1:0"\nproxy = {proxies}\n')
    checked = run("check", "--config", str(config), "--data", str(tmp_path / "data"))
    assert checked.returncode == 0, checked.stdout


def test_a_list_for_an_option_that_takes_one_value_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('listen = ["127.0.0.1:0"]\n')
    refused(run("--config", str(config)), "must give listen as text")


async def test_the_relay_listens_on_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    command = [sys.executable, "-m", "clave_server", "--listen", "[::1]:0", "--data", str(tmp_path / "data")]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    assert (await process.stdout.readline()).startswith(b"listening on [::1]:")
    process.terminate()
    assert await process.wait() == 0
    await process.communicate()


def test_help_and_version_are_shown() -> None:
    help_text = run("--help").stdout
    assert "clave-relay --mirror json" in help_text
    assert re.fullmatch(r"clave-relay \d+\.\d+.*\n", run("--version").stdout)
