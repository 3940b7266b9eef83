"""The relay's options as they are given: on the command line, by environment, in a file. Knows no relay."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import platformdirs

from clave_server.accounts.directory import RegistrationMode
from clave_server.admin.requests import MAX_COUNT, MAX_DAYS, MAX_NOTE_CHARACTERS
from clave_server.cli.config import read_config
from clave_server.errors import ServerError, StartError
from clave_server.observe.logging_setup import LogFormat, LogLevel
from clave_server.observe.mirror import MirrorMode
from clave_wire.text import sanitize

__all__ = [
    "VARIABLES",
    "FilePath",
    "data_option",
    "default_data",
    "note_option",
    "one_line_errors",
    "retention_options",
    "run_options",
    "tls_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])


class FilePath(click.Path):
    """The path of something that is there or could be."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Refuse what no system can look up."""
        try:
            os.lstat(value)
        except ValueError:
            self.fail("a path cannot hold the character NUL", parameter, context)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                self.fail("the path is longer than any can be", parameter, context)
        return super().convert(value, parameter, context)


def default_data() -> Path:
    """Where a relay's data lies unless somebody says otherwise."""
    return Path(platformdirs.user_data_dir("clave-relay", appauthor=False))


def _option(name: str, **attributes: Any) -> Callable[[_F], _F]:
    return click.option(name, envvar=_variable(name.removeprefix("--")), **attributes)


def _variable(name: str) -> str:
    return "CLAVE_RELAY_" + name.replace("-", "_").upper()


_DATA: Final = _option(
    "--data",
    type=FilePath(),
    metavar="DIR",
    default=default_data,
    show_default="per user",
    help="Where the relay keeps its key, names and encrypted entries.",
)

_RUN: Final = {
    "listen": _option(
        "--listen",
        default=":7878",
        show_default=True,
        metavar="HOST:PORT",
        help="Where to listen, if systemd passes no sockets; no host means every address, port 0 any port.",
    ),
    "plain": _option(
        "--plain",
        metavar="HOST:PORT",
        help="Also listen without TLS, on loopback, for a proxy that ends it.",
    ),
    "proxy": _option(
        "--proxy",
        multiple=True,
        metavar="ADDRESS",
        help="A proxy that says whom it speaks for (PROXY protocol, version 2).",
    ),
    "data": _DATA,
    "tls-certificate": _option(
        "--tls-certificate",
        type=FilePath(),
        metavar="FILE",
        help="Show this certificate chain (PEM), not one the relay made; SIGHUP reads it again.",
    ),
    "tls-key": _option(
        "--tls-key",
        type=FilePath(),
        metavar="FILE",
        help="Its private key (PEM), if that is in a file of its own.",
    ),
    "registration": _option(
        "--registration",
        type=click.Choice([mode.value for mode in RegistrationMode]),
        default="open",
        show_default=True,
        help="Who may register a new name; `clave-relay token make` makes tokens.",
    ),
    "registration-token-file": _option(
        "--registration-token-file",
        type=FilePath(),
        metavar="FILE",
        help="A file with one more token that --registration token takes, any number of times.",
    ),
    "new-names-per-hour": _option(
        "--new-names-per-hour",
        type=click.IntRange(1, MAX_COUNT),
        default=60,
        show_default=True,
        help="Names that one address may register in an hour while registration is open.",
    ),
    "max-clients": _option(
        "--max-clients",
        type=click.IntRange(1, MAX_COUNT),
        default=10_000,
        show_default=True,
        help="Connections at a time.",
    ),
    "max-clients-per-ip": _option(
        "--max-clients-per-ip",
        type=click.IntRange(1, MAX_COUNT),
        default=500,
        show_default=True,
        help="Connections at a time from one address, or /64 of IPv6.",
    ),
    "address-rate": _option(
        "--address-rate",
        type=click.IntRange(0, MAX_COUNT),
        default=20,
        show_default=True,
        help="Connections per second from one address, ten times that at once; 0 for any number.",
    ),
    "account-rate": _option(
        "--account-rate",
        type=click.IntRange(0, MAX_COUNT),
        default=100,
        show_default=True,
        help="Requests per second of one account, ten times that at once; 0 for any number.",
    ),
    "account-rooms": _option(
        "--account-rooms",
        type=click.IntRange(0, MAX_COUNT),
        default=1000,
        show_default=True,
        help="Rooms one account may make; 0 for any number.",
    ),
    "account-bytes": _option(
        "--account-bytes",
        type=click.IntRange(0, MAX_COUNT),
        default=2**30,
        show_default=True,
        help="Bytes of one account's entries kept and welcomes waiting; 0 for any number.",
    ),
    "retain-days": _option(
        "--retain-days",
        type=click.IntRange(0, MAX_DAYS),
        default=0,
        show_default=True,
        help="Delete entries older than this; 0 keeps them for ever.",
    ),
    "retain-bytes": _option(
        "--retain-bytes",
        type=click.IntRange(0, MAX_COUNT),
        default=0,
        show_default=True,
        help="Delete a room's oldest entries beyond so many bytes; 0 keeps them all.",
    ),
    "mirror": _option(
        "--mirror",
        type=click.Choice([mode.value for mode in MirrorMode]),
        default="short",
        show_default=True,
        help="How to show each entry on standard output.",
    ),
    "metrics": _option(
        "--metrics",
        metavar="HOST:PORT",
        help="Serve /metrics, /healthz and /readyz there over plain HTTP; no host means 127.0.0.1.",
    ),
    "log-level": _option(
        "--log-level",
        type=click.Choice([level.value for level in LogLevel]),
        default="info",
        show_default=True,
        help="What the log on standard error leaves out: everything below this.",
    ),
    "log-format": _option(
        "--log-format",
        type=click.Choice([form.value for form in LogFormat]),
        default="text",
        show_default=True,
        help="How a line of that log is written.",
    ),
}

