"""The subcommands of `clave` about the devices of the account. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from clave_client.cli.exit_status import exits, run
from clave_client.cli.profile_options import (
    ProfileOptions,
    Prompt,
    home_option,
    json_option,
    profile_options,
)
from clave_client.errors import UsageError

__all__ = ["ALL"]


@click.command(epilog="Example: clave devices    or: clave devices --json")
@profile_options
@json_option
def devices(options: ProfileOptions, *, as_json: bool) -> None:
    """List your devices: which is this one, which has the account's key, which are there."""

    async def work() -> None:
        from clave_client.ui.device_work import list_devices

        async with options.session() as session:
            await list_devices(session, as_json=as_json)

    run(work)


@click.group(epilog="Example: clave device add    then, on the new machine: clave device join")
def device() -> None:
    """Add or remove a device of yours, or hand its role on.

    One device is the primary one: it has the account's key, and only it adds and removes others.
    """


@device.command("add", epilog="Example: clave device add    or, without a camera: clave device add --no-qr")
@profile_options
@json_option
@click.option("--qr/--no-qr", default=True, help="Show the code as a QR code too.")
def add(options: ProfileOptions, *, qr: bool, as_json: bool) -> None:
    """Show a code for the new device, compare words with it, and add it to all your rooms.

    Both devices show four words once the new one is there. Say yes only if they are the same: else somebody
    who has seen the code has come in its place.
    """

    async def work() -> int:
        from clave_client.ui.device_work import add_device

        async with options.session() as session:
            return await add_device(session, qr=qr and not as_json, as_json=as_json)

    run(work)


@device.command("join", epilog="Example: clave device join clave://chat.example.org:7878/#AmrGLlvBDVRS...")
@home_option
@json_option
@click.option(
    "--device",
    "name",
    metavar="NAME",
    help="What this device is called; members of rooms and the relay see it.",
)
@click.option("--proxy", metavar="URL", help="Reach the relay by this SOCKS5 proxy, or by none; remembered.")
@click.option("--passphrase", is_flag=True, help="Protect the new profile with a passphrase.")
@click.argument("code", nargs=-1)
def join(
    home: Path | None,
    name: str | None,
    proxy: str | None,
    code: tuple[str, ...],
    *,
    passphrase: bool,
    as_json: bool,
) -> None:
    """Make this machine a device of yours, by the CODE that clave device add shows.

    Without CODE, or with -, it is asked for, so that it stands in no list of processes. Then compare the four
    words with the other device and answer there. The account's key stays on the other device.
    """
    with exits():
        from clave_client.net.pairing_code import PairingCode

        text = "".join(code)
        if text in ("", "-"):
            text = _asked("the code that the other device shows", hide=True)
        found = PairingCode.parse(text)
        if name is None:
            name = _asked("what to call this device (members of your rooms and the relay see it)", hide=False)
        called = name.strip()

    async def work() -> None:

        from clave_client.device_joining import DeviceJoin
        from clave_client.store.folders import default_home
        from clave_client.ui.device_text import joined_text
        from clave_client.ui.json_output import line_json
        from clave_client.ui.warnings import print_out, print_warning

        async def show(words: tuple[str, ...]) -> None:
            if as_json:
                print_out(line_json(words=list(words)))
            else:
                print_warning("compare these words with the other device, and answer there:")
                print_warning(f"    {' '.join(words)}")

        ask = Prompt("passphrase of the new profile", confirm=True) if passphrase else None
        joining = DeviceJoin(
            found, home or default_home(), called, show=show, new_passphrase=ask, proxy=proxy
        )
        joined = await joining.run()
        if as_json:
            print_out(line_json(name=joined.name, device=joined.device_name, rooms=joined.rooms))
        else:
            print_out(joined_text(*joined))

    run(work)


@device.command("remove", epilog="Example: clave device remove laptop")
@profile_options
@json_option
@click.argument("device_name", metavar="NAME")
def remove(options: ProfileOptions, device_name: str, *, as_json: bool) -> None:
    """Remove a device that you lost or give away, for ever: it cannot log in, and no room has it any more.

    Everybody in your rooms is told. What it has read stays on it.
    """

    async def work() -> None:
        from clave_client.ui.device_work import remove_device

        async with options.session() as session:
            await remove_device(session, device_name, os.urandom(16).hex(), as_json=as_json)

    run(work)


@device.command("primary", epilog="Example: clave device primary desktop")
@profile_options
@json_option
@click.argument("device_name", metavar="NAME")
def primary(options: ProfileOptions, device_name: str, *, as_json: bool) -> None:
    """Hand the account's key to another device, where clave is open; this one has it no more.

    From then on only that one adds and removes devices. Make a backup there: clave backup FILE
    """

    async def work() -> None:
        from clave_client.ui.device_work import set_primary

        async with options.session() as session:
            await set_primary(session, device_name, os.urandom(16).hex(), as_json=as_json)

    run(work)


def _asked(words: str, *, hide: bool) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        line = sys.stdin.readline().strip() if hide and sys.stdin is not None else ""
        if not line:
            raise UsageError(f"nobody is here to type {words}; give it, see: clave device join --help")
        return line
    return str(click.prompt(words, hide_input=hide, err=True)).strip()


ALL: Final[tuple[Any, ...]] = (devices, device)
"""The commands of this module."""
