"""docs/rpc.md says what the code does: its lists are generated, and its bots run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import rpcpage
from clave_client import events
from clave_client.client import Client
from clave_client.room import Room
from clave_client.rpc import methods as m
from scenarios.stage import TIMEOUT, people_at, relay_at
from scenarios.test_bad_input import clave

ROOT = Path(__file__).parents[2]


def test_the_page_and_the_schema_are_made_from_the_code() -> None:
    assert rpcpage.PAGE.read_text(encoding="utf-8") == rpcpage.page(), "run: make rpc-page"
    assert rpcpage.SCHEMA.read_text(encoding="utf-8") == rpcpage.openrpc(), "run: make rpc-page"


SERVED_BY: dict[str, tuple[type[m.Method[Any]], ...]] = {
    "accept": (m.Accept,),
    "audit": (m.AuditRoom,),
    "relay_view": (m.GetRelayView,),
    "block": (m.Block,),
    "blocked": (m.ListBlocked,),
    "delete": (m.DeleteMessage,),
    "draft": (m.GetDraft,),
    "edit": (m.Edit,),
    "find_message": (m.GetMessage,),
    "hide_message": (m.DeleteMessage,),
    "open_direct": (m.OpenDirect,),
    "react": (m.React,),
    "set_archived": (m.Archive,),
    "set_draft": (m.SetDraft,),
    "set_expiry": (m.SetExpiry,),
    "set_read_receipts": (m.SetReadReceipts,),
    "unblock": (m.Unblock,),
    "unreact": (m.Unreact,),
    "create_room": (m.CreateRoom,),
    "decline": (m.Decline,),
    "check_deletable": (m.DeleteAccount,),
    "delete_account": (m.DeleteAccount,),
    "events": (m.Subscribe, m.ReadEvents),
    "find_room": (m.FindRoom,),
    "fingerprint": (m.GetFingerprint,),
    "history": (m.GetHistory,),
    "info": (m.GetRoomInfo,),
    "invitations": (m.ListRooms,),
    "invite": (m.Invite,),
    "inviter": (m.ListRooms,),
    "is_online": (m.GetProfile,),
    "key_mismatches": (m.ListMismatches,),
    "keys": (m.ListKeys,),
    "known_names": (m.GetProfile,),
    "leave": (m.Leave,),
    "mark_shown": (m.MarkShown,),
    "members": (m.ListMembers,),
    "messages": (m.Subscribe,),
    "name": (m.GetProfile,),
    "post": (m.Post,),
    "relay": (m.GetProfile,),
    "remove": (m.Remove,),
    "repin": (m.Repin,),
    "room": (m.FindRoom,),
    "rooms": (m.ListRooms,),
    "search": (m.Search,),
    "send": (m.Send,),
    "sender": (m.GetHistory,),
    "ban": (m.Ban,),
    "devices": (m.ListDevices,),
    "finish_pairing": (m.FinishPairing,),
    "is_primary": (m.ListDevices, m.GetAccount),
    "open_pairing": (m.OpenPairing,),
    "pairing_offer": (m.GetPairingOffer,),
    "remove_device": (m.RemoveDevice,),
    "rooms_to_settle": (m.WaitDevices,),
    "set_primary": (m.SetPrimary,),
    "stop_pairing": (m.StopPairing,),
    "wait_devices": (m.WaitDevices,),
    "join_link": (m.JoinLink,),
    "links": (m.ListLinks,),
    "make_link": (m.MakeLink,),
    "notices_before_sending": (m.ListMismatches, m.CatchUp),
    "revoke_links": (m.RevokeLinks,),
    "set_policy": (m.SetPolicy,),
    "pin_message": (m.PinMessage,),
    "unpin_message": (m.UnpinMessage,),
    "pinned": (m.ListPinned,),
    "set_role": (m.SetRole,),
    "set_title": (m.SetTitle,),
    "set_topic": (m.SetTopic,),
    "unban": (m.Unban,),
    "similar_room": (m.ListRooms,),
    "stream": (m.Subscribe,),
    "title": (m.FindRoom,),
    "unshown": (m.GetUnread,),
    "unusable": (m.GetProfile,),
    "verify": (m.Verify,),
    "verify_room": (m.VerifyRoom,),
    "wait_answered": (m.Accept,),
    "wait_delivered": (m.Send,),
    "wait_flushed": (m.WaitFlushed,),
    "wait_left": (m.Leave,),
    "wait_settled": (m.WaitSettled,),
    "wait_synced": (m.WaitSynced,),
    "wait_until_sendable": (m.CatchUp,),
}
"""What serves each public method of the library."""

OF_THE_OWNER = {
    *("open", "connect", "start", "close", "connected", "never_registered", "sync"),
    *("note_answer", "note_leave", "note_message", "submit_noted"),
    *("note_edit", "note_deletion", "note_reaction", "note_unreaction", "note_hidden", "link_text"),
}
"""Methods that only the process that owns the profile has a use for."""


def test_every_method_of_the_library_is_served() -> None:
    public = {name for kind in (Client, Room) for name in dir(kind) if not name.startswith("_")}
    assert public - OF_THE_OWNER - {"id"} == SERVED_BY.keys()
    for methods in SERVED_BY.values():
        assert set(methods) <= set(m.METHODS.values())


def blocks(language: str) -> list[str]:
    text = rpcpage.PAGE.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("language", ["python", "sh"])
async def test_the_bots_answer_once_and_go_on_where_they_stopped(tmp_path: Path, language: str) -> None:
    if language == "sh" and shutil.which("jq") is None:
        pytest.skip("jq is not installed, which the bot in a shell uses")
    (bot,) = blocks(language)
    assert len([line for line in bot.splitlines() if line.strip()]) <= 15
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "clave").write_text(f'#!/bin/sh\nexec {sys.executable} -m clave_client "$@"\n')
    (programs / "clave").chmod(0o755)
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CLAVE_HOME": str(home),
        "CLAVE_NAME": "red",
    }
    command = [sys.executable, "-c", bot] if language == "python" else ["/bin/sh", "-c", bot]

    async def run_until(answers: int) -> None:
        """Run the bot until so many answers were heard, then end it and what it started."""
        process = await asyncio.create_subprocess_exec(*command, env=environment, start_new_session=True)
        try:
            async with asyncio.timeout(TIMEOUT):
                while len([text for text in blue.texts(room) if text == "good question"]) < answers:
                    await blue.sees(events.Message)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            await process.wait()

    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "blue") as (blue,):
        made = await clave(
            *("chat", "--relay", relay.address, "--name", "red"),
            home=home,
            given="/new friends\n/invite blue\nexit\n",
        )
        assert made.status == 0
        room = (await blue.sees(events.Invited)).room
        await blue.client.accept(room)
        consumer = "answers" if language == "python" else f"answers {room.hex()}"
        params = {"consumer": consumer}
        request = {"jsonrpc": "2.0", "id": 1, "method": "events.read", "params": params}
        begun = await clave("rpc", "--name", "red", home=home, given=json.dumps(request))
        assert json.loads(begun.out)["result"]["events"] == []
        await blue.client.send(room, "is it so?")
        await blue.client.send(room, "no answer needed")
        await run_until(1)
        await blue.client.send(room, "and this?")
        await run_until(2)
        assert [text for text in blue.texts(room) if text == "good question"] == ["good question"] * 2
