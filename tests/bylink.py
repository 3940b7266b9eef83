"""Makes docs/by-link.md: from nothing to a verified conversation by one line, on a machine without clave.

A virtual environment without packages stands for the machine; everything else is real. It takes two minutes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from clave_client.net.address import RelayAddress
from clave_client.net.join_link import JoinLink
from evening import Evening, Person, normalize
from scenarios.stage import TIMEOUT, Relay, relay_at
from scenarios.terminal import Terminal, terminal

_ROOT = Path(__file__).parents[1]
PAGE = _ROOT / "docs" / "by-link.md"

_BEGINNING = """
Made by `make by-link` from a real run: a relay, red, who makes a link and goes, and green, whose machine has
Python and nothing of clave. Keys, ids and links are replaced; seconds are of the machine this ran on.
"""

_REFUSED = """
Red makes one link after the other, and white tries each. `LINK` is another one each time; a link that was
cut off, mistyped or made by a newer version is refused before anything is stored or sent.
"""

_LIES = """
Attacks by a relay or a member that does not keep to the protocol are tests; each test shows what becomes of
one.
"""

_TESTS = (
    (
        "offers an old room or a copy of it to a joiner",
        "test_until_the_inviter_speaks_it_is_said_before_each_message",
    ),
    ("offers a room in which the link's maker is not", "test_a_link_whose_maker_is_not_there_leads_nowhere"),
    ("gives the link's maker another key", "test_an_inviter_with_another_key_than_the_known_one_is_refused"),
    ("stands in for the relay of the link", "test_a_new_profile_meets_the_relay_of_its_link_only"),
    ("spoils the offer of its room, as a member", "test_an_offer_that_a_member_spoiled_is_passed_over"),
    ("commits before a joiner is confirmed", "test_of_two_who_join_at_once_the_second_joins_again_by_itself"),
    ("joins without a link", "test_nobody_joins_without_a_link"),
    ("joins by a link's public keys only", "test_nobody_joins_by_a_link_that_they_do_not_hold"),
    ("uses a proof again, elsewhere", "test_a_proof_is_of_one_room_epoch_device_and_name"),
    ("joins by a used link in another's wake", "test_a_link_lets_in_as_many_as_it_says"),
    ("drops the uses of who joined", "test_a_commit_that_takes_out_who_joined_has_to_lower_the_uses"),
    ("joins as somebody who is banned", "test_the_banned_do_not_join_and_a_removal_ends_all_links"),
    ("joins under a name like a member's", "test_nobody_joins_under_a_name_that_looks_like_a_members"),
    ("takes a member's place", "test_who_holds_a_link_cannot_take_a_members_place"),
    ("lets a guest in by another link than it used", "test_nobody_changes_by_which_link_they_joined"),
    (
        "makes a link as a guest, or in another's name",
        "test_nobody_changes_a_link_or_makes_one_in_anothers_name",
    ),
)
"""What an attacker does, and the test that does it."""


class Stopwatch:
    """How long the machine took, and how many keys were pressed."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []
        self.keys = 0

    @asynccontextmanager
    async def times(self, what: str) -> AsyncIterator[None]:
        began = time.monotonic()
        yield
        self.seconds.append((what, time.monotonic() - began))


@asynccontextmanager
async def chat(home: Path, *words: str) -> AsyncIterator[Person]:
    """Run a clave with pipes for a terminal, and have it end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clave_client", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CLAVE_HOME": str(home), "NO_COLOR": "1"},
    )
    try:
        person = Person("red", process)
        yield person
        await person.leave()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def clave(home: Path, *words: str) -> list[str]:
    """Run a subcommand; return what it printed, errors last."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clave_client", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CLAVE_HOME": str(home), "NO_COLOR": "1"},
    )
    out, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
    return [*out.decode().splitlines(), *err.decode().splitlines()]


async def install(watch: Stopwatch, folder: Path) -> Path:
    """Install clave where nothing of it is; return the program."""
    making = await asyncio.create_subprocess_exec(sys.executable, "-m", "venv", str(folder))
    assert await making.wait() == 0
    async with watch.times("pip install ."):
        pip = (
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
            str(_ROOT),
        )
        installing = await asyncio.create_subprocess_exec(*pip)
        assert await installing.wait() == 0
    return folder / "bin" / "clave"