_LISTS: Final = frozenset({"proxy"})


VARIABLES: Final = frozenset(map(_variable, ("config", *_RUN)))
"""Every variable of the environment that sets an option."""


def _load_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is not None:
        try:
            settings = read_config(path, _RUN, _LISTS)
        except StartError as error:
            raise _one_line(error) from None
        context.default_map = {key.replace("-", "_"): value for key, value in settings.items()}


_CONFIG: Final = _option(
    "--config",
    type=FilePath(),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help="A TOML file with any of the relay's options.",
)


def run_options(command: _F) -> _F:
    """Give a command every option that a relay runs with."""
    for option in (_CONFIG, *reversed(_RUN.values())):
        command = option(command)
    return command


def retention_options(command: _F) -> _F:
    """Give a command the options that say how much is kept."""
    return _RUN["retain-days"](_RUN["retain-bytes"](command))


def tls_options(command: _F) -> _F:
    """Give a command the options that say which certificate of the operator's is shown."""
    return _RUN["tls-certificate"](_RUN["tls-key"](command))


def data_option(command: _F) -> _F:
    """Give a command what it needs to find a relay's data folder."""
    return _DATA(_CONFIG(command))


def note_option(command: _F) -> _F:
    """Give a command a note that the operator keeps with what it makes."""
    return click.option(
        "--note", default="", metavar="TEXT", callback=_check_note, help="What you want to be reminded of."
    )(command)


def _check_note(_context: click.Context, _parameter: click.Parameter, note: str) -> str:
    try:
        note.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is not text in UTF-8") from None
    if len(note) > MAX_NOTE_CHARACTERS:
        raise click.BadParameter(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
    return note


def one_line_errors(command: _F) -> _F:
    """Have a command say what went wrong in one line and end with status 1."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except ServerError as error:
            raise _one_line(error) from None

    return wrapped  # type: ignore[return-value]  # wraps keeps the signature


def _one_line(error: ServerError) -> click.ClickException:
    """Show an error that may quote what is in a file, or what somebody else answered."""
    return click.ClickException(sanitize(str(error)))
