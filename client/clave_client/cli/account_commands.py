"""The subcommands of `clave` that look after an account: its passphrase, backups, state. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from clave_client.cli.exit_status import exits
from clave_client.cli.profile_options import ProfileOptions, first_line, profile_options
from clave_client.errors import PassphraseNeeded, UsageError, WrongPassphrase

__all__ = ["ALL"]

_TRIES = 3

_new_passphrase = click.option(
    "--new-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read the new passphrase from this file's first line.",
)


@click.group(
    epilog="Example: clave passphrase set --name red    or: clave passphrase change",
)
def passphrase() -> None:
    """Set, change or remove the passphrase that protects a profile on this disk."""


@passphrase.command("set", epilog="Example: clave passphrase set --name red")
@profile_options
@_new_passphrase
def set_passphrase(options: ProfileOptions, new_passphrase_file: Path | None) -> None:
    """Protect a profile that has no passphrase."""
    with exits():
        profile = options.profile()
        if profile.has_passphrase:
            raise click.UsageError("it has a passphrase; run: clave passphrase change")
        profile.change_passphrase(_new(new_passphrase_file))
    click.echo("the passphrase is set; copies of the profile made before still open without it")


@passphrase.command("change", epilog="Example: clave passphrase change --name red")
@profile_options
@_new_passphrase
def change_passphrase(options: ProfileOptions, new_passphrase_file: Path | None) -> None:
    """Replace a profile's passphrase by another."""
    _rewrap(options, lambda: _new(new_passphrase_file))
    click.echo("the passphrase is changed; copies of the profile made before still open with the former one")


@passphrase.command("remove", epilog="Example: clave passphrase remove --name red")
@profile_options
def remove_passphrase(options: ProfileOptions) -> None:
    """Have a profile open without a passphrase, by whoever can read its folder."""
    _rewrap(options, None)
    click.echo("the passphrase is removed; whoever can read the profile's folder can open it")


def _rewrap(options: ProfileOptions, make_new: Callable[[], Callable[[], str]] | None) -> None:
    """Change the passphrase of a profile that has one; the present one may be typed wrong twice."""
    with exits():
        profile = options.profile()
        if not profile.has_passphrase:
            raise click.UsageError("it has no passphrase; run: clave passphrase set")
        new = None if make_new is None else make_new()
        tries = _TRIES if options.passphrase_file is None else 1
        while True:
            try:
                profile.change_passphrase(new)
            except PassphraseNeeded:
                raise
            except WrongPassphrase:
                tries -= 1
                if not tries:
                    raise
            else:
                return


def _new(file: Path | None) -> Callable[[], str]:
    """Return what gets a new passphrase: from a file, or asked for twice. Raises `UsageError`."""
    if file is not None:
        return lambda: first_line(file)
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody to ask for the new passphrase; give --new-passphrase-file FILE")

    def ask() -> str:
        return str(click.prompt("new passphrase", hide_input=True, confirmation_prompt="once more", err=True))

    return ask


ALL = (passphrase,)
