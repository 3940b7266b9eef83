"""What `clave-relay check` finds; it changes nothing."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
from pathlib import Path

import click
import pytest

from clave_server.cli import check
from clave_server.cli.check import Verdict
from clave_server.cli.decorators import run_options
from clave_server.cli.options import Options
from commandkit import make_folder, names, run
from relaykit import RelayProcess


def findings(result: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    lines = (line.split(maxsplit=2) for line in result.stdout.splitlines())
    return {matter: (verdict, text) for verdict, matter, text in lines}


def test_check_before_the_first_start_creates_nothing(data: Path) -> None:
    result = run(data, "check", "--listen", "127.0.0.1:0", "--metrics", ":0")
    found = findings(result)
    assert result.returncode == 0
    assert found["data"] == ("ok", f"{data}, made at the first start")
    assert found["metrics"] == ("ok", "127.0.0.1, port any")
    assert {verdict for verdict, _ in found.values()} == {"ok"}
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
        assert "not tried" in found["listen"][1]
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
