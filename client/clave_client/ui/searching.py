"""What `clave search` prints: the messages that were found, newest first. Knows no options."""

from __future__ import annotations

import time
from datetime import datetime

from clave_client.errors import UsageError
from clave_client.formats.durations import parse_duration
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui.display import plain
from clave_client.ui.json_output import found_json
from clave_client.ui.message_lines import found_lines
from clave_client.ui.warnings import print_out

__all__ = ["parse_since", "print_found"]

_PAGE = 100


def parse_since(text: str, now: float) -> float:
    """Return the time, in seconds since 1970, of a day here such as 2026-11-28, or of 7d before `now`.

    Raises `UsageError` for anything else.
    """
    seconds = parse_duration(text)
    if seconds is not None:
        return max(0.0, now - seconds)
    try:
        return max(0.0, datetime.strptime(text, "%Y-%m-%d").astimezone().timestamp())
    except (ValueError, OverflowError):
        raise UsageError("--since takes a day, as 2026-11-28, or how long ago, as 12h or 7d") from None


async def print_found(
    session: Session, words: str, *, room: str, sender: str, since: str, limit: int, as_json: bool
) -> None:
    """Print the last `limit` messages with all words: of a room, of a person and since a time, if given."""
    me = (await session.ask(m.GetProfile())).account
    start = parse_since(since, time.time()) if since else 0.0
    number = before = 0
    while number < limit:
        page = await session.ask(
            m.Search(
                words=words,
                room=room,
                sender=sender,
                since=start,
                before=before,
                limit=min(_PAGE, limit - number),
            )
        )
        for found in page.found:
            number += 1
            if as_json:
                print_out(found_json(found))
            else:
                for line in found_lines(number, found, me=me, elsewhere=not room):
                    print_out(plain(line))
        before = page.next
        if not before:
            break
    if not number and not as_json:
        print_out("nothing was found")
