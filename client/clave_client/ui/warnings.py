"""Prints what somebody has to know beside a command's output: on standard error, one line each.

Knows no command.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from clave_client import events
from clave_client.events import Event
from clave_client.rpc.values import ROOM_CHANGES
from clave_client.ui.display import event_line, plain, relay_restored_text
from clave_client.ui.hints import notice_text

__all__ = ["encoded", "print_out", "print_warning", "warn_of"]


def encoded(text: str) -> bytes:
    """Return a line for standard output; characters that its encoding lacks become question marks."""
    return f"{text}\n".encode(sys.stdout.encoding or "utf-8", errors="replace")


def print_out(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.buffer.write(encoded(text))
    sys.stdout.buffer.flush()


def print_warning(text: str) -> None:
    """Print a line on standard error, after the program's name."""
    if sys.stderr is not None:
        encoding = sys.stderr.encoding or "utf-8"
        line = f"clave: {text}".encode(encoding, errors="replace").decode(encoding)
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (printing is its purpose)


def warn_of(happened: Iterable[Event], title: str) -> None:
    """Print changes of the room called `title`, and notices; other events are left out."""
    for event in happened:
        match event:
            case events.Notice():
                print_warning(notice_text(event))
            case events.RelayRestored():
                print_warning(relay_restored_text(event))
            case _ if isinstance(event, ROOM_CHANGES):
                line = event_line(event, lambda _: title, elsewhere=False, me=b"") or []
                print_warning(f"{title}: {plain(line).removeprefix('* ')}")
            case _:
                pass
