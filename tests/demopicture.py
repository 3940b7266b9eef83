"""The picture docs/demo.svg: what `clave demo` shows in a terminal. Run this to write it.

The demo runs for real, so that times, ports, room ids and digests differ from run to run.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"

ROWS, COLUMNS = 40, 146
"""Size of the terminal, in characters; wide enough for the longest line of the relay."""

_PIECE = re.compile(r"\S+(?: \S+)*")
_NAME_WIDTH = 6
"""What stands between two runs of spaces; and the column in which the demo's names end."""

_LAST_LINE = "you are red now"
_QUIET_SECONDS = 2.0
_MOST_SECONDS = 60.0

_FONT_SIZE, _CHARACTER, _LINE = 13, 7.8, 19
_MARGIN, _BAR = 16, 32
"""Pixels: size of the font, width of a character, height of a line; space around; height of the title bar."""

_STYLE = f"""\
  text {{
    font: {_FONT_SIZE}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
    fill: #1f2328;
  }}
  .window {{ fill: #ffffff; stroke: #d0d7de; }}
  .line {{ stroke: #d0d7de; }}
  .name {{ fill: #0550ae; font-weight: bold; }}
  .relay {{ fill: #59636e; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3; }}
    .window {{ fill: #0d1117; stroke: #3d444d; }}
    .line {{ stroke: #3d444d; }}
    .name {{ fill: #79c0ff; }}
    .relay {{ fill: #9198a1; }}
  }}
"""

_DESCRIPTION = """\
Left: red opens a room, invites blue and green, they talk, and blue leaves. Right: what the relay shows of
each entry: time, name, address, room, number, kind, size and digest, and no text.
"""


def demo_screen() -> list[str]:
    """Run `clave demo` in a terminal until it asks for input; return the screen's lines.

    Raises `RuntimeError` if it does not get there within a minute.
    """
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover (another program from here on)
        environment = {**os.environ, "TERM": "xterm-256color", "CLAVE_RELAY_LOG_LEVEL": "error"}
        os.execve(sys.executable, [sys.executable, "-m", "clave_client", "demo"], environment)  # noqa: S606 (our own)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    deadline = time.monotonic() + _MOST_SECONDS
    lines: list[str] = []
    try:
        while time.monotonic() < deadline:
            readable, _, _ = select.select([terminal], [], [], _QUIET_SECONDS)
            if readable:
                stream.feed(os.read(terminal, 65536))
            elif _LAST_LINE in "".join(screen.display):
                lines = "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")
                break
    finally:
        os.write(terminal, b"exit\r")
        os.waitpid(child, 0)
        os.close(terminal)
    if not lines:
        raise RuntimeError("clave demo did not come to its end; run it by itself to see why")
    return lines


def draw(lines: Sequence[str]) -> str:
    """Return an SVG of the lines of a terminal, in the reader's light or dark colours.

    Each piece of text has its place and its width in pixels, so that columns stay straight in any font.
    """
    width = round(2 * _MARGIN + COLUMNS * _CHARACTER)
    height = _BAR + 2 * _MARGIN + len(lines) * _LINE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>clave demo</title>\n<desc>{escape(_DESCRIPTION.strip())}</desc>",
        f"<style>\n{_STYLE}</style>",
        f'<rect class="window" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        f'<path class="line" d="M0 {_BAR}.5h{width}"/>',
        f'<text x="{width / 2:g}" y="{_BAR / 2 + 5:g}" text-anchor="middle">clave demo</text>',
    ]
    bar = next((line.index("|") for line in lines if "|" in line), COLUMNS)
    if bar < COLUMNS:
        x = _MARGIN + (bar + 0.5) * _CHARACTER
        parts.append(f'<path class="line" d="M{x:g} {_BAR}v{height - _BAR}"/>')
    for number, line in enumerate(lines):
        y = _BAR + _MARGIN + number * _LINE + _FONT_SIZE
        parts.extend(
            _text("name" if piece.end() <= _NAME_WIDTH else "chat", piece.start(), y, piece[0])
            for piece in _PIECE.finditer(line[:bar])
        )
        parts.extend(_text("relay", piece.start(), y, piece[0]) for piece in _PIECE.finditer(line, bar + 1))
    return "\n".join([*parts, "</svg>\n"])


def _text(kind: str, column: int, y: int, text: str) -> str:
    x, length = _MARGIN + column * _CHARACTER, len(text) * _CHARACTER
    return f'<text class="{kind}" x="{x:.1f}" y="{y}" textLength="{length:.1f}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(demo_screen()), encoding="utf-8")
