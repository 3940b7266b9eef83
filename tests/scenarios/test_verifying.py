"""Stories of a room's words, by which all of its members are verified at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import UsageError
from scenarios.stage import agree, gather_in
from scenarios.test_keys import Talk, three


async def test_all_of_a_room_are_verified_by_the_words_that_were_shown(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        room = await gather_in("friends", red, blue)
        talk = await Talk.of(red)
        await talk.types("/room friends")
        asks = "* if each of them read out these words to you, /verify all yes: "
        first, second, last = await talk.types("/verify all yes")
        assert last == f"{asks}blue", "a yes to words that were not shown is asked"
        assert [*first.split()[-6:], *second.split()[-6:]] == list(red.client.info(room).code)
        await red.client.invite(room, "mallory")
        invited = await mallory.sees(events.Invited)
        await mallory.client.accept(invited.room)
        await agree(room, red, blue, mallory)
        late = (await talk.types("/verify all yes"))[-1]
        assert "friends has changed since these words were its code" in late
        assert red.client.info(room).unverified == 2
        assert (await talk.types("/verify all"))[-1] == f"{asks}blue, mallory"
        talk.now += 1000
        assert (await talk.types("/verify all yes"))[-1] == f"{asks}blue, mallory", "it is long ago"
        assert (await talk.types("/verify all yes"))[-1] == "* verified: blue, mallory"
        assert red.client.info(room).unverified == 0
        with pytest.raises(UsageError, match="has changed since these words"):
            red.client.verify_room(room, [])
