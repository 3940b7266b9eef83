"""Decorators that give commands their options, read from the command line, environment and TOML file.

Knows no relay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from clave_server.cli.options import LISTS, OPTIONS, variable_of
from clave_server.cli.parsers import FilePath, read_config
from clave_server.errors import ServerError, StartError
from clave_server.option_values import MAX_NOTE_CHARACTERS

__all__ = ["data_option", "note_option", "one_line_errors", "retention_options", "run_options", "tls_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


def run_options(command: _F) -> _F:
    """Give a command every option that a relay is started with."""
    command = _config_option(command)
    for name in reversed(OPTIONS):
        command = _option(name)(command)
    return command


def retention_options(command: _F) -> _F:
    """Give a command the options of what to retain."""
    return _option("retain-days")(_option("retain-bytes")(command))


def tls_options(command: _F) -> _F:
    """Give a command the options of the operator's own certificate."""
    return _option("tls-certificate")(_option("tls-key")(command))


def data_option(command: _F) -> _F:
    """Give a command the options by which it finds the data folder."""
    return _option("data")(_config_option(command))


def note_option(command: _F) -> _F:
    """Give a command a note that is stored with what it makes."""
    return click.option(
        "--note", default="", metavar="TEXT", callback=_check_note, help="What you want to be reminded of."
    )(command)


def one_line_errors(command: _F) -> _F:
    """Have a command print a `ServerError` as one line and end with status 1.

    The list of paths that is the context's object gets the command's data folder, for a crash report.
    """

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        context = click.get_current_context(silent=True)
        if context is not None and isinstance(context.obj, list) and "data" in options:
            context.obj.append(options["data"])
        try:
            return command(*arguments, **options)
        except ServerError as error:
            raise _one_line(error) from None

    return wrapped  # type: ignore[return-value]  # wraps keeps the signature


def _option(name: str) -> Callable[[_F], _F]:
    return click.option(f"--{name}", envvar=variable_of(name), **OPTIONS[name])


def _load_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is not None:
        try:
            settings = read_config(path, OPTIONS, LISTS)
        except StartError as error:
            raise _one_line(error) from None
        context.default_map = {key.replace("-", "_"): value for key, value in settings.items()}


_config_option: Final = click.option(
    "--config",
    envvar=variable_of("config"),
    type=FilePath(),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help="A TOML file with any of the relay's options.",
)


def _check_note(_context: click.Context, _parameter: click.Parameter, note: str) -> str:
    try:
        note.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is not text in UTF-8") from None
    if len(note) > MAX_NOTE_CHARACTERS:
        raise click.BadParameter(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
    return note


def _one_line(error: ServerError) -> click.ClickException:
    """Return an error for click to print; it may quote a file or the answer of another process."""
    from clave_wire.text import sanitize

    return click.ClickException(sanitize(str(error)))
