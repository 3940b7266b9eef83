"""The subcommand `clave search` with its options. Knows no protocol.

What it runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import click

from clave_client.cli.exit_status import run
from clave_client.cli.profile_options import ProfileOptions, json_option, profile_options

__all__ = ["search"]


@click.command(epilog="Example: clave search deploy failed --room friends --since 7d")
@profile_options
@click.option("--room", default="", help="Only in this room, by title or id.")
@click.option("--from", "sender", default="", metavar="PERSON", help="Only what this person said.")
@click.option("--since", default="", metavar="DAY", help="Only since a day, 2026-11-28, or 12h or 7d ago.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most messages to show.")
@json_option
@click.argument("words", nargs=-1, required=True)
def search(
    options: ProfileOptions,
    room: str,
    sender: str,
    since: str,
    limit: int,
    words: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Find messages that have all WORDS, newest first. Works offline.

    Of a long message its first 4,000 characters are searched.
    """
    text = " ".join(words).encode(errors="replace").decode()

    async def work() -> None:
        from clave_client.ui.searching import print_found

        async with options.session() as session:
            await print_found(
                session, text, room=room, sender=sender, since=since, limit=limit, as_json=as_json
            )

    run(work)
