"""The subcommands of `clave` that look after an account: its passphrase, backups, state. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from clave_client.cli.exit_status import exits, run
from clave_client.cli.profile_options import (
    ProfileOptions,
    Prompt,
    first_line,
    home_option,
    json_option,
    profile_options,
    try_often,
)
from clave_client.errors import UsageError

if TYPE_CHECKING:
    from clave_client.store.profile import Profile
    from clave_crypto.keys import Secret

__all__ = ["ALL"]

T = TypeVar("T")

_File = click.Path(dir_okay=False, path_type=Path)

_new_passphrase = click.option(
    "--new-passphrase-file", type=_File, help="Read the new passphrase from this file's first line."
)
_backup_passphrase = click.option(
    "--backup-passphrase-file", type=_File, help="Read the backup's passphrase from this file's first line."
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
        profile.change_passphrase(_new(new_passphrase_file, "--new-passphrase-file"))
    click.echo("the passphrase is set; copies of the profile made before still open without it")


@passphrase.command("change", epilog="Example: clave passphrase change --name red")
@profile_options
@_new_passphrase
def change_passphrase(options: ProfileOptions, new_passphrase_file: Path | None) -> None:
    """Replace a profile's passphrase by another."""
    with exits():
        profile = _protected(options)
        new = _new(new_passphrase_file, "--new-passphrase-file")
        try_often(options.passphrase_file, lambda: profile.change_passphrase(new))
    click.echo("the passphrase is changed; copies of the profile made before still open with the former one")


@passphrase.command("remove", epilog="Example: clave passphrase remove --name red")
@profile_options
def remove_passphrase(options: ProfileOptions) -> None:
    """Have a profile open without a passphrase, by whoever can read its folder."""
    with exits():
        profile = _protected(options)
        try_often(options.passphrase_file, lambda: profile.change_passphrase(None))
    click.echo("the passphrase is removed; whoever can read the profile's folder can open it")


@click.command(epilog="Example: clave backup red-2026-11-28.clave --name red")
@profile_options
@_backup_passphrase
@click.argument("file", type=_File)
def backup(options: ProfileOptions, backup_passphrase_file: Path | None, file: Path) -> None:
    """Write a profile to a new FILE, encrypted under a passphrase of its own; windows may stay open.

    Whoever has the file and its passphrase can pose as you. To restore it: clave restore FILE
    """
    with exits():
        from clave_client.store.backup import write_backup
        from clave_wire.text import sanitize

        profile = options.profile()
        key = try_often(options.passphrase_file, profile.read_key)
        passphrase = _new(backup_passphrase_file, "--backup-passphrase-file", "passphrase of the backup")()
        size = write_backup(profile.store_path, key, file, passphrase)
        is_primary = _has_account_key(profile, key)
    click.echo(f"{sanitize(str(file))}: {-(-size // 1024)} KiB; keep its passphrase, nothing else opens it")
    if not is_primary:
        text = "it has no account key, so it adds no devices: back up your primary one, too"
        click.echo(f"clave: {text}", err=True)


def _has_account_key(profile: Profile, key: Secret) -> bool:
    from clave_client.store.account import has_account_key
    from clave_client.store.audit_queries import SnapshotStore

    store = SnapshotStore(profile.store_path, key)
    try:
        return has_account_key(store)
    finally:
        store.close()


@click.command(epilog="Example: clave restore red-2026-11-28.clave")
@home_option
@_backup_passphrase
@_new_passphrase
@click.option("--passphrase", is_flag=True, help="Protect the restored profile with a passphrase.")
@click.argument("file", type=_File)
def restore(
    home: Path | None,
    backup_passphrase_file: Path | None,
    new_passphrase_file: Path | None,
    file: Path,
    *,
    passphrase: bool,
) -> None:
    """Make a profile again from a backup, on this machine or another one.

    It rejoins its rooms with new keys as soon as somebody there is online; everybody there sees that it was
    restored. Do not use the profile that was backed up any more.
    """
    with exits():
        from time import time

        from clave_client.restoring import restore_profile
        from clave_client.store.backup import read_wrapping
        from clave_client.store.folders import default_home

        read_wrapping(file)  # before anybody is asked
        ask = _known(backup_passphrase_file)
        protected = passphrase or new_passphrase_file is not None
        new = _new(new_passphrase_file, "--new-passphrase-file") if protected else None
        restored = try_often(
            backup_passphrase_file,
            lambda: restore_profile(file, ask(), home or default_home(), new_passphrase=new, clock=time),
        )
    for line in restored.unusable:
        click.echo(f"needs an invitation: {line}")
    click.echo(f"restored {restored.name}, rooms: {', '.join(restored.rooms) or 'none'}")
    click.echo(
        f"they are rejoined with new keys once somebody there is online: clave chat --name {restored.name}"
    )


