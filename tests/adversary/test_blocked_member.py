"""What a blocked member sends cannot touch what others have sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adversary.kit import Insider, device, read_up, stage, welcome_elsewhere
from clave_client import events
from clave_client.values import Phase
from clave_wire.messages import Invitation, Kind
from scenarios.stage import gather_in


async def test_a_blocked_insider_takes_no_open_invitations_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, (red, blue, green, grey)):
        await gather_in("else", blue, grey)
        room = await gather_in("friends", red, blue, green)
        await red.client.invite(room, "grey")
        await grey.sees(events.Invited)
        await read_up(room, red, blue, green)
        grey.client.block("blue")
        handled, invitations = asyncio.Event(), grey.client.sync.invitations
        handle = invitations.handle

        def handle_and_tell(invitation: Invitation) -> None:
            handle(invitation)
            handled.set()

        monkeypatch.setattr(invitations, "handle", handle_and_tell)
        insider = Insider(blue, room)
        welcome = await welcome_elsewhere(insider, "grey")
        await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=[device(grey)]), welcome)
        await handled.wait()
        here = grey.client.sync.rooms[room]
        assert (here.record.phase, here.is_refused) == (Phase.INVITED, False)
        await grey.client.accept(room)
        await red.client.send(room, "welcome")
        await grey.reads("welcome")
