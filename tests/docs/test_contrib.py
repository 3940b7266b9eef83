"""What contrib/ has for programs beside the relay fits the relay: its lines, its metrics, its options."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from clave_server.cli.options import OPTIONS
from relaykit import ConnectionClosed, Participant, RawClient, RelayProcess

CONTRIB = Path(__file__).parents[2] / "contrib"
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")


def failures(line: str) -> str | None:
    """Return the address that fail2ban would count a line against; it takes the date out of a line first."""
    filters = configparser.ConfigParser(interpolation=None)
    filters.read(CONTRIB / "fail2ban" / "filter.d" / "clave-relay.conf")
    expressions = filters["Definition"]["failregex"].splitlines()
    assert len(expressions) == 2
    for expression in expressions:
        found = re.search(expression.replace("<ADDR>", r"(?P<address>[0-9a-fA-F:.]+)"), DATE.sub("", line))
        if found:
            return found["address"]
    return None


def probe(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(said)
        connection.recv(1000)


async def test_fail2ban_counts_what_the_relay_logs_of_failures_and_nothing_else(tmp_path: Path) -> None:
    options = ("--registration", "closed", "--log-level", "debug")
    async with RelayProcess(tmp_path / "data", *options) as process:
        await asyncio.to_thread(probe, process.port, b"GET / HTTP/1.1\r\n\r\n")  # a look
        with pytest.raises(ConnectionClosed):
            await (await RawClient.connect(process.port)).log_in(Participant("red"))
        client = await RawClient.connect(process.port)
        await client.write(b"\xff" * 100)
        await client.closed()
        process.process.send_signal(signal.SIGTERM)
        _, log = await process.process.communicate()
    counted = [line for line in log.decode().splitlines() if failures(line)]
    assert [failures(line) for line in counted] == ["127.0.0.1", "127.0.0.1"]
    refused, broken = counted
    assert "reason=login refused: this relay takes no new names" in refused
    assert "reason=protocol error: " in broken
    assert failures(refused.replace("127.0.0.1:", "[2001:db8::7]:")) == "2001:db8::7"
    assert failures(f"host clave-relay[7]: {refused}") == "127.0.0.1"
    full = refused.partition("reason=")[0] + "reason=not let in: this relay is full"
    assert failures(full) is None
    forged = full + "  info  connection failed  address=192.0.2.7  reason=x"
    assert failures(forged) is None


def test_a_failed_handshake_is_counted() -> None:
    line = "2026-11-28T21:49:35.654+00:00  info  connection failed  address=2001:db8::7  reason=[SSL: X] x"
    assert failures(line) == "2001:db8::7"


async def test_the_dashboard_shows_metrics_that_are_served(tmp_path: Path) -> None:
    dashboard = json.loads((CONTRIB / "grafana" / "clave-relay.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = set(re.findall(r"\b(?:clave|process)_[a-z_]+", " ".join(expressions)))
    assert len(named) > 20
    async with RelayProcess(tmp_path / "data", "--metrics", ":0", "--registration", "closed") as process:
        assert process.process.stderr
        while b"metrics served" not in (line := await process.process.stderr.readline()):
            assert line
        with pytest.raises(ConnectionClosed):
            await (await RawClient.connect(process.port)).log_in(Participant("red"))
        address = line.decode().strip().rpartition("address=")[2]
        served = (await asyncio.to_thread(fetch, f"http://{address}/metrics")).decode()
    for name in named - {"clave_connections_refused_total"}:  # by reason: none was yet
        assert re.search(rf"^{name}[ {{]", served, re.MULTILINE), name
    assert "# TYPE clave_connections_refused_total counter" in served
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  (on loopback)
        body: bytes = answer.read()
    return body


def test_logrotate_is_told_of_files_and_options_that_there_are() -> None:
    text = (CONTRIB / "logrotate" / "clave-relay").read_text()
    for option, path in re.findall(r'^#   ([a-z-]+) = "(.*)"$', text, re.MULTILINE):
        assert option in OPTIONS
        assert path.startswith("/var/log/clave-relay/")
        assert path.endswith(".log")
    assert "\n/var/log/clave-relay/*.log {" in text
    service = (CONTRIB / "systemd" / "clave-relay.service").read_text()
    assert "ExecReload=/bin/kill -HUP" in service
    assert "LogsDirectory=clave-relay" in service


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="needs logrotate")
def test_logrotate_takes_its_configuration(tmp_path: Path) -> None:
    command = ["logrotate", "--debug", "--state", str(tmp_path / "state")]
    path = tmp_path / "clave-relay"
    text = (CONTRIB / "logrotate" / "clave-relay").read_text()
    path.write_text(text.replace("su clave-relay clave-relay", "").replace("/var/log", os.fspath(tmp_path)))
    path.chmod(0o644)
    checked = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0
    assert "error:" not in checked.stderr