async def first_link(evening: Evening, relay: Relay, home: Path) -> str:
    """Have red make a room and a link, and go."""
    evening.note(f"$ clave chat --relay {relay.address} --name red")
    async with chat(home, "chat", "--relay", relay.address, "--name", "red") as red:
        evening.people = {"red": red}
        await red.shows("pinned from now on")
        await evening.types("red", "/new friends", red="friends is open")
        await evening.types("red", "/invite", red="clave join clave://")
        line = next(each for each in red.lines if "clave join clave://" in each)
        evening.note("red> exit")
    return line[line.index("clave://") :].strip()


def see(evening: Evening, screen: Terminal) -> None:
    """Write a screen."""
    lines = [line for line in screen.text.splitlines() if line]
    evening.page += [*(f"    {line}" for line in lines), ""]


async def conversation(evening: Evening, watch: Stopwatch, program: Path, home: Path, link: str) -> None:
    """Have green join and speak, and red come back; see that both read the same words."""
    start = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    words = ("-c", start, str(program), "join", link)
    watch.keys += 2  # a paste and Enter
    began = asyncio.get_running_loop().time()
    async with terminal(*words, CLAVE_HOME=str(home / "green")) as green:
        async with watch.times("until `clave join` asks for the name"):
            await green.shows("your name there:")
        green.press("green\r")
        watch.keys += len("green\r")
        async with watch.times("registering and joining, until the prompt of the room"):
            await green.shows("friends>")
            await green.prompts("friends>")
        hello = "hello! I am at the station"
        green.press(f"{hello}\r")
        watch.keys += len(hello) + 1
        async with watch.times("until the first message is in the log"):
            await green.shows(f"green: {hello}")
        assert asyncio.get_running_loop().time() - began < TIMEOUT
        evening.tell("Nobody else is there. What green's terminal shows after the name and a message:")
        see(evening, green)
        evening.tell(
            "Red comes back. They call each other, both type `/verify all`, and read out the same words:"
        )
        evening.note("$ clave chat")
        async with chat(home / "red", "chat") as red:
            evening.people = {"red": red}
            await red.shows(hello)
            await red.shows("joined by red's link")
            await green.shows("red let this device into friends")
            await evening.types("red", "/room friends", red="talking in friends")
            await green.prompts("friends>")
            await green.enter("/verify all")
            await green.shows("/verify all yes")
            await green.prompts("friends>")
            await evening.types("red", "/verify all", red="/verify all yes")
            assert code(red.lines) == code(green.text.splitlines())
            await green.enter("/verify all yes")
            await green.shows("verified: red")
            watch.keys += len("/verify all\r/verify all yes\r")
            await evening.types("red", "/verify all yes", red="verified: green")
            red.type("stay there, I come and get you")
            await green.shows("stay there")
            evening.note("red> stay there, I come and get you")
            await green.prompts("friends>")
            evening.tell("And green's terminal:")
            see(evening, green)
        await green.enter("exit")
        assert await green.ended() == 0


def code(lines: Sequence[str]) -> list[str]:
    """Return the twelve words that were shown."""
    at = max(place for place, line in enumerate(lines) if "code of this moment:" in line)
    return [*lines[at].split()[-6:], *lines[at + 1].split()[-6:]]


async def made_link(home: Path, room: str, *options: str) -> str:
    """Have red make a link; return it."""
    line, *_ = await clave(home / "red", "invite", room, *options)
    return line[line.index("clave://") :].strip()


