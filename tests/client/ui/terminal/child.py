"""A program with a `Terminal` whose lines are commands of the tests. Says on stdout how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from clave_client.cli.exit_status import run
from clave_client.ui.draft_line import TypedText
from clave_client.ui.terminal.terminal import LineRefused, Terminal
from clave_client.ui.terminal.usable import is_usable
from clave_client.ui.terminal.wrapping import Line

WORDS = ("/fingerprint", "/find", "/members")


def mark(path: str) -> None:
    Path(path).touch()


class Program:
    def __init__(self) -> None:
        self.continued = asyncio.Event()
        self.live: list[Line] = []
        self.name = "room"
        self.numbers = 0
        self.remembered: list[str] = []
        self.terminal = Terminal(
            prompt=lambda: f"{self.name}> ",
            live=lambda: self.live,
            handle=self.handle,
            waiting=lambda: "waiting for the test",
            complete=self.complete,
            history=("older", "with\ntwo lines"),
            remember=self.remember,
            shortcuts={"alt-1": self.enter_one, "alt-2": self.enter_two, "alt-a": self.enter_next},
        )

    def say(self, text: str, style: str = "") -> None:
        self.terminal.print([(style, text)])

    async def complete(self, before: str) -> list[str]:
        return [word for word in WORDS if word.startswith(before)]

    async def remember(self, text: str) -> None:
        self.remembered.append(text)

    async def enter_one(self, _: TypedText) -> None:
        self.name = "one"

    async def enter_two(self, typed: TypedText) -> None:
        self.name = "two"
        self.say(f"kept {typed.text!r}")
        typed.is_kept = True

    async def enter_next(self, _: TypedText) -> None:
        self.name = "next"

    async def handle(self, text: str) -> None:
        command, _, argument = text.partition(" ")
        match command:
            case "exit":
                self.terminal.stop()
            case "wait":  # for SIGUSR1
                self.say("waiting began")
                await self.continued.wait()
                self.continued.clear()
                self.say("waiting ended")
            case "linger":
                self.say("lingering")
                try:
                    await asyncio.Event().wait()
                finally:
                    await self.continued.wait()
            case "refuse":
                raise LineRefused(text)
            case "refuse-later":
                await self.continued.wait()
                self.continued.clear()
                raise LineRefused(text)
            case "burst":
                for number in range(int(argument)):
                    self.say(f"burst {number}")
            case "stream":  # until SIGUSR1
                while not self.continued.is_set():
                    self.say(f"stream {self.numbers}")
                    self.numbers += 1
                    await asyncio.sleep(0.001)
                self.continued.clear()
                self.say("stream ended")
            case "live":
                self.live = [[("note", each)] for each in argument.split(",") if each]
                self.terminal.refresh()
            case "remembered":
                self.say(f"remembered {self.remembered}")
            case "pid":
                self.say(f"pid is {os.getpid()}")
            case "hostile":
                self.say("\x1b[2J smile \U0001f600 end")
            case "mark":
                mark(argument)
            case "size":
                self.say(f"size {len(argument)}")
            case "secret":
                self.say(f"the secret is {await self.terminal.ask_secret('secret: ')!r}")
            case "say":
                self.say(argument)
            case "notify":
                self.terminal.notify(argument)
            case "bell":
                self.terminal.bell()
            case "fail":
                raise ValueError(argument)
            case _:
                self.say(f"handled {text!r}", "own")


async def main() -> None:
    program = Program()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, program.continued.set)
    try:
        ending = await program.terminal.run()
    except ValueError as error:
        sys.exit(f"failed: {error}")
    except asyncio.CancelledError:
        program.say("ended: CANCELLED")
        raise
    if program.terminal.text():
        program.say(f"left: {program.terminal.text()!r}")
    program.say(f"ended: {ending.name}")


if not is_usable():
    sys.exit("not usable")
run(main)
