"""Words and pictures for links by which others join. Knows no terminal."""

from __future__ import annotations

import datetime as dt
import io
from typing import Final

from clave_client.formats.join_words import joining_text
from clave_client.values import LinkInfo, MadeLink, RoomInfo

__all__ = [
    "DEFAULT_SECONDS",
    "DEFAULT_USES",
    "holds_link",
    "joined_lines",
    "link_line",
    "made_lines",
    "qr_lines",
]

_LINK_START: Final = "clave://"

DEFAULT_SECONDS: Final = 7 * 86_400
DEFAULT_USES: Final = 10
"""What a link allows unless something else is said: joins for a week, by ten devices."""


def holds_link(text: str) -> bool:
    """Return whether a typed line has a link in it: that lets in whoever reads it, so it is not kept."""
    return _LINK_START in text


def made_lines(made: MadeLink, title: str) -> list[str]:
    """Return the lines that show a link to who made it, itself among them."""
    return [
        f"whoever has this line can join {title}: {_allows(made.uses)} until {_time(made.not_after)}",
        f"clave join {made.text}",
        *(
            []
            if made.counts
            else ["it works once another member is here, whose clave confirms it; then send it"]
        ),
    ]


def link_line(link: LinkInfo) -> str:
    """Return one line for a link in a list."""
    if link.is_expired:
        what = "expired"
    elif not link.uses:
        what = "used up"
    else:
        what = f"{_allows(link.uses)} until {_time(link.not_after)}"
    return f"{link.id}  by {link.by or 'somebody'}: {what}"


def joined_lines(info: RoomInfo) -> list[str]:
    """Return the lines for who has just joined a room by a link."""
    whose = f"{info.joining}'s link" if info.joining else "a link"
    lines = [f"you joined {info.title} by {whose}"]
    if info.joining:
        lines.append(joining_text(info.title, info.joining, waits=info.unconfirmed))
    return lines


def qr_lines(text: str) -> list[str]:
    """Return a QR code (ISO/IEC 18004) of a text, of half blocks: dark on light, with its quiet zone."""
    import segno  # here, as only this needs it

    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(out=drawn, compact=True)
    return drawn.getvalue().rstrip("\n").split("\n")


def _allows(uses: int) -> str:
    return "1 device" if uses == 1 else f"{uses} devices"


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
