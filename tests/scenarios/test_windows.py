"""Stories of one profile in many processes: they share it, outlive its owner, and do nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clave_client import events
from clave_client.store.folders import SOCKET_NAME, profile_folder
from clave_host.local_sockets import bind_private
from scenarios.stage import TIMEOUT, Relay, Somebody, people_at, relay_at
from scenarios.test_bad_input import clave


@asynccontextmanager
async def running(*words: str, home: Path, pipe: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `clave` beside the test, and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clave_client", *words, "--name", "red"),
        stdin=asyncio.subprocess.PIPE if pipe else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CLAVE_HOME": str(home)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def friends(tmp_path: Path) -> AsyncIterator[tuple[Relay, Somebody, bytes, Path]]:
    """Enter red's profile, which no process holds, and blue, who is in a room with red."""
    home = tmp_path / "home"
    limits = ("--account-rate", "1000", "--address-rate", "1000")
    async with relay_at(tmp_path / "relay", *limits) as relay, people_at(relay, home, "blue") as (blue,):
        made = await clave(
            *("chat", "--relay", relay.address, "--name", "red"),
            home=home,
            given="/new friends\n/invite blue\nexit\n",
        )
        assert made.status == 0, made.err
        room = (await blue.sees(events.Invited)).room
        await blue.client.accept(room)
        yield relay, blue, room, home


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), TIMEOUT)).decode().rstrip("\n")


HELLO = '{"jsonrpc":"2.0","id":1,"method":"hello","params":{"rpc":2}}'


