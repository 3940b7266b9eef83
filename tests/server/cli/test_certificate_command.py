"""The relay's certificates, changed by command and by signal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from certificatekit import HOST, Authority, ec_key, key_pem, own_files, write_pair
from clave_wire import messages as m
from relaykit import PATIENCE_SECONDS, Participant, RawClient, RelayProcess


async def run_certificate(data: Path, *words: str | Path) -> tuple[int, list[str]]:
    """Run `clave-relay certificate`; return its exit status and what it printed, line by line."""
    return await run(data, "certificate", *words)


async def run(data: Path, *words: str | Path) -> tuple[int, list[str]]:
    command = ("-m", "clave_server", *map(str, words), "--data", str(data))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode is not None
    return process.returncode, printed.decode().splitlines()


async def test_the_commands_work_on_a_stopped_relay(tmp_path: Path) -> None:
    data = tmp_path / "data"
    status, (line,) = await run_certificate(data)
    assert (status, "no relay has run" in line) == (1, True)
    async with RelayProcess(data) as relay:
        first = relay.first_line.split("fingerprint ")[1].strip()
    assert (await run_certificate(data))[1][0] == f"present  {first}"
    _, (_, line) = await run_certificate(data, "next")
    following = line.removeprefix("next     ")
    status, (line,) = await run_certificate(data, "next")
    assert (status, "announced already" in line) == (1, True)
    async with RelayProcess(data) as relay:
        assert relay.first_line.endswith(f"{first}\n")
        assert await run_certificate(data) == (0, [f"present  {first}", f"next     {following}"])
        status, lines = await run_certificate(data, "switch")
        assert (status, lines[0]) == (0, f"present  {following}")
        assert (await certificate_at(relay.port)).hex() == following.replace(" ", "")
        status, (line,) = await run_certificate(data, "switch")
        assert (status, "no next certificate" in line) == (1, True)
    assert (await run_certificate(data))[1][0] == f"present  {following}"


async def test_a_certificate_in_a_file_is_announced_to_connected_clients(
    tmp_path: Path, authority: Authority
) -> None:
    data, key = tmp_path / "data", ec_key()
    async with RelayProcess(data) as relay:
        red = await (await RawClient.connect(relay.port)).log_in(Participant("red"))
        chain, _ = write_pair(tmp_path, authority.vouch(key, HOST), key)
        status, (_, line) = await run_certificate(data, "next", chain)
        told = await red.expect(m.NextCertificate)
        assert (status, line.removeprefix("next     ").replace(" ", "")) == (0, told.digest.hex())
        assert b"PRIVATE" not in (data / "tls-next.pem").read_bytes()
        await red.close()
    options = ("--tls-certificate", str(chain), "--tls-key", str(tmp_path / "key.pem"))
    async with RelayProcess(data, *options) as relay:
        assert await certificate_at(relay.port) == told.digest
    assert not (data / "tls-next.pem").exists()


async def next_log_line(relay: RelayProcess, words: str) -> str:
    """Return the next line of the relay's log that has these words."""
    assert relay.process.stderr
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line := (await relay.process.stderr.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"the log ended without: {words}")


async def certificate_at(port: int) -> bytes:
    client = await RawClient.connect(port)
    try:
        return client.certificate
    finally:
        await client.close()


async def test_sighup_reloads_the_files_and_drops_no_connection(tmp_path: Path, authority: Authority) -> None:
    own = own_files(tmp_path, authority)
    options = ("--tls-certificate", str(own.certificate), "--tls-key", str(own.key))
    async with RelayProcess(tmp_path / "data", *options) as relay:
        red = await RawClient.connect(relay.port)
        first = red.certificate
        own_files(tmp_path, authority)
        relay.process.send_signal(signal.SIGHUP)
        line = await next_log_line(relay, "certificate reloaded")
        second = await certificate_at(relay.port)
        assert second != first
        assert second.hex()[:4] in line
        own.key.write_bytes(key_pem(ec_key()))
        relay.process.send_signal(signal.SIGHUP)
        line = await next_log_line(relay, "not reloaded")
        assert "is not that of the certificate" in line
        assert await certificate_at(relay.port) == second
        assert (await red.greet()).version, "who was there before still is"
        await red.close()


