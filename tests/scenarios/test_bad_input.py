"""Stories of things done wrong: one clear line, an exit status, nothing lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import ClientError, RelayChanged, UsageError
from scenarios.stage import TIMEOUT, Relay, gather_in, people_at, relay_at


class Ran:
    """A finished `clave`."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def line(self) -> str:
        """The one line it said; anything else is a failure."""
        (line,) = self.err.splitlines()
        assert line.startswith("clave: "), self.err
        return line.removeprefix("clave: ")


async def clave(*words: str, home: Path, given: str = "", environment: dict[str, str] | None = None) -> Ran:
    """Run `clave` as a person would, with `given` on a pipe."""
    changed = {"CLAVE_HOME": str(home), **(environment or {})}
    return await run_program(sys.executable, "-m", "clave_client", *words, given=given, **changed)


async def run_program(*words: str, given: str = "", **environment: str) -> Ran:
    """Run a program with `given` on a pipe."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(given.encode()), TIMEOUT)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def chat(name: str, relay: Relay, home: Path, *words: str, given: str = "") -> Ran:
    return await clave("chat", "--relay", relay.address, "--name", name, *words, home=home, given=given)


async def test_no_relay_there(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        ran = await clave("chat", "--relay", address, "--name", "red", home=tmp_path / "home")
    assert ran.status == 4
    assert ran.line == f"no relay at {address} (connection refused); is it running?"
    again = await clave("chat", "--name", "red", home=tmp_path / "home")
    assert "no profile" in again.line, "a first run that never reached a relay leaves nothing behind"


@pytest.mark.parametrize("host", ["a..b", ".example.org", "x" * 70 + ".org", "\udcff.org"])
async def test_what_cannot_be_a_host(tmp_path: Path, host: str) -> None:
    ran = await clave("chat", "--relay", f"{host}:7878", "--name", "red", home=tmp_path / "home")
    assert ran.status == 2
    assert "cannot be a host's name" in ran.line
    assert "no profile" in (await clave("chat", "--name", "red", home=tmp_path / "home")).line


async def test_something_else_on_the_port(tmp_path: Path) -> None:
    async def banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(banner, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ran = await clave("chat", "--relay", address, "--name", "red", home=tmp_path / "home")
    assert ran.status == 4
    assert "not as a clave relay; check the port" in ran.line


async def test_the_relays_key_changed(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
    ):
        before = relay.fingerprint
        await relay.kill()
        relay.data = tmp_path / "another"
        await relay.start()
        with pytest.raises(AssertionError, match="key changed"):
            await red.sees(events.Connected, lambda event: not event.first_use)
        assert isinstance(red.ended_by, RelayChanged)
        assert before in str(red.ended_by)
        assert relay.fingerprint in str(red.ended_by)
        await red.go()
        ran = await chat("red", relay, tmp_path / "home", given="exit\n")
        assert ran.status == 4
        assert before in ran.line
        assert relay.fingerprint in ran.line
        insisted = await chat("green", relay, tmp_path / "home", "--pin", before, given="exit\n")
        assert insisted.status == 4


async def test_names_that_cannot_be(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        assert (await chat("blue", relay, home, given="exit\n")).status == 0
        for name, words in (
            ("", "empty"),
            ("x" * 33, "at most 32"),
            ("re\x1bd", "invisible character U+001B"),
            ("re\u202ed", "invisible character U+202E"),
            ("../red", "letters, digits"),
            ("re d", "letters, digits"),
        ):
            ran = await chat(name, relay, home, given="exit\n")
            assert ran.status == 2
            assert words in ran.line
        for name in ("b1ue", "BLUE", "bl\u03c5e", "\u042cIue"):
            ran = await chat(name, relay, home, given="exit\n")
            assert ran.status in (2, 4), (name, ran.err)
            assert ran.line
        taken = await chat("blue", relay, tmp_path / "another", given="exit\n")
        assert taken.status == 4
        assert "blue" in taken.line
        free = await chat("blau", relay, tmp_path / "another", given="exit\n")
        assert free.status == 0, "a refused name leaves nothing in the way"


async def test_a_wrong_passphrase(tmp_path: Path) -> None:
    home, right, wrong = tmp_path / "home", tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("wrong horse\n")
    async with relay_at(tmp_path / "relay") as relay:
        made = await chat(
            "red", relay, home, "--passphrase", "--passphrase-file", str(right), given="/new friends\nexit\n"
        )
        assert made.status == 0, made.err
        refused = await chat("red", relay, home, "--passphrase-file", str(wrong))
        assert refused.status == 3
        assert refused.line == "that passphrase is wrong"
        silent = await chat("red", relay, home)
        assert silent.status == 3
        assert "--passphrase-file" in silent.line
        sent = await clave(
            "send", "--name", "red", "--passphrase-file", str(right), "friends", "hello", home=home
        )
        assert (sent.status, sent.err) == (0, "")


async def test_a_profile_that_is_open_or_exposed(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
    ):
        ran = await chat("red", relay, tmp_path / "home")
        assert ran.status == 3
        assert ran.line.startswith(f"process {os.getpid()} holds the profile red and does not answer")
        await red.go()
        red.profile.folder.chmod(0o755)
        exposed = await chat("red", relay, tmp_path / "home")
        assert exposed.status == 3
        assert exposed.line.endswith(f"run: chmod 700 {red.profile.folder}")
        red.profile.folder.chmod(0o700)
        await red.come()


async def test_rooms_and_names_that_are_not_there(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        with pytest.raises(ClientError, match="nobody"):
            await red.client.invite(room, "nobody")
        with pytest.raises(UsageError, match="already"):
            await red.client.invite(room, "red")
        with pytest.raises(UsageError, match="not in that room"):
            await blue.client.send(room, "let me in")
        with pytest.raises(UsageError, match="no room called"):
            blue.client.find_room("friends")
        await red.client.send(room, "all is well")
        await red.go()
        ran = await clave("send", "--name", "red", "nowhere", "hello", home=tmp_path / "home")
        assert ran.status == 2
        assert "no room called nowhere" in ran.line
        await red.come()


async def test_a_whole_conversation_over_pipes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "blue") as (blue,):
        ran = await chat(
            "red", relay, home, given="/new friends\n/invite blue\nhello\n/nonsense\n/help\nexit\n"
        )
        assert ran.status == 0
        assert relay.fingerprint in ran.out
        assert "* there is no /nonsense; /help lists the commands" in ran.out
        assert "/leave" in ran.out
        assert "\x1b" not in ran.out, "no escape sequences without a terminal"
        invited = await blue.sees(events.Invited)
        await blue.client.accept(invited.room)
        await blue.reads("hello")
        many = "".join(f"line {number}\n" for number in range(100))
        sent = await clave("send", "--name", "red", "friends", "-", home=home, given=many)
        assert (sent.status, sent.out, sent.err) == (0, "", "")
        await blue.reads("line 99")
        assert blue.texts(invited.room)[1:] == many.splitlines()


async def test_tail_gives_one_json_object_a_line_until_interrupted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red", "blue") as (red, blue):
        room = await gather_in("friends", red, blue)
        await red.client.send(room, "earlier\n\x1b[31mred")
        await blue.reads("earlier\n<U+001B>[31mred")
        await blue.go()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "clave_client", "tail", "friends", "--json", "--name", "blue"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "CLAVE_HOME": str(home)},
        )
        assert process.stdout is not None
        first = json.loads(await asyncio.wait_for(process.stdout.readline(), TIMEOUT))
        assert (first["from"], first["text"]) == ("red", "earlier\n<U+001B>[31mred")
        await red.client.send(room, "live")
        second = json.loads(await asyncio.wait_for(process.stdout.readline(), TIMEOUT))
        assert (second["from"], second["text"], second["room"]) == ("red", "live", "friends")
        assert second["seq"] > first["seq"]
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert (process.returncode, out, err) == (130, b"", b"")
        await blue.come()


@pytest.mark.parametrize("words", [("chat",), ("tail", "friends"), ("send", "friends", "-")])
async def test_an_interrupt_is_no_traceback(tmp_path: Path, words: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "clave_client", *words, "--name", "red"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "CLAVE_HOME": str(home)},
        )
        await relay.shows(lambda lines: sum(line.endswith(("registered", "arrived")) for line in lines) == 2)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert process.returncode == 130
        assert err == b""


@pytest.mark.parametrize("command", ["chat", "send", "tail", "info", "demo"])
async def test_every_help_has_an_example(tmp_path: Path, command: str) -> None:
    ran = await clave(command, "--help", home=tmp_path)
    assert ran.status == 0
    assert f"Example: clave {command}" in ran.out
    top = await clave("--help", home=tmp_path)
    assert command in top.out
    assert "Example: clave chat --relay" in top.out


async def test_unknown_words_are_a_usage_error(tmp_path: Path) -> None:
    for words in (("chatt",), ("chat", "--nonsense"), ("send", "friends")):
        ran = await clave(*words, home=tmp_path)
        assert ran.status == 2
        assert "Usage: clave" in ran.err


async def test_secrets_are_not_taken_from_the_command_line(tmp_path: Path) -> None:
    ran = await clave("chat", "--help", home=tmp_path)
    assert "--passphrase-file" in ran.out
    assert "--token-file" in ran.out
    assert "--token " not in ran.out
    assert "--passphrase TEXT" not in ran.out


async def test_somebody_who_never_came_has_no_profile(tmp_path: Path) -> None:
    ran = await clave("tail", "friends", home=tmp_path / "home")
    assert ran.status == 2
    assert "start with: clave chat --relay" in ran.line


async def test_a_change_the_relay_would_not_take_leaves_the_room_as_it_was(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        link = red.client.sync.transport
        limit, link.connection._send_limit = link.connection._send_limit, 5_000
        with pytest.raises(ClientError, match="the relay would not take this change"):
            await red.client.invite(room, "blue")
        link.connection._send_limit = limit
        await red.client.send(room, "still mine")
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)


async def test_a_line_without_end_takes_no_memory_and_ends_nothing(tmp_path: Path) -> None:
    measured = (
        "import resource, subprocess, sys;"
        "ran = subprocess.run([sys.executable, '-m', 'clave_client', *sys.argv[1:]]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(ran.returncode)"
    )

    async def send(*pieces: bytes) -> tuple[int, int, str]:
        """Pipe into `clave send`; return its exit status, its peak memory in KiB, and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", measured, "send", "friends", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "CLAVE_HOME": str(tmp_path / "home"), "CLAVE_NAME": "red"},
        )
        assert process.stdin is not None
        for piece in pieces:
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.close()
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert process.returncode is not None
        return process.returncode, int(out), err.decode()

    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        await gather_in("friends", red, blue)
        await red.go()
        status, usual, _ = await send(b"first\n")
        assert status == 0
        megabyte = b"x" * 2**20
        status, peak, said = await send(b"before\n", *[megabyte] * 300, b"\nafter\n", *[megabyte] * 10)
        await blue.reads("after")
        assert status == 2
        assert said.splitlines() == [
            "clave: line 2 has more than 65536 bytes; it was not sent",
            "clave: line 4 has more than 65536 bytes; it was not sent",
            "clave: 2 of 4 lines were too long and were not sent",
        ]
        assert peak - usual < 20 * 1024
        assert [event.text for event in blue.happened if isinstance(event, events.Message)][-2:] == [
            "before",
            "after",
        ]
        await red.come()


async def test_a_file_without_a_line_end_takes_no_memory(tmp_path: Path) -> None:
    endless = Path("/dev/zero")
    words = ("chat", "--relay", "127.0.0.1:1", "--name", "red", "--token-file", str(endless))
    ran = await clave(*words, home=tmp_path / "home")
    assert (ran.status, ran.line) == (2, "the first line of /dev/zero has more than 4096 characters")