async def holds(home: Path, daemon: asyncio.subprocess.Process) -> None:
    """Wait until `daemon` owns red's profile and answers."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            ran = await clave("rpc", "--name", "red", home=home, given=HELLO)
            if ran.out and json.loads(ran.out)["result"]["process"] == daemon.pid:
                return


async def test_chat_send_and_tail_work_on_one_profile_at_once(tmp_path: Path) -> None:
    async with (
        friends(tmp_path) as (_, blue, room, home),
        running("chat", home=home, pipe=True) as chat,
        running("tail", "friends", "--json", "-n", "100", home=home) as tail,
    ):
        assert chat.stdin is not None
        chat.stdin.write(b"from the chat\n")
        await blue.reads("from the chat")
        sent = await clave("send", "--name", "red", "friends", "from a script", home=home)
        assert (sent.status, sent.err) == (0, "")
        await blue.reads("from a script")
        await blue.client.send(room, "an answer")
        told = [json.loads(await line_of(tail))["text"] for _ in range(3)]
        assert told == ["from the chat", "from a script", "an answer"]
        chat.stdin.write(b"exit\n")
        assert await asyncio.wait_for(chat.wait(), TIMEOUT) == 0
        sent = await clave("send", "--name", "red", "friends", "after the chat", home=home)
        assert sent.status == 0
        assert json.loads(await line_of(tail))["text"] == "after the chat"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_window_takes_over_when_the_owner_is_ended(tmp_path: Path, how: signal.Signals) -> None:
    async with friends(tmp_path) as (_, blue, room, home), running("daemon", home=home) as daemon:
        await holds(home, daemon)
        async with running("tail", "friends", "--json", home=home) as tail:
            await blue.client.send(room, "one")
            assert json.loads(await line_of(tail))["text"] == "one"
            daemon.send_signal(how)
            await daemon.wait()
            await blue.client.send(room, "two")
            assert json.loads(await line_of(tail))["text"] == "two"
            await holds(home, tail)


async def test_a_long_pipe_is_sent_once_although_its_owners_are_killed(tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(300)]
    async with friends(tmp_path) as (_, blue, room, home), running("daemon", home=home) as daemon:
        await holds(home, daemon)
        async with running("daemon", home=home) as second:
            sending = asyncio.create_task(
                clave("send", "--name", "red", "friends", "-", home=home, given="\n".join(lines) + "\n")
            )
            await blue.reads("line 20")
            daemon.kill()
            await blue.reads("line 120")
            second.kill()
            sent = await sending
        assert (sent.status, sent.err) == (0, "")
        await blue.reads("line 299")
        said = Counter(blue.texts(room))
        assert [said[line] for line in lines] == [1] * 300
        assert [text for text in blue.texts(room) if text.startswith("line")] == lines


async def test_an_owner_that_is_stopped_is_named_and_not_robbed(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, _, home), running("daemon", home=home) as daemon:
        await holds(home, daemon)
        daemon.send_signal(signal.SIGSTOP)
        try:
            for words in (("send", "friends", "hello"), ("rooms",), ("tail", "friends")):
                ran = await clave(*words, "--name", "red", home=home)
                assert ran.status == 3
                assert ran.line.startswith(f"process {daemon.pid} holds the profile red and does not answer")
        finally:
            daemon.send_signal(signal.SIGCONT)
        assert (await clave("send", "--name", "red", "friends", "hello", home=home)).status == 0
        await blue.reads("hello")
        assert blue.shown() == ["hello"]


async def test_a_message_without_the_relay_is_kept_said_so_and_goes_out(tmp_path: Path) -> None:
    async with friends(tmp_path) as (relay, blue, room, home):
        await blue.go()
        await relay.kill()
        sent = await clave("send", "--name", "red", "--wait", "0.2", "friends", "kept", home=home)
        assert (sent.status, sent.out) == (5, "")
        assert sent.line.startswith("the message waits in the outbox")
        lines = await clave(
            "send", "--name", "red", "--wait", "0.2", "friends", "-", home=home, given="a\nb\n"
        )
        assert lines.status == 5
        assert lines.line.startswith("2 messages wait in the outbox")
        listed = await clave("rooms", "--name", "red", home=home)
        assert "(3 waiting to be sent)" in listed.out
        await relay.start()
        await blue.come()
        again = await clave("send", "--name", "red", "friends", "last", home=home)
        assert again.status == 0, again.err
        await blue.reads("last")
        assert blue.texts(room) == ["kept", "a", "b", "last"]


async def test_a_repeated_send_with_an_id_is_one_message(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, room, home):
        for _ in range(3):
            ran = await clave("send", "--name", "red", "--id", "job 7", "friends", "done", home=home)
            assert ran.status == 0
        for _ in range(2):
            ran = await clave(
                "send", "--name", "red", "--id", "log", "friends", "-", home=home, given="a\nb\n"
            )
            assert ran.status == 0
        other = await clave("send", "--name", "red", "--id", "job 7", "friends", "else", home=home)
        assert other.status == 2
        assert "was used for another request" in other.line
        await blue.reads("b")
        assert blue.texts(room) == ["done", "a", "b"]


async def test_a_line_too_long_is_refused_alone(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, room, home):
        given = "\ufefffirst\n\xa0\n" + "x" * 70_000 + "\nlast\n"
        ran = await clave("send", "--name", "red", "friends", "-", home=home, given=given)
        assert ran.status == 2
        assert "clave: line 3 has more than 65536 bytes; it was not sent" in ran.err
        await blue.reads("last")
        assert blue.texts(room) == ["first", "last"]


async def test_being_removed_is_a_line_and_a_status(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, _, home):
        room = (await blue.client.create_room("blues")).id
        await blue.client.invite(room, "red")
        accepted = await clave("chat", "--name", "red", home=home, given="/accept blues\nexit\n")
        assert accepted.status == 0
        async with running("tail", "blues", home=home) as tail:
            await blue.client.send(room, "hello")
            assert (await line_of(tail)).endswith("blue (unverified): hello")
            await blue.client.remove(room, "red")
            _, err = await asyncio.wait_for(tail.communicate(), TIMEOUT)
            assert tail.returncode == 6
            assert err.decode().splitlines()[-1] == "clave: blue (unverified) removed you from blues"


async def test_tail_shows_as_many_lines_as_asked_for(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, room, home):
        for n in range(20):
            await blue.client.send(room, f"text {n}")
        async with running("tail", "friends", "-n", "3", home=home) as tail:
            first = [(await line_of(tail)).rpartition(": ")[2] for _ in range(3)]
            assert first == ["text 17", "text 18", "text 19"]
        seq = blue.client.history(room)[9].seq
        async with running("tail", "friends", "--after", str(seq), home=home) as tail:
            after = [(await line_of(tail)).rpartition(": ")[2] for _ in range(10)]
            assert after == [f"text {n}" for n in range(10, 20)]


async def test_the_first_exchange_carries_the_versions_and_sigterm_ends_a_daemon(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, _, _, home), running("daemon", home=home) as daemon:
        await holds(home, daemon)
        socket = home / "profiles" / "red" / "socket"
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"rpc":99}}\n')
        owner = json.loads(await reader.readline())["result"]
        assert owner["rpc"] == 2
        assert owner["store"] >= 7
        writer.close()
        daemon.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(daemon.wait(), TIMEOUT) == 143


async def test_a_passphrase_file_protects_a_new_profile_and_is_refused_by_an_open_one(tmp_path: Path) -> None:
    home, passphrase = tmp_path / "home", tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    options = ("--passphrase-file", str(passphrase))
    async with relay_at(tmp_path / "relay") as relay:
        words = ("chat", "--relay", relay.address, "--name")
        made = await clave(*words, "red", *options, home=home, given="exit\n")
        assert made.status == 0, made.err
        assert "passphrase" in (await clave("rooms", "--name", "red", home=home)).line
        await clave(*words, "blue", home=home, given="exit\n")
        refused = await clave("rooms", "--name", "blue", *options, home=home)
        assert refused.status == 2
        assert refused.line == "the profile blue has no passphrase; leave --passphrase-file out"


async def test_a_pipe_ends_at_the_first_refusal_with_the_status_of_it(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, _, home):
        room = (await blue.client.create_room("blues")).id
        await blue.client.invite(room, "red")
        await clave("chat", "--name", "red", home=home, given="/accept blues\nexit\n")
        async with running("send", "blues", "-", home=home, pipe=True) as sending:
            assert sending.stdin is not None
            sending.stdin.write(b"first\n")
            await blue.reads("first")
            await blue.client.remove(room, "red")
            with contextlib.suppress(ConnectionError):
                while sending.returncode is None:
                    sending.stdin.write(b"more\n")
                    await sending.stdin.drain()
                    await asyncio.sleep(0.01)
            assert await asyncio.wait_for(sending.wait(), TIMEOUT) == 6
            assert sending.stderr is not None
            assert b"you are no longer in blues" in await sending.stderr.read()


async def test_a_window_without_the_key_stays_when_another_takes_over(tmp_path: Path) -> None:
    home, passphrase = tmp_path / "home", tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    options = ("--passphrase-file", str(passphrase))
    async with relay_at(tmp_path / "relay") as relay:
        words = ("chat", "--relay", relay.address, "--name", "red")
        await clave(*words, *options, home=home, given="/new friends\nexit\n")
        async with running("daemon", *options, home=home) as daemon:
            await holds(home, daemon)
            async with (
                running("tail", "friends", home=home) as keyless,
                running("daemon", *options, home=home) as second,
            ):
                await clave("send", "--name", "red", "friends", "one", home=home)
                assert (await line_of(keyless)).endswith("red: one")
                daemon.kill()
                await holds(home, second)
                await clave("send", "--name", "red", "friends", "two", home=home)
                assert (await line_of(keyless)).endswith("red: two")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("send", "--id", "", "friends", "x"), "1 to 80 characters"),
        (("send", "--id", "x" * 81, "friends", "x"), "1 to 80 characters"),
        (("send", "--wait", "1e9", "friends", "x"), "--wait"),
        (("tail", "--consumer", "", "friends"), "1 to 60 characters"),
        (("tail", "--after", "9" * 30, "friends"), "--after"),
        (("tail", "--consumer", "bot", "-n", "5", "friends"), "leave --lines and --after out"),
        (("send", b"\xff\xfe".decode(errors="surrogateescape"), "x"), "no room called"),
    ],
)
async def test_odd_options_are_a_usage_error(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    async with relay_at(tmp_path / "relay") as relay:
        chat = ("chat", "--relay", relay.address, "--name", "red")
        await clave(*chat, home=tmp_path / "home", given="/new friends\nexit\n")
        ran = await clave(*words[:1], "--name", "red", *words[1:], home=tmp_path / "home")
    assert ran.status == 2, ran.err
    assert says in ran.err or "not UTF-8" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["tail", "rpc", "chat"])
async def test_an_owner_whose_output_nobody_reads_holds_up_nobody(tmp_path: Path, command: str) -> None:
    words = {"tail": ("tail", "friends"), "rpc": ("rpc",), "chat": ("chat", "--room", "friends")}[command]
    async with friends(tmp_path) as (_, blue, room, home), unread(*words, home=home) as owner:
        assert owner.stdin is not None
        subscribe = b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{"after":0}}\n'
        if command == "rpc":
            owner.stdin.write(subscribe)
        await holds(home, owner)
        for _ in range(20):
            await blue.client.send(room, "x" * 20_000)
        for _ in range(3):
            sent = await clave("send", "--name", "red", "friends", "not held up", home=home)
            assert (sent.status, sent.err) == (0, "")
        owner.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(owner.wait(), TIMEOUT) == 143


async def test_sending_through_an_owner_is_interrupted_without_a_word(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, _, _, home):
        asked, left = asyncio.Event(), asyncio.Event()

        async def keep_waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            asked.set()
            await reader.read()
            writer.close()
            left.set()

        path = profile_folder(home, "red") / SOCKET_NAME
        async with (
            await asyncio.start_unix_server(keep_waiting, sock=bind_private(path, 1)),
            running("send", "friends", "hello", home=home) as sending,
        ):
            await asyncio.wait_for(asked.wait(), TIMEOUT)
            sending.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(sending.communicate(), TIMEOUT)
            assert (sending.returncode, out, err) == (130, b"", b"")
            await asyncio.wait_for(left.wait(), TIMEOUT)


async def test_sending_through_an_owner_to_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, blue, _, home), running("daemon", home=home) as owner:
        await holds(home, owner)
        source, target = os.pipe()
        os.close(source)
        sending = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "clave_client", "send", "--json", "--name", "red", "friends", "hello"),
            stdout=target,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "CLAVE_HOME": str(home)},
        )
        os.close(target)
        _, err = await asyncio.wait_for(sending.communicate(), TIMEOUT)
        assert (sending.returncode, err) == (0, b"")
        await blue.reads("hello")


@asynccontextmanager
async def unread(*words: str, home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `clave` with an output that nobody reads."""
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clave_client", *words, "--name", "red"),
        stdin=asyncio.subprocess.PIPE,
        stdout=write,
        env={**os.environ, "CLAVE_HOME": str(home)},
    )
    os.close(write)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(read)
