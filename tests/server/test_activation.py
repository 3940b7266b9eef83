"""Sockets passed by a service manager, and what it is told; each in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

TAKE = """
import os
os.dup2(int(os.environ["PASSED"]), 3)
os.environ["LISTEN_PID"] = os.environ.get("PID") or str(os.getpid())
from clave_server.activation import passed_sockets
from clave_server.errors import StartError
try:
    sockets = passed_sockets()
except StartError as error:
    print(error)
else:
    print([one.getsockname()[1] for one in sockets], [os.get_inheritable(one.fileno()) for one in sockets])
    print(passed_sockets(), "LISTEN_FDS" in os.environ)
"""


def take(passed: socket.socket | None, **environment: str) -> list[str]:
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


def test_sockets_are_taken_once_and_not_passed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert take(listening, LISTEN_FDS="1", LISTEN_FDNAMES="x") == [f"[{port}] [False]", "[] False"]


def test_what_is_meant_for_another_process_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert take(listening, LISTEN_FDS="1", PID="1") == ["[] []", "[] False"]
        assert take(listening) == ["[] []", "[] False"]


def test_what_does_not_listen_is_refused() -> None:
    with socket.socket() as silent:
        (line,) = take(silent, LISTEN_FDS="1")
        assert "no listening stream socket" in line
    (line,) = take(None, LISTEN_FDS="1")
    assert "of no use" in line


NOTIFY = "from clave_server.activation import notify; notify('READY=1')"


def test_the_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        for address in (str(tmp_path / "notify"), str(tmp_path / "nobody"), "relative", ""):
            environment = {**os.environ, "NOTIFY_SOCKET": address}
            subprocess.run([sys.executable, "-c", NOTIFY], env=environment, check=True, timeout=30)
        manager.setblocking(False)
        assert manager.recv(100) == b"READY=1"
        manager.setblocking(True)
