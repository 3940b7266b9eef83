"""The subcommands of `clave` that look at what is kept of a room. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from clave_client.cli.exit_status import exits
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


ALL: Final[tuple[Any, ...]] = (audit,)
"""The commands of this module."""
