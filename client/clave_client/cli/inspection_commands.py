"""The subcommands of `clave` that look at what is kept of a room. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from clave_client.cli.exit_status import exits, run
from clave_client.cli.profile_options import ProfileOptions, json_option, profile_options, try_often

__all__ = ["ALL"]


@click.command(epilog="Example: clave audit friends    or: clave audit friends --json")
@profile_options
@json_option
@click.argument("room")
def audit(options: ProfileOptions, room: str, *, as_json: bool) -> None:
    """Check what is stored of ROOM, without a connection: keys, members, messages. Changes nothing.

    The exit status is 1 if anything does not hold. It cannot tell what this device never got or keeps no
    longer: entries that a relay hid and nobody has mentioned since, and those before the hash chain begins.
    A hash of the chain, a message key or a text of others is compared only with what is kept beside it.
    """
    with exits():
        from clave_client.ui.inspection_work import print_audit

        profile = options.profile()
        key = try_often(options.passphrase_file, profile.read_key)
        status = print_audit(profile.store_path, key, room, as_json=as_json)
    sys.exit(status)


@click.command(epilog="Example: clave receipt friends    or: clave receipt friends 12 --json")
@profile_options
@json_option
@click.argument("room")
@click.argument("message", required=False, default="last")
def receipt(options: ProfileOptions, room: str, message: str, *, as_json: bool) -> None:
    """Show what the relay could learn of MESSAGE of ROOM, a number, and what it could not.

    Without MESSAGE it is the last one that this device sent. Of messages of others the relay has learnt the
    same; their size, and most of a header, are not kept here. Works offline.
    """

    async def work() -> None:
        from clave_client.ui.inspection_work import print_relay_view

        async with options.session() as session:
            await print_relay_view(session, room, message, as_json=as_json)

    run(work)


ALL: Final[tuple[Any, ...]] = (audit, receipt)
"""The commands of this module."""
