"""A relay that is out of file descriptors: its operator still gets through, and it recovers by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from clave_server.net import listener
from commandkit import limited, said
from relaykit import PATIENCE_SECONDS, Participant, RawClient, RelayUnderTest

LIMIT = 90


async def test_the_operator_gets_through_when_connections_have_all_descriptors(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = await asyncio.create_subprocess_exec(
        *limited("RLIMIT_NOFILE", LIMIT, "-m", "clave_server", "--listen", "127.0.0.1:0"),
        *("--data", str(data), "--address-rate", "0", "--metrics", ":0", "--log-level", "warning"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    port = int((await process.stdout.readline()).split()[2].rpartition(b":")[2])
    flood = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * LIMIT)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        first = await process.stderr.readline()
    assert b"connections wait to be accepted" in first
    assert b"limit=90" in first
    assert "people" in await said(data, "status")
    assert "127.0.0.0/30 is banned" in await said(data, "ban", "127.0.0.0/30")
    await said(data, "unban", "127.0.0.0/30")
    for connection in flood:
        connection.close()
    client = await (await RawClient.connect(port)).log_in(Participant("red"))
    await client.close()
    process.send_signal(signal.SIGTERM)
    _, rest = await process.communicate()
    assert rest == b""


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOBUFS, errno.EMFILE, errno.ENFILE])
async def test_what_keeps_connections_waiting_is_named(relay: RelayUnderTest, number: int) -> None:
    with capture_logs() as logs:
        relay.relay.listener._wait(OSError(number, os.strerror(number)))
    (entry,) = logs
    assert entry["reason"] == os.strerror(number)
    assert ("open files" in entry["event"]) is (number in {errno.EMFILE, errno.ENFILE})
    await relay.join("red")  # when it tries again


async def test_connections_are_accepted_where_no_file_can_be_opened(
    relay: RelayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "devnull", "/nonexistent/null")
    await relay.join("red")


@pytest.mark.parametrize(
    ("number", "short"), [(errno.EMFILE, True), (errno.ENFILE, True), (errno.EBADF, False)]
)
def test_only_a_lack_of_descriptors_is_a_shortage(
    monkeypatch: pytest.MonkeyPatch, number: int, short: bool
) -> None:
    def fail(_: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "dup", fail)
    assert listener._is_short_of_descriptors(0) is short