async def test_sighup_changes_nothing_without_certificate_files(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data") as relay:
        first = await certificate_at(relay.port)
        relay.process.send_signal(signal.SIGHUP)
        assert "changed=False" in await next_log_line(relay, "certificate reloaded")
        assert await certificate_at(relay.port) == first


async def test_sighup_of_a_closed_terminal_stops_the_relay(tmp_path: Path) -> None:
    outer, inner = os.openpty()
    words = ("-m", "clave_server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=inner, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await process.stdout.readline()).startswith(b"listening on")
            os.close(inner)
            os.close(outer)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_check_checks_the_certificate_files(tmp_path: Path, authority: Authority) -> None:
    own, data = own_files(tmp_path, authority), tmp_path / "data"
    options = ("--tls-certificate", own.certificate, "--tls-key", own.key, "--listen", "127.0.0.1:0")
    status, lines = await run(data, "check", *options)
    (line,) = [line for line in lines if "certificate" in line.split()[:2]]
    assert (status, line.split()[0]) == (0, "ok")
    assert str(own.certificate) in line
    own.key.write_bytes(key_pem(ec_key()))
    status, lines = await run(data, "check", *options)
    assert (status, any("is not that of the certificate" in line for line in lines)) == (1, True)
    status, lines = await run(data, "check", *options[2:])
    assert (status, any("of use only with --tls-certificate" in line for line in lines)) == (1, True)
    assert not data.exists()


@pytest.mark.parametrize("given", ["by option", "by file"])
async def test_the_commands_use_the_certificate_files_of_a_stopped_relay(
    tmp_path: Path, authority: Authority, given: str
) -> None:
    own, data = own_files(tmp_path, authority), tmp_path / "data"
    options: tuple[str | Path, ...] = ("--tls-certificate", own.certificate, "--tls-key", own.key)
    async with RelayProcess(data) as relay:  # as before it had one
        former = relay.first_line.split("fingerprint ")[1].strip()
    async with RelayProcess(data, *map(str, options)) as relay:
        present = relay.first_line.split("fingerprint ")[1].strip()
    assert present != former
    if given == "by file":
        config = tmp_path / "relay.toml"
        config.write_text(f'tls-certificate = "{own.certificate}"\ntls-key = "{own.key}"\n')
        options = ("--config", config)
    assert (await run_certificate(data, *options))[1][0] == f"present  {present}"
    status, (line,) = await run_certificate(data, "next", *options)
    assert (status, "a certificate of yours: name the FILE" in line) == (1, True)
    status, (line,) = await run_certificate(data, "switch", *options)
    assert (status, f"a certificate of yours: replace {own.certificate}" in line) == (1, True)
    assert not (data / "tls-next.pem").exists()


async def test_a_stopped_relay_without_a_certificate_of_its_own_needs_the_files_named(
    tmp_path: Path, authority: Authority
) -> None:
    own, data = own_files(tmp_path, authority), tmp_path / "data"
    async with RelayProcess(data, "--tls-certificate", str(own.certificate), "--tls-key", str(own.key)):
        pass
    status, (line,) = await run_certificate(data)
    assert (status, "shows a certificate of yours: name it with --tls-certificate" in line) == (1, True)
    assert not (data / "tls.pem").exists()


@pytest.mark.parametrize("words", [(), ("next",), ("switch",)])
async def test_help_shows_an_example(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, lines = await run_certificate(tmp_path / "data", *words, "--help")
    example = " ".join(("clave-relay", "certificate", *words))
    assert (status, example in [line.strip() for line in lines]) == (0, True), lines


@pytest.mark.parametrize("option", ["--data", "--config", "--tls-certificate", "--tls-key"])
async def test_options_go_after_the_command(tmp_path: Path, option: str) -> None:
    (tmp_path / "relay.toml").touch()
    value = tmp_path / ("data" if option == "--data" else "relay.toml")
    status, lines = await run_certificate(tmp_path / "data", option, value, "next")
    assert status == 2
    assert lines[-1].endswith(f"{option} goes after the command: clave-relay certificate next {option}")
