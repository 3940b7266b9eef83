"""What `clave-relay check` finds; it changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import pwd
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from clave_server.cli import check
from clave_server.cli.check import Finding, Verdict
from clave_server.cli.decorators import run_options
from clave_server.cli.options import Options
from commandkit import make_folder, names, refused, run
from relaykit import Participant, RawClient, RelayProcess


def findings(result: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    lines = (line.split(maxsplit=2) for line in result.stdout.splitlines())
    return {matter: (verdict, text) for verdict, matter, text in lines}


def test_check_before_the_first_start_creates_nothing(data: Path) -> None:
    result = run(data, "check", "--listen", "127.0.0.1:0", "--metrics", ":0")
    found = findings(result)
    assert result.returncode == 0
    assert found["data"] == ("ok", f"{data}, made at the first start")
    assert found["metrics"] == ("ok", "127.0.0.1, port any")
    assert {verdict for subject, (verdict, _) in found.items() if subject != "space"} == {"ok"}
    assert list(data.parent.iterdir()) == []


@pytest.mark.parametrize(("systemd", "verdict"), [(True, Verdict.WARNING), (False, Verdict.ERROR)])
def test_a_port_in_use_is_a_warning_where_systemd_runs_and_else_an_error(
    data: Path, monkeypatch: pytest.MonkeyPatch, systemd: bool, verdict: Verdict
) -> None:
    monkeypatch.setattr(check, "SYSTEMD", data.parent if systemd else data)
    with socket.create_server(("127.0.0.1", 0)) as unit, socket.create_server(("127.0.0.1", 0)) as other:
        taken, probes = (f"127.0.0.1:{one.getsockname()[1]}" for one in (unit, other))
        options = run_options(click.command()(lambda **_: None)).make_context("check", []).params
        wanted = Options(**{**options, "data": data, "listen": taken, "metrics": probes})
        found = {finding.subject: finding for finding in check.check(wanted, {}, ())}
    assert found["listen"].verdict is verdict
    assert ("socket unit" in found["listen"].text) is systemd
    assert found["metrics"].verdict is Verdict.ERROR


def test_a_folder_that_this_user_cannot_look_up_is_named_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, stat, access = tmp_path / "closed", os.stat, os.access
    closed.mkdir()
    log = closed / "relay.log"

    def refuse(path: str | Path, *arguments: Any, **options: Any) -> os.stat_result:
        if closed in Path(os.fspath(path)).parents:
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    options = run_options(click.command()(lambda **_: None)).make_context("check", []).params
    changed = {"data": closed / "data", "listen": "127.0.0.1:0", "log_file": log, "registration": "token"}
    found = {finding.subject: finding for finding in check.check(Options(**{**options, **changed}), {}, ())}
    owner = pwd.getpwuid(stat(closed).st_uid).pw_name
    assert found["data"] == (
        Verdict.ERROR,
        "data",
        f"{closed}/data cannot be read by user 4000000: {closed}, of {owner}, is closed to them;"
        " run this as the relay's user",
    )
    assert found["space"].verdict is Verdict.OK
    assert found["log-file"].verdict is Verdict.ERROR


def test_check_creates_nothing_in_a_data_folder(data: Path) -> None:
    data.mkdir(mode=0o700)
    assert findings(run(data, "check", "--listen", "127.0.0.1:0"))["data"] == ("ok", str(data))
    assert names(data) == set()


async def test_check_works_beside_a_running_relay(data: Path) -> None:
    async with RelayProcess(data) as process:
        result = await asyncio.to_thread(run, data, "check", "--listen", f"127.0.0.1:{process.port}")
        found = findings(result)
        assert result.returncode == 0
        assert "a relay is running on it" in found["data"][1]
        assert process.first_line.split("fingerprint")[1].strip() in found["certificate"][1]
        assert found["listen"] == ("ok", f"the running relay has 127.0.0.1:{process.port}; not tried")
        other = await asyncio.to_thread(
            run, data.parent / "other", "check", "--metrics", f"127.0.0.1:{process.port}"
        )
        assert findings(other)["metrics"][0] == "error"
        assert other.returncode == 1


def test_check_finds_the_errors_that_a_start_would(data: Path, tmp_path: Path) -> None:
    def wrong(matter: str, *arguments: str | Path, environment: dict[str, str] | None = None) -> str:
        result = run(data, "check", "--listen", "127.0.0.1:0", *arguments, environment=environment)
        verdict, text = findings(result)[matter]
        assert (verdict, result.returncode, result.stderr) == ("error", 1, "")
        return text

    assert "HOST:PORT" in wrong("options", "--listen", "nonsense")
    assert "--registration token" in wrong("options", "--registration-token-file", tmp_path / "none")
    assert "cannot read" in wrong(
        "options", "--registration", "token", "--registration-token-file", tmp_path / "none"
    )
    assert "CLAVE_RELAY_LISTNE" in wrong("environment", environment={"CLAVE_RELAY_LISTNE": ":1"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in wrong("metrics", "--metrics", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "cannot write to" in wrong("mirror-file", "--mirror-file", tmp_path / "none" / "mirror")
    assert "is a folder" in wrong("log-file", "--log-file", tmp_path)
    good = findings(run(data, "check", "--listen", "127.0.0.1:0", "--log-file", tmp_path / "log"))
    assert good["log-file"] == ("ok", str(tmp_path / "log"))
    assert not (tmp_path / "log").exists()
    data.mkdir(mode=0o755)
    assert "chmod 700" in wrong("data")
    data.chmod(0o700)
    (data / "tls.pem").touch(mode=0o600)
    assert "tls.pem" in wrong("certificate")
    (data / "tls.pem").unlink()
    (data / "tls-next.pem").touch(mode=0o600)
    assert "tls-next.pem" in wrong("certificate")
    (data / "tls-next.pem").unlink()
    (data / "relay.db").write_bytes(b"not a database at all" * 1000)
    assert "damaged" in wrong("database")
    (data / "relay.db").unlink()
    connection = sqlite3.connect(data / "relay.db")
    connection.execute("PRAGMA application_id = 0x636C7672")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer" in wrong("database")


def test_check_counts_tokens_and_migrations_and_migrates_nothing(data: Path) -> None:
    alone = findings(run(data, "check", "--registration", "token"))
    assert alone["registration"][0] == "warning"
    make_folder(data)
    assert findings(run(data, "check", "--registration", "token"))["registration"][0] == "warning"
    assert run(data, "token", "make").returncode == 0
    counted = findings(run(data, "check", "--registration", "token"))
    assert counted["registration"] == ("ok", "token, 1 of use")
    connection = sqlite3.connect(data / "relay.db")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version - 1}")
    assert "migrated by 1" in findings(run(data, "check"))["database"][1]
    assert connection.execute("PRAGMA user_version").fetchone() == (version - 1,)
    connection.close()


# --- space, ports, identity ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "inodes", "verdict", "words"),
    [
        (0, 9, Verdict.ERROR, "none is free"),
        (10, 0, Verdict.ERROR, "none is free"),
        (99, 9, Verdict.WARNING, "99.0 MiB are free"),
        (100, 9, Verdict.OK, "100.0 MiB free"),
    ],
)
def test_a_full_disk_is_an_error_and_a_nearly_full_one_a_warning(
    data: Path, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, verdict: Verdict, words: str
) -> None:
    asked: list[Path] = []

    def statvfs(path: Path) -> os.statvfs_result:
        asked.append(path)
        block = 1024 * 1024
        return os.statvfs_result((block, block, 1000, free, free, 1000, inodes, inodes, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)
    found = {finding.subject: finding for finding in check.check(options(data), {}, ())}
    assert found["space"].verdict is verdict
    assert words in found["space"].text
    assert asked == [data.parent]


def options(data: Path) -> Options:
    given = run_options(click.command()(lambda **_: None)).make_context("check", []).params
    return Options(**{**given, "data": data, "listen": "127.0.0.1:0"})


@pytest.mark.parametrize("systemd", [True, False])
async def test_the_port_of_the_relay_that_runs_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch, systemd: bool
) -> None:
    monkeypatch.setattr(check, "SYSTEMD", data.parent if systemd else data.parent / "none")

    async def found(listen: str) -> Finding:
        given = dataclasses.replace(options(data), listen=listen)
        findings = await asyncio.to_thread(lambda: list(check.check(given, {}, ())))
        (of_port,) = (finding for finding in findings if finding.subject == "listen")
        return of_port

    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    async with RelayProcess(data) as process:
        present = f"the running relay has 127.0.0.1:{process.port}"
        assert await found("127.0.0.1:0") == (Verdict.OK, "listen", f"{present}; not tried")
        unlike = await found(f"127.0.0.1:{free}")
        assert unlike.verdict is Verdict.WARNING
        assert unlike.text.startswith(present)
        assert f"port {free}" in unlike.text
        assert ("socket unit" in unlike.text) is systemd
        with socket.create_server(("127.0.0.1", 0)) as taken:
            unlike = await found(f"127.0.0.1:{taken.getsockname()[1]}")
        assert unlike.verdict is (Verdict.WARNING if systemd else Verdict.ERROR)
        assert unlike.text.startswith(present)
        assert ("already in use" in unlike.text) is not systemd


async def test_a_certificate_missing_beside_accounts_is_refused_until_it_is_meant(data: Path) -> None:
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        await client.close()
        process.process.terminate()
        await process.process.wait()
    former = (data / "tls.pem").read_bytes()
    (data / "tls.pem").unlink()
    result = await asyncio.to_thread(run, data, "check", "--listen", "127.0.0.1:0")
    verdict, text = findings(result)["certificate"]
    assert (verdict, result.returncode) == ("error", 1)
    for words in ("tls.pem is missing", "from a backup", "--new-identity"):
        assert words in text
    refused(
        await asyncio.to_thread(run, data, "--listen", "127.0.0.1:0"), "tls.pem is missing", "--new-identity"
    )
    assert not (data / "tls.pem").exists()
    async with RelayProcess(data, "--new-identity"):
        assert (data / "tls.pem").read_bytes() != former


async def test_a_relay_that_nobody_knows_makes_its_certificate(data: Path) -> None:
    make_folder(data)
    (data / "tls.pem").unlink()
    async with RelayProcess(data):
        assert (data / "tls.pem").exists()


def test_new_identity_goes_with_no_command(data: Path) -> None:
    command = [sys.executable, "-m", "clave_server", "--new-identity", "status", "--data", str(data)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert "--new-identity is of a start" in result.stderr
