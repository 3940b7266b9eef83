"""What tests of links need of both relays: links, offers, and the submission by which a device joins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from clave_crypto.identity import DeviceKey
from clave_wire import messages as m
from clave_wire.links import LinkProof, join_transcript
from relaykit import HEAD, ROOM, Participant, RawClient, RelayUnderTest

Join = Callable[..., Awaitable[RawClient]]
"""Logs a participant, or a new one of a name, in at a relay, with all versions unless some are given."""

FAR = 4_000_000_000
"""A time, in seconds since 1970, at which no link of a test has expired."""


def listed(link: DeviceKey, uses: int = 5, not_after: int = FAR, sealed: bytes = b"sealed") -> m.OfferedLink:
    return m.OfferedLink(link.public, not_after, uses, sealed)


def offer(
    *links: m.OfferedLink, submission: int = 0, info: bytes = b"group info", room: bytes = ROOM
) -> m.Offer:
    return m.Offer(room, submission, list(links), info)


def joining(
    client: RawClient,
    link: DeviceKey,
    *,
    read: int | None = None,
    who: Participant | None = None,
    add: tuple[bytes, ...] = (),
    remove: tuple[bytes, ...] = (),
    signed_room: bytes = ROOM,
    head: bytes = HEAD,
    signed_head: bytes = HEAD,
    seen: int | None = None,
) -> m.Submit:
    """Return the submission by which a client's device joins; the link signed for `who`."""
    named = who or client.participant
    transcript = join_transcript(signed_room, signed_head, named.device, named.name)
    proof = LinkProof(link.public, link.sign(transcript)).encode()
    return client.entry(
        b"join",
        kind=m.Kind.REKEY,
        read=read,
        welcome=proof,
        add=add,
        remove=remove,
        head=head,
        seen=seen,
    )


async def in_order(client: RawClient, room: bytes = ROOM) -> None:
    """Wait until the relay has handled what a client sent it about a room."""
    await client.send(m.Mend(client.next_id(), room, [], []))
    while not isinstance(await client.receive(), m.Done | m.Refused):
        pass


async def put(client: RawClient, offered: m.Offer) -> None:
    """Have a client make an offer, and wait until the relay has it."""
    await client.send(offered)
    await in_order(client, offered.room)


async def find(client: RawClient, link: DeviceKey, place: int = 0) -> m.LinkOffer | m.Code:
    """Return the offer found by a link, or why there is none; the client notes where the room stands."""
    answer = await client.ask(m.FindLink(client.next_id(), link.public, place))
    if isinstance(answer, m.Refused):
        return answer.code
    assert isinstance(answer, m.LinkOffer), answer
    client.participant.handshakes[answer.room] = answer.handshake
    return answer


async def found(client: RawClient, link: DeviceKey, place: int = 0) -> m.LinkOffer:
    answer = await find(client, link, place)
    assert isinstance(answer, m.LinkOffer), answer
    return answer


async def refused(client: RawClient, submit: m.Submit) -> m.Code:
    answer = await client.ask(submit)
    assert isinstance(answer, m.Rejected), answer
    return answer.code


async def room_with_link(
    relay: RelayUnderTest, link: DeviceKey, *names: str, uses: int = 5, not_after: int = 0
) -> list[RawClient]:
    """Return members of a room that has a link, and a stranger, who is the last one."""
    members = await relay.room_of(*names)
    await put(members[0], offer(listed(link, uses, not_after or 4_000_000_000)))
    return [*members, await relay.join("stranger")]


async def with_submission(
    client: RawClient, submit: m.Submit, *links: m.OfferedLink, info: bytes = b"new"
) -> m.ToClient:
    """Have a client make an offer with a submission; return the answer."""
    await client.send(offer(*links, submission=submit.submission, info=info))
    return await client.ask(submit)


async def room_of(join: Join, *names: str) -> list[RawClient]:
    """Return members of a room, which have it open, and a stranger, who is the last one; its seq is 1."""
    first, *others = clients = [await join(name) for name in names]
    await first.create()
    await first.resume()
    added = tuple(client.participant.device for client in others)
    await first.submit(first.entry(b"c", kind=m.Kind.COMMIT, add=added, welcome=b"hello"))
    for client in others:
        await client.resume((await client.expect(m.Invitation)).seq)
    return [*clients, await join("stranger")]


async def room_with_joining(join: Join, link: DeviceKey, *names: str) -> tuple[list[RawClient], m.Submit]:
    """Return members of a room, and last a stranger who asked to join it, all at its seq 2; and the rekey."""
    *members, stranger = clients = await room_of(join, *names)
    await put(members[0], offer(listed(link)))
    rekey = joining(stranger, link, read=1)
    await stranger.submit(rekey)
    await stranger.resume(2)
    for client in members:
        await client.expect(m.Entry)
    return clients, rekey


async def mend(
    client: RawClient, add: tuple[RawClient, ...] = (), remove: tuple[RawClient, ...] = ()
) -> m.Code | None:
    """Have a client mend a room's routing; return why it was refused, None if it was not."""
    devices = [[each.participant.device for each in some] for some in (add, remove)]
    await client.send(m.Mend(client.next_id(), ROOM, *devices))
    while not isinstance(answer := await client.receive(), m.Done | m.Refused):
        pass
    return answer.code if isinstance(answer, m.Refused) else None


async def is_ordinary(client: RawClient) -> bool:
    """Return whether a client is a member that is not joining."""
    return await mend(client) is None


async def routed(client: RawClient) -> list[str]:
    """Return the accounts that the room is routed to, sorted; the client has read all entries."""
    resumed = await client.resume(client.participant.seen[ROOM])
    return sorted(name for _, name in resumed.members)
