"""Prints what somebody has to know beside a command's output: on standard error, one line each.

Knows no command.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
from collections.abc import Iterable
from functools import lru_cache

from clave_client import events
from clave_client.events import Event
from clave_client.rpc.values import ROOM_CHANGES
from clave_client.ui.display import event_line, plain, relay_restored_text
from clave_client.ui.hints import notice_text

__all__ = ["encode", "encoded", "print_out", "print_warning", "warn_of"]


def encode(text: str, encoding: str) -> bytes:
    """Return `text` with "?" for what `encoding` lacks, and for what it has among the C1 control codes.

    In cp1252, for one, U+203A is the byte 0x9B, the control sequence introducer.
    """
    return text.translate(_c1_characters(encoding)).encode(encoding, "replace")


@lru_cache
def _c1_characters(encoding: str) -> dict[int, str]:
    """Return "?" for each character that `encoding` writes as one byte from 0x80 to 0x9F."""
    found: dict[int, str] = {}
    if codecs.lookup(encoding).name.startswith("utf"):
        return found
    for byte in range(0x80, 0xA0):
        with contextlib.suppress(UnicodeDecodeError):  # no character, or the first byte of several
            found[ord(bytes([byte]).decode(encoding))] = "?"
    return found


def encoded(text: str) -> bytes:
    """Return a line for standard output; see `encode` for what becomes a question mark."""
    return encode(f"{text}\n", sys.stdout.encoding or "utf-8")


def print_out(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.buffer.write(encoded(text))
    sys.stdout.buffer.flush()


def print_warning(text: str) -> None:
    """Print a line on standard error, after the program's name."""
    if sys.stderr is not None:
        encoding = sys.stderr.encoding or "utf-8"
        line = encode(f"clave: {text}", encoding).decode(encoding)
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
