"""P2: whoever was removed keeps keys and connection, and gets nowhere with them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from adversary.kit import Insider, device, members, stage, talk, until
from clave_client import events
from clave_client.formats.former_content import FormerContent, FormerKind, encode_former
from clave_client.formats.payload import header_digest, rekey_id
from clave_wire.header import Header, pack_header
from clave_wire.messages import Accepted, Kind
from scenarios.stage import Somebody, gather_in


def words(former: Insider, head: bytes | None = None) -> bytes:
    """Return something said with the keys that were kept."""
    header = pack_header(Header(Kind.APPLICATION, head or former.head, former.seen, 1000))
    content = FormerContent(os.urandom(16), FormerKind.TEXT, "still here", b"", int(time.time() * 1000))
    return header + former.group.encrypt(encode_former(content), authenticated_data=header_digest(header))


async def try_everything(former: Insider, others: list[Somebody]) -> list[bool]:
    """Say, confirm, cry, help, commit, rekey; return what the relay took."""
    (rekey, *_) = former.entries(Kind.REKEY)
    taken = [await former.put(Kind.APPLICATION, words(former))]
    for kind, payload in (
        (Kind.CONFIRM, former.signed(Kind.CONFIRM, ref=rekey_id(rekey.payload))),
        (Kind.LOST, former.signed(Kind.LOST)),
        (Kind.GROUP_INFO, former.signed(Kind.GROUP_INFO, add=[device(others[0])])),
        (Kind.COMMIT, former.garbage(Kind.COMMIT)),
        (Kind.REKEY, former.garbage(Kind.REKEY, remove=[device(other) for other in others])),
    ):
        taken.append(await former.put(kind, payload))
    former.mend(add=[device(former.person)], remove=[device(other) for other in others])
    return [isinstance(answer, Accepted) for answer in taken]


async def goes_on_without(former: Insider, room: bytes, *people: Somebody) -> None:
    """Check that nothing of a former member is shown, and that it is sent nothing."""
    before = len(former.heard)
    await talk(room, *people)
    assert len(former.heard) == before, "nothing is routed to whoever was removed"
    for person in people:
        assert "still here" not in person.texts(room)
        assert members(person, room) == {other.name for other in people}


async def test_kept_keys_and_a_kept_connection_are_of_no_use(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        former = Insider(blue, room)
        await red.client.remove(room, "blue")
        await until(lambda: "blue" not in members(green, room))
        assert not any(await try_everything(former, [red, green]))
        await goes_on_without(former, room, red, green)


async def test_a_commit_of_garbage_does_not_keep_whoever_is_removed_on_the_list(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        await talk(room, red, blue, green)
        await green.go()
        former = Insider(blue, room)
        await red.client.remove(room, "blue")
        # The relay forgets the rekey, since another epoch seems to begin.
        assert isinstance(await former.put(Kind.COMMIT, former.garbage(Kind.COMMIT)), Accepted)
        await green.come()
        await until(lambda: "blue" not in members(red, room) | members(green, room))
        await talk(room, red, green)  # by now both have compared whom the relay routes to
        assert not any(await try_everything(former, [red, green]))
        await goes_on_without(former, room, red, green)


async def test_what_was_said_before_a_removal_counts_for_nobody_after_it(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        await green.go()
        former = Insider(blue, room)
        await red.client.remove(room, "blue")  # waits for green
        await former.put(Kind.APPLICATION, words(former))
        said = await red.sees(events.Message)
        assert said.text == "still here", "it is a member until another account confirms"
        await red.client.send(room, "not for blue")
        await green.come()
        await green.reads("not for blue")
        assert not isinstance(await former.put(Kind.APPLICATION, words(former)), Accepted)
        before = len(former.heard)
        await talk(room, red, green)
        assert len(former.heard) == before
