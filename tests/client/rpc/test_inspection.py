"""An audit of a room through a session, in a window, and as a subcommand beside an open window."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clave_client.errors import RoomNotFound
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.store.database import Store
from clave_client.ui.chat_commands import run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import plain
from client.rpc.kit import Home, home_at
from scenarios.test_bad_input import clave


def database(home: Home, name: str) -> Store:
    """Open the database of a profile, which its owner may have open too."""
    profile = home.profile(name)
    return Store(profile.store_path, profile.read_key())


async def run(home: Home, *words: str) -> tuple[int, list[str]]:
    """Run a subcommand as red; return its exit status and the lines it printed."""
    ran = await clave(*words, "--name", "red", home=home.folder)
    return ran.status, [*ran.out.splitlines(), *ran.err.splitlines()]


async def typed(session: Session, *lines: str) -> list[str]:
    """Type lines in a window in the room called friends; return what it showed."""
    shown: list[str] = []
    talk = Conversation(session, lambda line: shown.append(plain(line)), interactive=False)
    await talk.enter((await session.ask(m.FindRoom(room="friends"))).id)
    shown.clear()
    for line in lines:
        await run_input(talk, line)
    return shown


async def test_a_room_is_audited_by_a_window_and_beside_it(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, _ = await home.friends("red", "blue")
        await red.ask(m.Send(room="friends", text="hello"))
        findings = await red.ask(m.AuditRoom(room="friends"))
        assert all(finding.ok for finding in findings)
        shown = await typed(red, "/audit")
        assert shown[-1] == f"* all {len(findings)} checks hold"
        assert "* ok   the ratchet tree: of 2 devices, all signatures" in "\n".join(shown)
        status, lines = await run(home, "audit", "friends")
        assert (status, lines[-1]) == (0, f"all {len(findings)} checks hold")
        assert [line[:5] for line in lines[:-1]] == ["ok   "] * len(findings)
        with pytest.raises(RoomNotFound):
            await red.ask(m.AuditRoom(room="nowhere"))


async def test_damage_ends_with_status_1_and_is_named(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, _ = await home.friends("red", "blue")
        await red.ask(m.Send(room="friends", text="hello"))
        await red.close()
        store = database(home, "red")
        store.run("UPDATE messages SET text = 'goodbye' WHERE text = 'hello'")
        store.run("DELETE FROM chain WHERE seq = 1")
        before = store.connection.total_changes(), store.integer("PRAGMA data_version")
        status, lines = await run(home, "audit", "friends")
        assert status == 1
        assert [line.partition(":")[0] for line in lines if line.startswith("FAIL")] == [
            "FAIL the log's hash chain",
            "FAIL the history",
        ]
        assert lines[-1].startswith("2 of 11 checks failed (log, history): restore a backup")
        status, lines = await run(home, "audit", "friends", "--json")
        found = [json.loads(line) for line in lines]
        assert status == 1
        assert {each["check"] for each in found if not each["ok"]} == {"log", "history"}
        assert {(each["v"], each["room"]) for each in found} == {(1, "friends")}
        assert (store.connection.total_changes(), store.integer("PRAGMA data_version")) == before
        store.close()
        shown = await typed(await home.session("red"), "/audit")
        assert shown[-1].startswith("* 2 of 11 checks failed")


async def test_a_room_that_is_not_there_and_a_profile_of_another_version(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        status, lines = await run(home, "audit", "nowhere")
        assert (status, lines) == (
            2,
            ["clave: nothing is stored of a room called nowhere; /room or clave info lists them"],
        )
        await red.close()
        store = database(home, "red")
        version = store.connection.pragma("user_version")
        store.connection.pragma("user_version", version - 1)
        store.close()
        status, lines = await run(home, "audit", "friends")
        assert (status, lines) == (
            2,
            ["clave: another version of clave wrote this profile last; run: clave rooms"],
        )
