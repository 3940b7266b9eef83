"""Sockets passed by a service manager, and notifications to it; each in its own process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from relaykit import Participant, RawClient

TAKE = """
import os
os.dup2(int(os.environ["PASSED"]), 3)
os.environ["LISTEN_PID"] = os.environ.get("PID") or str(os.getpid())
from clave_server.net.systemd import passed_sockets
from clave_server.errors import StartError
try:
    sockets = passed_sockets()
except StartError as error:
    print(error)
else:
    print([one.getsockname()[1] for one in sockets], [os.get_inheritable(one.fileno()) for one in sockets])
    print(passed_sockets(), "LISTEN_FDS" in os.environ)
"""


def take_in_process(passed: socket.socket | None, **environment: str) -> list[str]:
    """Run a process that has `passed` as descriptor 3 and return the lines it prints."""
    descriptor = passed.fileno() if passed else os.open(os.devnull, os.O_RDONLY)
    result = subprocess.run(
        [sys.executable, "-c", TAKE],
        pass_fds=[descriptor],
        env={**os.environ, **environment, "PASSED": str(descriptor)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    if passed is None:
        os.close(descriptor)
    return result.stdout.splitlines()


def test_passed_sockets_are_taken_once_and_not_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert take_in_process(listening, LISTEN_FDS="1", LISTEN_FDNAMES="x") == [
            f"[{port}] [False]",
            "[] False",
        ]


def test_sockets_meant_for_another_process_are_ignored() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert take_in_process(listening, LISTEN_FDS="1", PID="1") == ["[] []", "[] False"]
        assert take_in_process(listening) == ["[] []", "[] False"]


def test_a_descriptor_that_is_no_listening_socket_is_refused() -> None:
    with socket.socket() as silent:
        (line,) = take_in_process(silent, LISTEN_FDS="1")
        assert "no listening TCP socket" in line
    (line,) = take_in_process(None, LISTEN_FDS="1")
    assert "of no use" in line


def test_a_unix_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "socket"))
        local.listen()
        (line,) = take_in_process(local, LISTEN_FDS="1")
        assert "no listening TCP socket" in line


RELAY = """
import os, runpy, sys
os.dup2(int(os.environ["PASSED"]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
sys.argv[1:] = ["--data", os.environ["DATA"], "--listen", "127.0.0.1:1"]
runpy.run_module("clave_server")
"""


async def test_a_relay_listens_on_a_passed_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        waiting = asyncio.ensure_future(RawClient.connect(port))  # before there is a relay
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            RELAY,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={**os.environ, "PASSED": str(listening.fileno()), "DATA": str(tmp_path / "data")},
        )
    assert process.stdout
    assert (await process.stdout.readline()).startswith(f"listening on 127.0.0.1:{port} ".encode())
    client = await (await waiting).log_in(Participant("red"))
    await client.close()
    process.terminate()
    await process.communicate()
    assert process.returncode == 0


NOTIFY = "from clave_server.net.systemd import notify; notify('READY=1')"


def test_the_service_manager_is_notified(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        for address in (str(tmp_path / "notify"), str(tmp_path / "nobody"), "relative", ""):
            environment = {**os.environ, "NOTIFY_SOCKET": address}
            subprocess.run([sys.executable, "-c", NOTIFY], env=environment, check=True, timeout=30)
        manager.setblocking(False)
        assert manager.recv(100) == b"READY=1"
        manager.setblocking(True)
