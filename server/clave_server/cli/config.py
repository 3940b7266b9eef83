"""The relay's settings as people write them: options, an address, a TOML file, a token's file.

Knows no defaults.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from clave_server.accounts.directory import RegistrationMode
from clave_server.accounts.registration import RegistrationPolicy
from clave_server.errors import StartError
from clave_server.limits.quotas import Quota
from clave_server.net.tls import TlsFiles
from clave_server.observe.logging_setup import LogFormat, LogLevel
from clave_server.observe.mirror import MirrorMode
from clave_server.relay.relay import Settings
from clave_server.rooms.retention import RetentionPolicy
from clave_wire.limits import MAX_NAME_BYTES

__all__ = [
    "Options",
    "pair_files",
    "parse_listen",
    "parse_metrics",
    "parse_plain",
    "parse_proxies",
    "read_config",
    "read_token",
    "write_address",
]


@dataclass(frozen=True)
class Options:
    """Everything a relay was started with, under the options' names."""

    listen: str
    plain: str | None
    proxy: tuple[str, ...]
    data: Path
    registration: str
    registration_token_file: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    new_names_per_hour: int
    max_clients: int
    max_clients_per_ip: int
    address_rate: int
    account_rate: int
    account_rooms: int
    account_bytes: int
    retain_days: int
    retain_bytes: int
    mirror: str
    metrics: str | None
    log_level: str
    log_format: str

    @property
    def mirror_mode(self) -> MirrorMode:
        """How the mirror shows entries."""
        return MirrorMode(self.mirror)

    @property
    def logging(self) -> tuple[LogLevel, LogFormat]:
        """What the log holds, and how."""
        return LogLevel(self.log_level), LogFormat(self.log_format)

    @property
    def probes(self) -> tuple[str, int] | None:
        """Where metrics are served, if they are. Raises `StartError`."""
        return parse_metrics(self.metrics) if self.metrics else None

    @property
    def tls(self) -> TlsFiles | None:
        """The operator's own certificate and key, if given. Raises `StartError`."""
        return pair_files(self.tls_certificate, self.tls_key)

    def settings(self) -> Settings:
        """Return what the relay itself needs. Raises `StartError`."""
        host, port = parse_listen(self.listen)
        return Settings(
            host=host,
            port=port,
            admission=self._admission(),
            max_clients=self.max_clients,
            max_clients_per_ip=self.max_clients_per_ip,
            plain=parse_plain(self.plain) if self.plain else None,
            proxies=parse_proxies(self.proxy),
            tls=self.tls,
            address_rate=self.address_rate,
            account_rate=self.account_rate,
            quota=Quota(self.account_rooms, self.account_bytes),
            policy=RetentionPolicy(self.retain_days, self.retain_bytes),
        )

    def _admission(self) -> RegistrationPolicy:
        mode, file = RegistrationMode(self.registration), self.registration_token_file
        if file is not None and mode is not RegistrationMode.TOKEN:
            raise StartError("--registration-token-file is of use only with --registration token")
        token = read_token(file) if file else ""
        return RegistrationPolicy(
            mode, token, self.new_names_per_hour if mode is RegistrationMode.OPEN else None
        )


def pair_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Return the operator's own certificate and key, maybe in one file, or None. Raises `StartError`."""
    if certificate is None:
        if key is not None:
            raise StartError("--tls-key is of use only with --tls-certificate")
        return None
    return TlsFiles(certificate, key or certificate)


def parse_listen(text: str) -> tuple[str | None, int]:
    """Split `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (every address). Raises `StartError`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise StartError(f"cannot listen on {text!r}: write HOST:PORT, e.g. 0.0.0.0:7878 or [::]:7878")
    try:
        host.encode("idna")
    except UnicodeError:
        raise StartError(f"cannot listen on {text!r}: {host!r} cannot be the name of a host") from None
    return host or None, int(port)


def write_address(host: str, port: int) -> str:
    """Spell an address as `parse_listen` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_plain(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`, HOST being a loopback address. Raises `StartError`."""
    host, port = parse_listen(text)
    try:
        loopback = ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        loopback = False
    if host is None or not loopback:
        raise StartError(
            f"cannot listen without TLS on {text!r}: only a loopback address, e.g. 127.0.0.1:7879"
        )
    return host, port


def parse_metrics(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `:PORT` (loopback): numbers are for everybody only who asks for that."""
    host, port = parse_listen(text)
    return host or "127.0.0.1", port


def parse_proxies(texts: Iterable[str]) -> frozenset[str]:
    """Read the IP addresses of proxies. Raises `StartError`."""
    try:
        return frozenset(str(ipaddress.ip_address(text)) for text in texts)
    except ValueError as error:
        raise StartError(f"--proxy takes an IP address: {error}") from None


def read_config(
    path: Path, known: Collection[str], lists: Collection[str] = ()
) -> dict[str, str | list[str]]:
    """Read a TOML file of `option = text or number`, where `lists` take a list too.

    Raises `StartError` for anything else in it.
    """
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as error:
        raise StartError(f"cannot read the configuration {path}: {error.strerror}") from None
    except RecursionError:
        raise StartError(f"the configuration {path} nests too deeply") from None
    except ValueError as error:  # not TOML, not text, or a number of thousands of digits
        raise StartError(f"the configuration {path} is not TOML: {error}") from None
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise StartError(
            f"the configuration {path} has unknown keys: {', '.join(unknown)}; known are {', '.join(known)}"
        )
    read: dict[str, str | list[str]] = {}
    for key, value in settings.items():
        values = value if isinstance(value, list) and key in lists else [value]
        if not all(map(_is_setting, values)):
            raise StartError(f"the configuration {path} must give {key} as text or as a whole number")
        texts = list(map(str, values))
        read[key] = texts if key in lists else texts[0]
    return read


def _is_setting(value: object) -> bool:
    """Whether it is text or a whole number; one beyond 64 bits is no setting, and may have no digits."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() <= 64
    return isinstance(value, str)


def read_token(path: Path) -> str:
    """Read the registration token, the file's only line. Raises `StartError`."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StartError(f"cannot read the registration token in {path}: {reason}") from None
    if not token or "\n" in token or len(token) > MAX_NAME_BYTES:
        raise StartError(f"{path} must hold one registration token of 1 to {MAX_NAME_BYTES} characters")
    return token
