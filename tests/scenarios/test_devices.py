"""Several devices of one person, with real programs: a code, words, rooms, a removal, the role handed on."""

from __future__ import annotations

import base64
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


async def paired(home: Path, other: Path, name: str) -> str:
    """Have a device added with all yeses, by lines of JSON; return the code."""
    words = ("-m", "clave_client", "device")
    async with terminal(*words, "add", "--json", CLAVE_HOME=str(home)) as adding:
        code = await found(adding, r'"code": "(\S+?)"')
        async with terminal(
            *words, "join", "--json", "--device", name, "-", CLAVE_HOME=str(other)
        ) as joining:
            await joining.shows("the code that the other device shows")
            joining.press(code + "\r")
            shown = await found(joining, r'"words": \[(.*?)\]')
            assert await found(adding, r'"words": \[(.*?)\]') == shown
            await adding.shows("do both devices show these words? [yes/no]")
            adding.press("y\r")
            assert await found(joining, r'"device": "(\w+)"') == name
            assert await joining.ended() == 0
        assert await adding.ended() == 0
    return code


async def test_what_stops_a_pairing_is_one_line_on_both_screens_and_leaves_nothing(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    words = ("-m", "clave_client", "device")
    async with relay_at(tmp_path) as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
        for how, said in (
            ("no\r", "the other device stopped: the words are not the same, or nobody said so"),
            ("", "the other device stopped: it was interrupted"),
        ):
            async with terminal(*words, "add", "--no-qr", CLAVE_HOME=str(home)) as adding:
                code = await found(adding, r"clave device join (clave://\S+)\n")
                async with terminal(
                    *words, "join", "--device", "laptop", code, CLAVE_HOME=str(other)
                ) as joining:
                    await adding.shows("do both devices show these words? [yes/no]")
                    adding.press("perhaps\r" + how)
                    if not how:
                        adding.interrupt()
                    await joining.shows(said)
                    assert await joining.ended() == 2
                assert await adding.ended() in (1, 130)
            assert not any((other / "profiles").glob("*"))
            assert (await clave("devices", home=home)).out.count("\n") == 1
            late = await clave("device", "join", "--device", "laptop", code, home=other)
            assert (late.status, late.line) == (
                2,
                "no device waits to be paired by this code: it was used, or is over",
            )
        for code, said in (("clave://127.0.0.1/#abc", "cut off"), ("nonsense", "this is no code")):
            wrong = await clave("device", "join", "--device", "laptop", code, home=other)
            assert (wrong.status, said in wrong.line) == (2, True)
        nameless = await clave("device", "join", code, home=other)
        assert nameless.status == 2


async def test_the_role_is_handed_on_and_the_relay_never_saw_a_secret(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    async with relay_at(tmp_path) as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
        code = await paired(home, other, "laptop")
        away = await clave("device", "primary", "laptop", home=home)
        assert away.line == "laptop is not connected; open clave there, then try again"
        passphrase = tmp_path / "passphrase"
        passphrase.write_text("of the backup\n")
        backup = ("backup", "--backup-passphrase-file", str(passphrase))
        told = await clave(*backup, str(tmp_path / "of-laptop.clave"), home=other)
        assert told.line == "it has no account key, so it adds no devices: back up your primary one, too"
        async with terminal("-m", "clave_client", "daemon", CLAVE_HOME=str(other)) as daemon:
            await daemon.until(lambda: True)
            for _ in range(100):
                done = await clave("device", "primary", "laptop", home=home)
                if done.status == 0:
                    break
            assert done.out.startswith("laptop is your primary device now")
            assert "laptop (this one, primary)" in (await clave("account", home=other)).out
            refused = await clave("device", "add", "--no-qr", home=home)
            assert refused.line == "only your primary device adds devices: use laptop"
        told = await clave(*backup, str(tmp_path / "of-laptop-2.clave"), home=other)
        assert told.err == ""
        kept = b"".join(path.read_bytes() for path in relay.data.rglob("*") if path.is_file())
        seed = base64.urlsafe_b64decode(code.partition("#")[2] + "==")[33:49]
        for secret in (seed, seed.hex().encode(), code.encode()):
            assert secret not in kept
            assert secret not in "\n".join([*relay.log, *relay.mirror]).encode()
