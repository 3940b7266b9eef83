"""The subcommands of `clave` about links by which others join. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from clave_client.cli.exit_status import exits, run
from clave_client.cli.profile_options import (
    NewProfile,
    ProfileOptions,
    first_line,
    json_option,
    profile_options,
)
from clave_client.errors import UsageError

if TYPE_CHECKING:
    from clave_client.net.join_link import JoinLink

__all__ = ["ALL", "join_first"]

_MOST_USES: Final = 500


@click.command(epilog="Example: clave invite friends --expires 2d --uses 1 --qr")
@profile_options
@json_option
@click.option("--expires", metavar="TIME", default="7d", show_default=True, help="Until when it can be used.")
@click.option(
    "--uses",
    type=click.IntRange(1, _MOST_USES),
    default=10,
    show_default=True,
    help="How many devices it lets in.",
)
@click.option("--qr", is_flag=True, help="Show it as a QR code too.")
@click.argument("room")
def invite(options: ProfileOptions, expires: str, uses: int, room: str, *, qr: bool, as_json: bool) -> None:
    """Make a link to ROOM, and print the line by which others join while nobody is there.

    Whoever has the line can join, so send it over a channel that you trust. All links of a room end when
    somebody is removed from it.
    """

    async def work() -> None:
        from clave_client.formats.durations import parse_duration
        from clave_client.ui.link_work import make_link

        seconds = parse_duration(expires)
        if seconds is None:
            raise UsageError("say until when, as in 10m, 8h, 7d")
        async with options.session() as session:
            key = os.urandom(16).hex()
            await make_link(session, room, seconds=seconds, uses=uses, qr=qr, key=key, as_json=as_json)

    run(work)


@click.command(epilog="Example: clave links friends")
@profile_options
@json_option
@click.argument("room")
def links(options: ProfileOptions, room: str, *, as_json: bool) -> None:
    """List the links to join ROOM: who made them, until when, for how many more devices."""

    async def work() -> None:
        from clave_client.ui.link_work import list_links

        async with options.session() as session:
            await list_links(session, room, as_json=as_json)

    run(work)


@click.command(epilog="Example: clave revoke friends 8cbb6a89    or: clave revoke friends all")
@profile_options
@json_option
@click.argument("room")
@click.argument("link", metavar="LINK|all")
def revoke(options: ProfileOptions, room: str, link: str, *, as_json: bool) -> None:
    """End a link to join ROOM, by its number in `clave links`, or all of them."""

    async def work() -> None:
        from clave_client.ui import link_work

        async with options.session() as session:
            await link_work.revoke(session, room, link, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave join clave://chat.example.org:7878/#AWrGLlvBDVRS...")
@profile_options
@json_option
@click.option("--proxy", metavar="URL", help="Reach the relay by this SOCKS5 proxy, or by none; remembered.")
@click.option(
    "--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A token to register with."
)
@click.option("--passphrase", is_flag=True, help="Protect a new profile with a passphrase.")
@click.option("--device", default="", metavar="NAME", help="What a new profile's device is called (main).")
@click.argument("link", nargs=-1, required=True)
def join(
    options: ProfileOptions,
    proxy: str | None,
    token_file: Path | None,
    device: str,
    link: tuple[str, ...],
    *,
    passphrase: bool,
    as_json: bool,
) -> None:
    """Join a room by a LINK that somebody sent you, and talk there; the first run makes your profile.

    Nobody has to be there. What you say is read once a member's clave has confirmed that you joined. On a
    terminal the conversation begins; otherwise the command ends.
    """
    with exits():
        from clave_client.net.join_link import JoinLink

        found = JoinLink.parse("".join(link))
        options = options._replace(name=_chosen_name(options))
    token = first_line(token_file).strip() if token_file else ""
    new = NewProfile(str(found.address), None, token, passphrase, device, proxy, found.pin)

    async def work() -> int:
        from clave_client.ui.line_mode import run_line_mode
        from clave_client.ui.link_work import join, print_joined
        from clave_client.ui.terminal.usable import is_usable

        key = os.urandom(16).hex()
        if is_usable() and not as_json:
            return await run_line_mode(
                functools.partial(options.session, new),
                functools.partial(join_first, found, key),
                "bell",
                must_own=proxy is not None,
            )
        async with options.session(new) as session:
            print_joined(await join(session, found.text, key), as_json=as_json)
        return 0

    run(work)


async def join_first(link: JoinLink, key: str, session: Any) -> str:
    """Join by a link; return the room to talk in."""
    from clave_client.ui.link_work import join

    return (await join(session, link.text, key)).id.hex()


def _chosen_name(options: ProfileOptions) -> str | None:
    """Return the name to go by: the given one, that of the only profile, or else what is typed."""
    from clave_client.store.folders import default_home, profile_names

    if options.name is not None or profile_names(options.home or default_home()):
        return options.name
    if not sys.stdin.isatty():
        raise UsageError("say who you are: clave join --name NAME LINK")
    return str(click.prompt("your name there", err=True)).strip()


ALL: Final[tuple[Any, ...]] = (invite, join, links, revoke)
"""The commands of this module."""