@click.command(epilog="Example: clave doctor --name red")
@profile_options
@json_option
def doctor(options: ProfileOptions, *, as_json: bool) -> None:
    """Look at profile, disk, locale, terminal, relay and rooms, and say what to do.

    Ends with status 1 if one of them is an error.
    """

    async def work() -> int:
        from clave_client.store.folders import default_home
        from clave_client.ui.doctor import run_doctor

        home = options.home or default_home()
        return await run_doctor(home, options.folder, options.session(), as_json=as_json)

    run(work)


@click.group(invoke_without_command=True, epilog="Example: clave account --name red")
@profile_options
@json_option
@click.pass_context
def account(context: click.Context, options: ProfileOptions, *, as_json: bool) -> None:
    """Show your name, fingerprint, devices and relay."""
    if context.invoked_subcommand is not None:
        for name in ("name", "home", "passphrase_file", "as_json"):
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                option = "--json" if name == "as_json" else "--" + name.replace("_", "-")
                command = f"clave account {context.invoked_subcommand} {option}"
                raise click.UsageError(f"{option} goes after the command: {command}")
        return

    async def work() -> None:
        from clave_client.ui.reports import print_account

        async with options.session() as session:
            await print_account(session, as_json=as_json)

    run(work)


@account.command("delete", epilog="Example: clave account delete --name red")
@profile_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--here-only", is_flag=True, help="Erase only the profile here; the name stays taken.")
def delete_account(options: ProfileOptions, *, yes: bool, here_only: bool) -> None:
    """Leave all rooms, free your name at the relay, and erase the profile. Nothing brings it back."""
    with exits():
        from clave_client.store.folders import default_home

        profile = options.profile()
        name = options.chosen_name(options.home or default_home())
        what = (
            "erases the profile here"
            if here_only
            else "leaves all rooms, frees the name and erases the profile"
        )
        if not yes and _typed_name(name, what) != name:
            raise UsageError("that is not the name; nothing was deleted")

    async def work() -> None:
        if not here_only:
            await _delete_at_relay(options)
        profile.erase()
        click.echo(f"the {'profile' if here_only else 'account'} {name} is deleted")

    run(work)


async def _delete_at_relay(options: ProfileOptions) -> None:
    from clave_client.rpc import methods as m
    from clave_client.ui.warnings import print_warning

    async with options.session() as session:
        if not session.is_owner:
            process = session.info.process
            raise UsageError(f"process {process} has the profile open; end it first, nothing was deleted")
        for title in await session.ask(m.DeleteAccount()):
            print_warning(f"not left: {title}; its members have to remove you")


def _typed_name(name: str, what: str) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is here to confirm it; give --yes")
    return str(click.prompt(f"this {what}, for ever; type {name} to go on", err=True))


def _protected(options: ProfileOptions) -> Profile:
    """Return the profile; raise a usage error if it has no passphrase."""
    profile = options.profile()
    if not profile.has_passphrase:
        raise click.UsageError("it has no passphrase; run: clave passphrase set")
    return profile


def _known(file: Path | None) -> Callable[[], str]:
    """Return what gets the passphrase of a backup: from a file, or asked for. Raises `UsageError`."""
    if file is not None:
        return lambda: first_line(file)
    _check_terminal("--backup-passphrase-file")
    return Prompt("passphrase of the backup", confirm=False)


def _new(file: Path | None, option: str, words: str = "new passphrase") -> Callable[[], str]:
    """Return what gets a new passphrase: from a file, or asked for twice. Raises `UsageError`."""
    if file is not None:
        return lambda: first_line(file)
    _check_terminal(option)
    return lambda: str(click.prompt(words, hide_input=True, confirmation_prompt="once more", err=True))


def _check_terminal(option: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"nobody is here to type a passphrase; give {option} FILE")


ALL = (account, passphrase, backup, restore, doctor)
