"""Several devices of one person, with real programs: a code, words, rooms, a removal, the role handed on."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scenarios.stage import people_at, relay_at
from scenarios.terminal import Terminal, terminal
from scenarios.test_bad_input import chat, clave


async def found(terminal: Terminal, pattern: str) -> str:
    """Wait for a pattern in what is written to a terminal; return what stands for its group."""

    def search() -> re.Match[str] | None:
        return re.search(pattern, terminal.written.decode().replace("\r", ""))

    await terminal.until(lambda: search() is not None, pattern)
    match = search()
    assert match is not None
    return match[1]


async def test_two_screens_show_the_same_words_and_the_new_one_talks(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    async with relay_at(tmp_path) as relay, people_at(relay, tmp_path / "people", "blue") as (blue,):
        await chat("red", relay, home, given="/new friends\n/invite blue\nexit\n")
        room = next(iter(blue.client.invitations())).id
        await blue.client.accept(room)
        async with terminal("-m", "clave_client", "device", "add", CLAVE_HOME=str(home)) as adding:
            await adding.shows("clave device join clave://")
            await adding.shows("compare the words")
            code = await found(adding, r"clave device join (clave://\S+)\n")
            async with terminal(
                *("-m", "clave_client", "device", "join", "--device", "laptop"), CLAVE_HOME=str(other)
            ) as joining:
                await joining.shows("the code that the other device shows:")
                joining.press(code + "\r")
                await joining.shows("compare these words with the other device")
                words = await found(joining, r"and answer there:\nclave: +(\w+ \w+ \w+ \w+)\n")
                assert code not in joining.text
                await adding.shows("do both devices show these words? [yes/no]")
                assert await found(adding, r"these words, too:\nclave: +(\w+ \w+ \w+ \w+)\n") == words
                adding.press("yes\r")
                await joining.shows("this is laptop, a device of red now")
                assert await joining.ended() == 0
            await adding.shows("laptop is your device now")
            assert await adding.ended() == 0
        said = await clave("send", "friends", "from my laptop", home=other)
        assert (said.status, said.err) == (0, "")
        await blue.reads("from my laptop")
        listed = await clave("devices", "--json", home=other)
        listing = {each["name"]: each for each in map(json.loads, listed.out.splitlines())}
        assert {name: (each["is_own"], each["rooms"]) for name, each in listing.items()} == {
            "laptop": (True, 1),
            "main": (False, 1),
        }
        assert "main" in (await clave("device", "remove", "main", home=other)).err
        removed = await clave("device", "remove", "laptop", home=home)
        assert removed.out == "laptop is removed: the relay refuses it from now on\n"
        refused = await clave("send", "friends", "still here?", home=other)
        assert refused.status == 4
        assert "your account removed this device" in refused.err
