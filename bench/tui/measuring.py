"""What is measured on the full screen: keys, rooms, pages, the start, memory. Prints nothing."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.client.population import first_room
from bench.client.processes import OnTerminal, seconds_to_end
from bench.tui.histories import NEEDLE, QUIET, big_profile, marker, rooms_profile
from bench.tui.talking import NAME, RATE, Talk
from bench.tui.terminal import NotShown, ScreenTerminal

__all__ = [
    "Keys",
    "Machine",
    "Pages",
    "imported_by_help",
    "jumps",
    "keys",
    "memory",
    "openings",
    "pages",
    "save_modules",
    "starts",
]

_ALPHABET: Final = [chr(code) for code in range(0x100, 0x180)]
"""Letters that no message holds; each key is another one than the keys before."""

_KEY_SECONDS: Final = (0.030, 0.080)
"""Time between two keys, drawn evenly, so that keys do not keep step with what draws."""

_MOST_KEY_SECONDS: Final = 0.180
"""How long a key takes, the time until the next one included, so that messages arrive until the last."""

_LINE: Final = 60
"""Letters of one line."""

_EMPTY_SECONDS: Final = 1.0
"""How long the keys that empty a line are given."""

_PAGE_SECONDS: Final = 0.4
"""Time between two pages, in which all of the first one is drawn."""

_OWNER_SECONDS: Final = 0.25
"""A `clave send` that takes longer was not made through a running owner."""

_PAGE_UP, _CTRL_END, _ENTER, _ALT_S, _BACKSPACE = b"\x1b[5~", b"\x1b[1;5F", b"\r", b"\x1bs", b"\x7f"

_SAVE_MODULES: Final = """\
import signal, sys
path = sys.argv.pop(1)
def save(*_):
    names = "\\n".join(list(sys.modules))
    with open(path, "w") as file:
        file.write(names + "\\n")
