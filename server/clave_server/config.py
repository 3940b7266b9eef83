"""The relay's settings as people write them: an address, a TOML file, a token's file. Knows no defaults."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path

from clave_server.errors import StartError
from clave_wire.limits import MAX_NAME_BYTES

__all__ = ["parse_listen", "parse_plain", "parse_proxies", "read_config", "read_token"]


def parse_listen(text: str) -> tuple[str | None, int]:
    """Split `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (every address). Raises `StartError`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise StartError(f"cannot listen on {text!r}: write HOST:PORT, e.g. 0.0.0.0:7878 or [::]:7878")
    return host or None, int(port)


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


def parse_proxies(texts: Iterable[str]) -> frozenset[str]:
    """Read the IP addresses of proxies. Raises `StartError`."""
    try:
        return frozenset(str(ipaddress.ip_address(text)) for text in texts)
    except ValueError as error:
        raise StartError(f"--proxy takes an IP address: {error}") from None


def read_config(path: Path, known: Collection[str]) -> dict[str, str]:
    """Read a TOML file of `option = text or number`. Raises `StartError` for anything else in it."""
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as error:
        raise StartError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartError(f"the configuration {path} is not TOML: {error}") from None
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise StartError(
            f"the configuration {path} has unknown keys: {', '.join(unknown)}; known are {', '.join(known)}"
        )
    for key, value in settings.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise StartError(f"the configuration {path} must give {key} as text or as a whole number")
    return {key: str(value) for key, value in settings.items()}


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