async def refusals(evening: Evening, folder: Path) -> None:
    """Try links that let nobody in, while red is at a window."""
    home = folder / "home"

    async def tries(what: str, link: str) -> None:
        said = await clave(home / "white", "join", "--name", "white", link)
        evening.page += [f"    # {what}", "    $ clave join --name white LINK", f"    {said[-1]}"]

    async with chat(home / "red", "chat") as red, relay_at(folder / "impostor") as impostor:
        for room in ("used", "revoked", "removed", "short"):
            red.type(f"/new {room}")
            await red.shows(f"{room} is open")
        once = await made_link(home, "used", "--uses", "1")
        short, made = await made_link(home, "short", "--expires", "1m"), time.monotonic()
        revoked = await made_link(home, "revoked")
        removed = await made_link(home, "removed")
        whole = JoinLink.parse(once)
        there = JoinLink.make(RelayAddress.parse(impostor.address), whole.pin, bytes(32), whole.seed)
        await tries("cut off", once[:-9])
        await tries("mistyped", once[:-2] + ("AA" if once[-2:] != "AA" else "BB"))
        await tries("of a later version", of_later_version(whole))
        await tries("another relay answers", there.text)
        await tries("nobody made it", JoinLink.make(whole.address, whole.pin, bytes(32)).text)
        await clave(home / "blue", "join", "--name", "blue", once)
        await red.shows("[used] * blue (unverified) joined by red's link")
        await tries("used up", once)
        await clave(home / "red", "revoke", "revoked", "all")
        await tries("revoked", revoked)
        await clave(home / "blue", "join", removed)
        await red.shows("[removed] * blue (unverified) joined by red's link")
        red.type("/room removed")
        await red.shows("talking in removed")
        red.noted = len(red.lines)
        evening.people = {"red": red}
        evening.page.append("    # somebody was removed")
        await evening.types("red", "/remove blue", red="link")
        await tries("ended by that", removed)
        await asyncio.sleep(max(0.0, made + 61 - time.monotonic()))
        await tries("expired", short)
    evening.page.append("")


def of_later_version(link: JoinLink) -> str:
    """Return a link as a later version might make it."""
    whole = bytes((9,)) + link.pin + link.account + link.seed
    label = b"clave 1 join link\0" + str(link.address).encode() + b"\0"
    whole += hashlib.sha256(label + whole).digest()[:4]
    return f"clave://{link.address}/#{base64.urlsafe_b64encode(whole).rstrip(b'=').decode()}"


async def page() -> str:
    """Play it all; return the page."""
    with tempfile.TemporaryDirectory() as name:
        folder, watch = Path(name), Stopwatch()
        async with relay_at(folder / "relay") as relay:
            evening = Evening(relay, {})
            evening.page += ["# By one line", ""]
            evening.tell(_BEGINNING)
            link = await first_link(evening, relay, folder / "home" / "red")
            program = await install(watch, folder / "machine")
            await conversation(evening, watch, program, folder / "home", link)
            _tell_times(evening, watch)
            evening.tell(_REFUSED, title="What lets nobody in")
            await refusals(evening, folder)
        evening.tell(_LIES, title="What liars try")
        tests = "".join(path.read_text() for path in (_ROOT / "tests" / "client").rglob("test_link*.py"))
        assert all(f"def {test}(" in tests for _, test in _TESTS)
        evening.page += [
            "| attempt | test |",
            "|---|---|",
            *(f"| {what} | `{test}` |" for what, test in _TESTS),
        ]
        text = normalize("\n".join(line.rstrip() for line in evening.page), relay)
        text = re.sub(r"(?m)^(    )\d\d:\d\d ", r"\g<1>20:15 ", text)
        text = re.sub(r"until \d{4}-\d\d-\d\d \d\d:\d\d", "until 2026-12-06 20:15", text)
        return re.sub(r"#[\w-]{60,}", "#...", text) + "\n"


def _tell_times(evening: Evening, watch: Stopwatch) -> None:
    whole = sum(seconds for _, seconds in watch.seconds[1:])
    evening.tell("How long the machine took, without the time to think and type:", title="Keys and seconds")
    evening.page += ["| what | seconds |", "|---|---|"]
    evening.page += [f"| {what} | {seconds:.1f} |" for what, seconds in watch.seconds]
    evening.page += [f"| from the line to the first message | {whole:.1f} |", ""]
    evening.tell(f"Green pressed {watch.keys} keys, a paste being one, messages and `/verify` included.")


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(page()), encoding="utf-8")