signal.signal(signal.SIGUSR1, save)
from clave_client.cli import main
main(prog_name="clave")
"""
_IMPORT: Final = """\
import importlib, pathlib, sys
for name in pathlib.Path(sys.argv[1]).read_text().split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print("all is imported", flush=True)
input()
"""


class Machine:
    """Where the profiles are, and the environment of the commands."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self.home = home
        self._scratch = scratch
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment = {
            **kept,
            # Compiled modules are kept for the run: an installed program has them too.
            "PYTHONPYCACHEPREFIX": str(scratch / "compiled"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }

    def clave(self, name: str, command: str, *words: str) -> list[str]:
        """Return a command on a profile."""
        options = ["--home", str(self.home), "--name", name]
        return [sys.executable, "-m", "clave_client", command, *options, *words]

    def chat(self, name: str, room: str, *words: str) -> list[str]:
        """Return `clave chat` on a profile, in a room."""
        return self.clave(name, "chat", "--room", room, *words)

    def screen(self, name: str, room: str) -> ScreenTerminal:
        """Run the full screen."""
        return ScreenTerminal(self.chat(name, room, "--screen"), self.environment)

    @contextlib.contextmanager
    def owner(self, name: str, room: str) -> Iterator[None]:
        """Run a process that owns a profile, once it answers."""
        daemon = subprocess.Popen(self.clave(name, "daemon"), env=self.environment)  # noqa: S603 (this program)
        send = self.clave(name, "send", room, "ready")
        try:
            while seconds_to_end(send, self.environment) > _OWNER_SECONDS:
                time.sleep(0.1)
            yield
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()

    @property
    def modules(self) -> Path:
        """The file with the names of the modules that the screen had loaded at its start."""
        return self._scratch / "modules"


# --- keys ---


@dataclass
class Keys:
    """How long keys took to be drawn, in seconds, and how many messages a second were drawn meanwhile."""

    seconds: list[float] = field(default_factory=list)
    rate: float = 0.0


def keys(machine: Machine, talk: Talk, history: int, count: int, *, arriving: bool) -> Keys:
    """Type `count` keys in the room of `talk`, which has `history` messages, while others arrive or not."""
    with machine.screen(NAME, NAME) as screen:
        screen.until(rb"m%07d|n\d{7}" % history)
        screen.settle()
        screen.press(_CTRL_END)  # from the line above the first new message
        screen.settle()
        if not arriving:
            return Keys(list(_typed(screen, count)))
        talk.begin(round(count * _MOST_KEY_SECONDS * RATE))
        first = _newest(screen, talk.written)
        begin = time.perf_counter()
        found = Keys(list(_typed(screen, count)))
        last = _newest(screen, talk.written)
        found.rate = (last - first) / (time.perf_counter() - begin)
        talk.finish()
        return found


def _newest(screen: ScreenTerminal, last: int) -> int:
    """Return the newest message that is drawn from now on. Raises `NotShown` if nothing arrives."""
    screen.press(b"")
    screen.until(rb"n\d{7}")
    newest = max(int(number) for number in re.findall(rb"n(\d{7})", screen.shown))
    if newest >= last:
        raise NotShown("messages have stopped to arrive before all keys were typed")
    return newest


def _typed(screen: ScreenTerminal, count: int) -> Iterator[float]:
    """Yield how long each of so many keys took; the line is emptied again and again."""
    pauses = random.Random(3)  # noqa: S311 (no secret)
    for number in range(count):
        letter = _ALPHABET[number % len(_ALPHABET)].encode()
        begin = screen.press(letter)
        yield screen.until(re.escape(letter)) - begin
        screen.wait(pauses.uniform(*_KEY_SECONDS))
        if number % _LINE == _LINE - 1:
            screen.press(_BACKSPACE * _LINE)
            screen.wait(_EMPTY_SECONDS)


# --- rooms ---


@contextlib.contextmanager
def _at_quiet(machine: Machine, count: int) -> Iterator[tuple[ScreenTerminal, bytes, bytes]]:
    """Open the screen on a profile with a room of `count` messages; yield the keys of that and the other."""
    with machine.screen(big_profile(count), QUIET) as screen:
        screen.until(b"nothing happens here")
        screen.settle()
        screen.press(b"\x1b1")
        is_first = screen.shows(marker(count).encode(), 1.0)
        big, quiet = (b"\x1b1", b"\x1b2") if is_first else (b"\x1b2", b"\x1b1")
        screen.press(quiet)
        screen.settle()
        yield screen, big, quiet


def openings(machine: Machine, count: int, times: int) -> list[float]:
    """Return how long it takes to open a room of `count` messages at its end, in seconds."""
    found = []
    with _at_quiet(machine, count) as (screen, big, quiet):
        for _ in range(times):
            begin = screen.press(big)
            found.append(screen.until(marker(count).encode()) - begin)
            screen.settle()
            screen.press(quiet)
            screen.until(b"nothing happens here")
            screen.settle()
    return found


def jumps(machine: Machine, count: int, times: int) -> list[float]:
    """Return how long it takes from Enter on what a search has found until it is drawn in its room."""
    found = []
    middle = count // 2
    # Further away from it than what the search shows around it.
    near = "|".join(marker(middle + away) for away in (-7, -6, -5, -4, 4, 5, 6, 7)).encode()
    with _at_quiet(machine, count) as (screen, _, quiet):
        for _ in range(times):
            screen.press(_ALT_S)
            screen.until(b"type what to find")
            screen.press(NEEDLE.encode())
            screen.until(marker(middle + 1).encode())
            screen.settle()
            begin = screen.press(_ENTER)
            found.append(screen.until(near) - begin)
            screen.settle()
            screen.press(quiet)
            screen.until(b"nothing happens here")
            screen.settle()
    return found


@dataclass
class Pages:
    """How long it took to draw each page, and the processor time of each, in seconds."""

    seconds: list[float] = field(default_factory=list)
    processor: float = 0.0


def pages(machine: Machine, count: int, times: int) -> Pages:
    """Scroll up by pages from the end of a room of `count` messages."""
    found = Pages()
    with _at_quiet(machine, count) as (screen, big, _):
        screen.press(big)
        screen.until(marker(count).encode())
        screen.settle()
        used = screen.processor_seconds()
        for _ in range(times):
            begin = screen.press(_PAGE_UP)
            tops = [(_least(update), when) for when, update in screen.updates(_PAGE_SECONDS)]
            # It is drawn when the oldest message of the page is; of those with that top, the first.
            shown = [(top, when) for top, when in tops if top is not None]
            if not shown:
                raise NotShown("a page shows no messages")
            found.seconds.append(min(shown)[1] - begin)
        found.processor = (screen.processor_seconds() - used) / times
    return found


def _least(update: bytes) -> int | None:
    numbers = [int(number) for number in re.findall(rb"m(\d{7})", update)]
    return min(numbers) if numbers else None


# --- start and memory ---


def imported_by_help(machine: Machine) -> int:
    """Return how many modules of Textual `clave --help` imports."""
    command = [sys.executable, "-X", "importtime", "-m", "clave_client", "--help"]
    ran = subprocess.run(command, env=machine.environment, check=True, capture_output=True, text=True)  # noqa: S603
    return len(re.findall(r"\| +textual\b", ran.stderr))


def save_modules(machine: Machine) -> int:
    """Save which modules the full screen has loaded once it is usable; return how many."""
    command = machine.chat(rooms_profile(), first_room(), "--screen")
    script = [command[0], "-c", _SAVE_MODULES, str(machine.modules), *command[3:]]
    with ScreenTerminal(script, machine.environment) as screen:
        _until_usable(screen)
        screen.signal(signal.SIGUSR1)
        while not (machine.modules.exists() and machine.modules.read_text().endswith("\n")):
            screen.wait(0.05)
    return len(machine.modules.read_text().split())


def starts(machine: Machine) -> tuple[float, float]:
    """Return the seconds to a usable screen with many rooms, and those of its imports alone."""
    with machine.screen(rooms_profile(), first_room()) as screen:
        seconds = _until_usable(screen) - screen.started
    imports = [sys.executable, "-c", _IMPORT, str(machine.modules)]
    with OnTerminal(imports, machine.environment, "all is imported") as process:
        if process.seconds is None:
            raise NotShown("the imports alone fail")
        return seconds, process.seconds


def _until_usable(screen: ScreenTerminal) -> float:
    """Return when the room's message is drawn and a key typed after that, too."""
    screen.until(b"hello")
    letter = _ALPHABET[0].encode()
    screen.press(letter)
    end = screen.until(letter)
    screen.press(_BACKSPACE)
    return end


def memory(machine: Machine) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return RSS and PSS in MiB of the full screen, then of line mode, both with many rooms."""
    with machine.screen(rooms_profile(), first_room()) as screen:
        screen.until(b"hello")
        full = screen.memory_mib()
    with ScreenTerminal(machine.chat(rooms_profile(), first_room()), machine.environment) as lines:
        lines.until(rb"%b>" % first_room().encode())
        plain = lines.memory_mib()
        lines.press(b"exit\r")
        lines.wait(0.5)
    return full, plain
