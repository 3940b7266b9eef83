"""Parsers of option values: paths, addresses, a TOML file, a token file. Knows no option by name.

What a parser needs is imported there, so that `--help` need not wait for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clave_server.errors import StartError
from clave_wire.limits import MAX_NAME_BYTES

if TYPE_CHECKING:
    from clave_server.net.tls import TlsFiles

__all__ = [
    "FilePath",
    "pair_files",
    "parse_listen",
    "parse_metrics",
    "parse_plain",
    "parse_proxies",
    "read_config",
    "read_token",
]


class FilePath(click.Path):
    """A path of a file that exists or could be made."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Refuse a path that no system can look up."""
        try:
            os.fspath(value).encode()  # as SQLite takes it
            os.lstat(value)
        except UnicodeEncodeError:
            self.fail("the path is not text in UTF-8", parameter, context)
        except ValueError:
            self.fail("a path cannot hold the character NUL", parameter, context)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                self.fail("the path is longer than any can be", parameter, context)
        return super().convert(value, parameter, context)


def pair_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Return the operator's certificate and key, None for none; without `key`, one file has both.

    Raises `StartError`.
    """
    if certificate is None:
        if key is not None:
            raise StartError("--tls-key is of use only with --tls-certificate")
        return None
    from clave_server.net.tls import TlsFiles

    return TlsFiles(certificate, key or certificate)


def parse_listen(text: str) -> tuple[str | None, int]:
    """Split `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (None: every address). Raises `StartError`."""
    from clave_host.addresses import split_address

    try:
        host, port = split_address(text)
    except ValueError:
        raise StartError(
            f"cannot listen on {text!r}: write HOST:PORT, e.g. 0.0.0.0:7878 or [::]:7878"
        ) from None
    try:
        host.encode("idna")
    except UnicodeError:
        raise StartError(f"cannot listen on {text!r}: {host!r} cannot be the name of a host") from None
    return host or None, port


def parse_plain(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`, where HOST is a loopback address. Raises `StartError`."""
    import ipaddress

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
    """Split `HOST:PORT` or `:PORT`, which is on loopback. Raises `StartError`."""
    host, port = parse_listen(text)
    return host or "127.0.0.1", port


def parse_proxies(texts: Iterable[str]) -> frozenset[str]:
    """Read the IP addresses of proxies. Raises `StartError`."""
    import ipaddress

    try:
        return frozenset(str(ipaddress.ip_address(text)) for text in texts)
    except ValueError as error:
        raise StartError(f"--proxy takes an IP address: {error}") from None


def read_config(
    path: Path, known: Collection[str], lists: Collection[str] = ()
) -> dict[str, str | list[str]]:
    """Read a TOML file of `option = text or number`; options in `lists` take a list too.

    `known` are the names of all options. Raises `StartError`.
    """
    import tomllib

    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StartError(f"cannot read the configuration {path}: {error.strerror}") from None
    except RecursionError:
        raise StartError(f"the configuration {path} nests too deeply") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
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
    """Return whether `value` is text or an integer of at most 64 bits; longer ones `str` may refuse."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() <= 64
    return isinstance(value, str)


def read_token(path: Path) -> str:
    """Return the registration token, the file's only line. Raises `StartError`."""
    try:
        token = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StartError(f"cannot read the registration token in {path}: {reason}") from None
    if not token or "\n" in token or len(token) > MAX_NAME_BYTES:
        raise StartError(f"{path} must hold one registration token of 1 to {MAX_NAME_BYTES} characters")
    return token
