"""Makes docs/evening.md: an evening of three people in line mode, at a real relay.

What differs from run to run is replaced: times, keys, ids. It takes about 20 seconds.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from scenarios.stage import TIMEOUT, Relay, relay_at

PAGE = Path(__file__).parents[1] / "docs" / "evening.md"

_WIDTH = 110

_BEGINNING = """
Three people at `clave chat`, made by `make evening` from a real run. After `red>` stands what red types;
below it, what all three are shown then. Times, keys and ids are replaced.
"""

_END = """
These lines are all that the relay shows its operator: who sent how much to which room, and when. Whatever
is said, or done to what was said, is an application entry: a message, an answer, an edit, a deletion, a
reaction, a receipt. Lengths are padded, but several receipts in one report are longer than a short message.
What all have to agree on, such as `/disappear`, is a rekey and its confirmation.
"""

RECEIPT_SECONDS = 5.0
"""Receipts are gathered that long (clave_client/sync/reporting.py)."""


class Person:
    """Somebody at `clave chat` on pipes; `lines` is all that was shown."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.lines: list[str] = []
        self.noted = 0
        self._process = process
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip("\n"))
            self._news.set()

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def shows(self, text: str) -> str:
        """Wait for a line with `text` that is not in the transcript yet; return it."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    found = next((line for line in self.lines[self.noted :] if text in line), None)
                    if found is not None:
                        return found
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError("\n".join((f"{self.name} never saw {text!r}:", *self.lines))) from None

    async def leave(self) -> None:
        self.type("exit")
        await asyncio.wait_for(self._process.wait(), TIMEOUT)
        await self._reading


class Evening:
    """The transcript of what people type, and of what each of them is shown then."""

    def __init__(self, relay: Relay, people: Mapping[str, Person]) -> None:
        self.relay = relay
        self.people = people
        self.page: list[str] = []

    def tell(self, text: str, *, title: str = "") -> None:
        """Write a paragraph between the lines."""
        if self.page and self.page[-1]:
            self.page.append("")
        self.page += [f"## {title}", ""] if title else []
        self.page += [*textwrap.wrap(text.strip(), _WIDTH), ""]

    async def types(self, name: str, line: str, **then: str) -> None:
        """Have somebody type a line; write it, and what is shown once everyone in `then` is shown that."""
        self.people[name].type(line)
        for other, text in then.items():
            await self.people[other].shows(text)
        self.note(f"{name}> {line}")

    async def types_until(self, name: str, line: str, text: str) -> None:
        """Have somebody type a line until `text` is shown; write only the last of it."""
        person = self.people[name]
        async with asyncio.timeout(TIMEOUT):
            while True:
                person.type(line)
                await asyncio.sleep(0.5)
                if any(text in shown for shown in person.lines[person.noted :]):
                    break
                person.noted = len(person.lines)
        self.note(f"{name}> {line}")

    def number(self, name: str, text: str) -> int:
        """Return the number of the message that somebody was shown, with numbers."""
        found = [re.match(r"\[(\d+)\]", line) for line in self.people[name].lines if text in line]
        return max(int(match[1]) for match in found if match is not None)

    def note(self, typed: str) -> None:
        """Write what was typed, and what everyone was shown since the last time."""
        self.page.append(f"    {typed}")
        for person in self.people.values():
            self.page += [f"    {person.name:>9} | {shown}" for shown in person.lines[person.noted :]]
            person.noted = len(person.lines)


async def story(evening: Evening) -> None:
    types = evening.types
    evening.tell(
        "Red opens a room and asks the others in; `/accept` takes the only open invitation.",
        title="Invitations",
    )
    await types("red", "/new friends", red="friends is open")
    await types("red", "/invite blue", red="compare with", blue="invites you")
    await types("blue", "/accept", blue="talking in friends", red="joined")
    await types("red", "/invite green", red="compare with", green="invites you", blue="invited green")
    await types("green", "/accept", green="talking in friends", red="joined", blue="joined")

    evening.tell(
        "What is typed is Markdown; `@blue` is a mention of that account, not of its name. `/numbers` shows a"
        " number before each message, by which it can be named.",
        title="Answers, corrections, reactions",
    )
    await types("green", "/numbers", green="from now on")
    await types("red", "dinner at **nine**? @blue brings the wine", blue="nine", green="nine")
    await types("blue", "/reply which one, the read or the white?", red="which one", green="which one")
    correction = "/edit which one, the *red* or the white?"
    await types("blue", correction, blue="edited", red="edited", green="edited")
    await types("green", "teh red", red="teh", blue="teh")
    await types("green", "/delete", red="deleted", blue="deleted", green="deleted")
    dinner = evening.number("green", "nine")
    which = evening.number("green", "which one")
    await types("green", f"/reply {which} the red, please", red="the red, please", blue="the red, please")
    await types("green", f"/react :tada: {dinner}", red="reacted", blue="reacted", green="reacted")
    await types("blue", f"/react 👍 {dinner}", red="reacted", blue="reacted", green="reacted")
    await types("blue", f"/unreact {dinner}", red="took", blue="took", green="took")
    evening.tell("Was that message not another one before? `/show` has all there is to know of it.")
    await types("green", f"/show {which}", green="which one, the red or")

    evening.tell("Who brings the wine, again?")
    await types("green", "/search wine", green="/jump N")
    await types("green", "/jump 1", green="the red, please")

    evening.tell(
        "The time of such a message runs from when it is read, at each reader; then it is deleted from the"
        " store.",
        title="Messages that disappear",
    )
    await types("red", "/timed 2s the door code is 1234", blue="1234", green="1234")
    await types("blue", "/history 1", blue="1234")
    evening.tell("Two seconds later:")
    await asyncio.sleep(2.2)
    await types("blue", "/history 1", blue="the red, please")
    evening.tell("An admin can have that for all that is said in a room, until it is ended:")
    await types("red", "/disappear 8h", red="8 hours", blue="8 hours", green="8 hours")
    await types("red", "see you", blue="see you", green="see you")
    await types("red", "/disappear off", red="kept", blue="kept", green="kept")

    evening.tell(
        "That something was delivered is told in small rooms, after five seconds and together; what was read"
        " is told by those who want that, here by blue.",
        title="Received and read",
    )
    await types("blue", "/receipts on", blue="from now on")
    await types("red", "who washes up?", blue="washes", green="washes")
    await asyncio.sleep(RECEIPT_SECONDS)
    await evening.types_until("red", "/show", "delivered to 2 of 2, read by 1")

    evening.tell(
        "`/dm` finds the room between two people, or makes it; nobody else can be asked in. Red gets receipts"
        " there once blue has compared red's key over another channel.",
        title="Two people",
    )
    await types("blue", "/dm red", blue="talking in", red="invites you")
    await types("red", "/dm blue", red="talking in", blue="joined")
    await types("blue", "/fingerprint red", blue="compare it")
    await types("blue", "/verify red", blue="is verified")
    await types("red", "green's birthday is on Friday", blue="Friday")
    await asyncio.sleep(RECEIPT_SECONDS)
    await evening.types_until("red", "/show", "delivered to 1 of 1")
    await types("blue", "/reply I know. Half each?", red="Half each")
    await types("red", "/invite green", red="between two people")
    await types("red", "/room friends", red="talking in friends")
    await types("red", "good night!", green="good night", blue="good night")


def _numbered(pattern: str, word: str, text: str) -> str:
    """Replace what matches by a word and a number: the same for the same."""
    found: dict[str, str] = {}
    return re.sub(pattern, lambda match: found.setdefault(match[0], f"{word}{len(found) + 1}"), text)


def normalize(text: str, relay: Relay) -> str:
    """Replace what differs from run to run."""
    text = text.replace(relay.address, "127.0.0.1:7878")
    text = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "2026-11-28 20:15:00", text)
    text = re.sub(
        r"\b[A-Z][a-z]+day \d+ [A-Z][a-z]+ \d{4} \d\d:\d\d\b", "Saturday 28 November 2026 20:15", text
    )
    text = re.sub(r"(\| (?:\[\w+\] )?)\d\d:\d\d ", r"\g<1>20:15 ", text)
    text = _numbered(r"\b127\.0\.0\.1:(?!7878\b)\d+", "127.0.0.1:5000", text)
    text = _numbered(r"\broom [0-9a-f]{8}\b", "room ROOM-", text)
    text = re.sub(r"\.\.[0-9a-f]{16}\b", "..CIPHERTEXT", text)
    text = _numbered(r"\b([0-9a-f]{4} ){15}[0-9a-f]{4}\b", "CERTIFICATE-", text)
    text = _numbered(r"\b([a-z2-7]{4} ){7}[a-z2-7]{4}\b", "KEY-", text)
    return _numbered(r"\b(\d{5} ){11}\d{5}\b", "DIGITS-", text)


@asynccontextmanager
async def person_at(relay: Relay, home: Path, name: str) -> AsyncIterator[Person]:
    """Run `clave chat` for somebody, with pipes for a terminal."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clave_client", "chat", "--relay", relay.address, "--name", name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CLAVE_HOME": str(home), "NO_COLOR": "1"},
    )
    try:
        person = Person(name, process)
        await person.shows("no rooms yet")
        await person.shows("pinned from now on")
        yield person
        await person.leave()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def page() -> str:
    """Spend the evening; return the page."""
    with tempfile.TemporaryDirectory() as folder:
        async with relay_at(Path(folder) / "relay") as relay:
            async with AsyncExitStack() as stack:
                people: dict[str, Person] = {}
                evening = Evening(relay, people)
                evening.page += ["# An evening", ""]
                evening.tell(_BEGINNING)
                for name in ("red", "blue", "green"):
                    person = person_at(relay, Path(folder) / "home", name)
                    people[name] = await stack.enter_async_context(person)
                    evening.note(f"$ clave chat --relay {relay.address} --name {name}")
                await story(evening)
            evening.tell(_END, title="What the relay saw of it")
            evening.page += [f"    {line}" for line in relay.mirror]
            return normalize("\n".join(line.rstrip() for line in evening.page), relay) + "\n"


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(page()), encoding="utf-8")
