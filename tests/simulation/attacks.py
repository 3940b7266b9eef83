"""What an insider, or a former member, sends: frames as bad as protocol 4 allows. Knows no story.

Each attack gets the world, the device, its room as its client has it, and a chance of its own; it returns
what to send. What it makes with keys it makes with a copy of the group, so the client beneath stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from clave_client.formats.former_content import FormerContent, FormerKind, encode_former
from clave_client.formats.payload import epoch_id, header_digest, rekey_id, sign_payload
from clave_client.formats.welcome import RejoinInfo
from clave_client.rooms.policy import ROOM_LIMITS
from clave_crypto.mls import (
    Group,
    GroupState,
    MLSError,
    NoPolicy,
    PendingCommit,
    Proposal,
    Remove,
    framing,
)
from clave_crypto.mls import committing as mls_committing
from clave_crypto.mls.suites import CipherSuite
from clave_wire.header import Header, Seen, digest_names, pack_header
from clave_wire.messages import Entry, Kind, Mend, Resume, Submit, ToRelay

if TYPE_CHECKING:
    from simulation.device import Device
    from simulation.world import World

__all__ = ["ATTACKS", "LURES", "broken_path", "confirm", "from_outside", "phantoms", "submits"]

Made = tuple[Kind, bytes, bytes]
"""A kind, a payload and a welcome."""

_HANDSHAKES = [kind for kind in Kind if kind is not Kind.APPLICATION]

phantoms: dict[bytes, dict[bytes, Group]] = {}
"""Epochs that nobody but an insider is in, by its device and their heads."""


def submits(held: Any, made: Sequence[Made], *, gap: int = 0) -> list[ToRelay]:
    """Return submissions under the device's next numbers, each having read those before it."""
    number, read, cursor = (
        held.last_accepted + len(held.in_flight) + 1 + gap,
        held.record.read,
        held.record.cursor,
    )
    submits: list[ToRelay] = []
    for place, (kind, payload, welcome) in enumerate(made):
        submits.append(Submit(held.id, number + place, read, kind, payload, welcome))
        if kind is not Kind.APPLICATION:
            read = cursor + 1 + place
    return submits


def _twin(held: Any) -> Group:
    """Return a copy of the device's group, which follows no rules."""
    state = held.group.state()
    return Group.restore(state, policy=NoPolicy(), limits=ROOM_LIMITS)


def _merged(group: Group, commit: PendingCommit) -> Group:
    successor = Group.restore(group.state(), policy=NoPolicy(), limits=ROOM_LIMITS)
    successor.merge(PendingCommit.decode(commit.encode(), policy=NoPolicy(), limits=ROOM_LIMITS))
    return successor


def _some(held: Any, chance: Random) -> list[bytes]:
    devices = sorted(held.roster.devices())
    return chance.sample(devices, chance.randint(0, len(devices)))


def _others(held: Any) -> list[Any]:
    own = held.roster.own_device
    return [member for member in held.group.members() if member.signature_key != own]


def _header(held: Any, kind: Kind, **more: Any) -> Header:
    known = {"head": held.head, "seen": held.chain.seen(), "count": held.record.count + 1}
    if kind is not Kind.APPLICATION:
        known["count"] = 0
    return Header(kind, **{**known, **more})


def _random_header(world: World, held: Any, chance: Random, kind: Kind) -> Header:
    rekeys = [rekey_id(entry.payload) for entry in world.relay.log(held.id) if entry.kind is Kind.REKEY]
    seen = Seen(
        chance.choice([0, held.record.cursor, held.record.cursor + 5, 2**53 - 1]), chance.randbytes(32)
    )
    head = chance.choice([held.head, held.head, *held.epochs.former_heads[-2:], chance.randbytes(32)])
    more: dict[str, Any] = {"seen": chance.choice([held.chain.seen(), seen]), "head": head}
    if kind in (Kind.COMMIT, Kind.REKEY, Kind.PROPOSAL, Kind.GROUP_INFO):
        more["add"], more["remove"] = _some(held, chance), _some(held, chance)
    if kind is Kind.COMMIT:
        names = {device.public: device.name for device in world.devices.values()}
        more["ref"] = digest_names((device, names.get(device, "")) for device in more["add"])
    if kind is Kind.CONFIRM:
        more["ref"] = chance.choice([*rekeys[-3:], chance.randbytes(32)])
    fits = {
        Kind.COMMIT: {"remove": []},
        Kind.REKEY: {"add": []},
        Kind.PROPOSAL: {"add": [], "remove": [held.roster.own_device]},
        Kind.GROUP_INFO: {"add": more.get("add", [])[:1], "remove": []},
    }
    if chance.random() < 0.8:  # the relay takes it
        more.update(fits.get(kind, {}))
    return _header(held, kind, **more)


def _signed(held: Any, header: Header, welcome: bytes = b"") -> Made:
    return header.kind, sign_payload(held.id, header, held.device), welcome


def _garbage(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """Random bytes under any header, or under none."""
    kind = chance.choice(list(Kind))
    body = chance.randbytes(chance.choice([0, 1, 40, 400, 4000]))
    header = _random_header(world, held, chance, kind)
    welcome = chance.randbytes(50) if kind in (Kind.COMMIT, Kind.GROUP_INFO) else b""
    if chance.random() < 0.1:
        return submits(held, [(kind, body, b"")])
    return submits(held, [(kind, pack_header(header) + body, welcome)])


def _flood(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """As many entries as the relay takes, and more."""
    kind, count = chance.choice(list(Kind)), chance.choice([10, 100])
    made = [
        (kind, pack_header(_random_header(world, held, chance, kind)) + chance.randbytes(300), b"")
        for _ in range(count)
    ]
    return submits(held, made)


def _cries(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """Cry for help that is not needed, again and again, and help whoever did not ask."""
    helped = [chance.choice(sorted(held.roster.devices())) for _ in range(chance.choice([1, 5, 40]))]
    made = [_signed(held, _header(held, Kind.LOST)) for _ in helped]
    if chance.random() < 0.5:
        made = [
            _signed(held, _header(held, Kind.GROUP_INFO, add=[each]), RejoinInfo(b"?", held.head).encode())
            for each in helped
        ]
    return submits(held, made)


def _replay(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """What somebody sent before, this device or another."""
    log = world.relay.log(held.id)
    again = [chance.choice(log[-20:]) for _ in range(chance.choice([1, 3]))] if log else []
    return submits(held, [(entry.kind, entry.payload, b"") for entry in again])


def _encrypted(group: Group, header: Header, data: bytes) -> Made:
    packed = pack_header(header)
    return Kind.APPLICATION, packed + group.encrypt(data, authenticated_data=header_digest(packed)), b""


def _content(chance: Random) -> bytes:
    return encode_former(FormerContent(chance.randbytes(16), FormerKind.TEXT, "a lie", b"", 0))


def _message(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A message that says nothing, or lies about what its sender has seen or said before."""
    header = chance.choice(
        [_header(held, Kind.APPLICATION), _random_header(world, held, chance, Kind.APPLICATION)]
    )
    header = msgspec.structs.replace(header, count=chance.choice([0, 1, header.count, 2**53 - 1]))
    data = chance.choice([_content(chance), chance.randbytes(50), b""])
    return submits(held, [_encrypted(_twin(held), header, data)])


def _flipped(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A message with one bit changed, anywhere."""
    _, payload, _ = _encrypted(_twin(held), _header(held, Kind.APPLICATION), _content(chance))
    changed = bytearray(payload)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return submits(held, [(Kind.APPLICATION, bytes(changed), b"")])


def _rekey(
    held: Any, *proposals: Proposal, path: bool = True, **more: Any
) -> tuple[Made, Group, PendingCommit]:
    """Return a commit under a header that may say something else, and where it leads."""
    group, kind = _twin(held), more.pop("kind", Kind.REKEY)
    packed = pack_header(_header(held, kind, **more))
    commit = group.commit(
        list(proposals), now=int(held.clock()), path=path, authenticated_data=header_digest(packed)
    )
    return (kind, packed + commit.message, b""), _merged(group, commit), commit


def _wrong_header(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A commit that is valid but for what its header says of it."""
    more: dict[str, Any] = chance.choice(
        [
            {"remove": _some(held, chance)},
            {"kind": Kind.COMMIT, "add": _some(held, chance)},
            {"kind": Kind.COMMIT},
            {"seen": Seen(held.record.cursor, chance.randbytes(32))},
        ]
    )
    made, _, _ = _rekey(held, **more)
    if chance.random() < 0.3:  # the header of another payload
        (kind, payload, _), _, _ = _rekey(held)
        other = pack_header(_header(held, kind, remove=_some(held, chance)))
        made = kind, other + payload[2 + int.from_bytes(payload[:2], "big") :], b""
    return submits(held, [made])


@contextmanager
def broken_path(chance: Random, victims: Collection[bytes]) -> Iterator[None]:
    """Have paths made inside that do not open for those who hold the keys `victims`."""
    real = CipherSuite.encrypt_with_label

    def encrypt(
        suite: CipherSuite, public: bytes, label: bytes, context: bytes, plaintext: bytes
    ) -> tuple[bytes, bytes]:
        output, ciphertext = real(suite, public, label, context, plaintext)
        if label == b"UpdatePathNode" and bytes(public) in victims:
            return output, chance.randbytes(len(ciphertext))
        return output, ciphertext

    with mock.patch.object(CipherSuite, "encrypt_with_label", encrypt):
        yield


def _removal(held: Any, chance: Random) -> tuple[list[Proposal], dict[str, Any]]:
    others = _others(held)
    if not others or chance.random() < 0.6:
        return [], {}
    victim = chance.choice(others)
    return [Remove(victim.leaf_index)], {"remove": [victim.signature_key]}


def _bad_path(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A rekey whose path opens for some or nobody, with a word in its epoch, confirmed if that helps."""
    keys = [bytes(member.leaf.encryption_key) for member in _others(held)]
    share = chance.choice([0.3, 0.5, 1.0])
    proposals, more = _removal(held, chance)
    with broken_path(chance, frozenset(key for key in keys if chance.random() < share)):
        made, successor, _ = _rekey(held, *proposals, **more)
    told = [made]
    if chance.random() < 0.5:
        head = epoch_id(successor)
        told.append(_encrypted(successor, _header(held, Kind.APPLICATION, head=head), _content(chance)))
    if chance.random() < 0.5:
        told.append(_signed(held, _header(held, Kind.CONFIRM, ref=rekey_id(made[1]))))
    return submits(held, told)


def _rekeys(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """Valid rekeys for nothing, one after the other."""
    return submits(held, [_rekey(held)[0] for _ in range(chance.choice([1, 2, 8, 30]))])


def _forged_remove(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A removal with a random confirmation tag, which its maker's account vouches for."""
    others = _others(held)
    if not others:
        return []
    victim, real = chance.choice(others), framing.CommitAuthData

    def forge(signature: bytes, tag: bytes) -> Any:
        return real(signature, os.urandom(len(tag)))

    with mock.patch.object(mls_committing, "CommitAuthData", forge):
        made, _, _ = _rekey(held, Remove(victim.leaf_index), remove=[victim.signature_key])
    return submits(held, [made, _signed(held, _header(held, Kind.CONFIRM, ref=rekey_id(made[1])))])


def _confirms(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """Vouch for the rekeys that were made last, of any epoch and account, also by whoever is removed."""
    rekeys = [entry for entry in world.relay.log(held.id) if entry.kind is Kind.REKEY]
    made = [confirm(held, entry) for entry in rekeys[-chance.choice([1, 4]) :]]
    return submits(held, made)


def confirm(held: Any, entry: Entry) -> Made:
    """Return a vouch for a rekey, in the epoch it was made in."""
    length = int.from_bytes(entry.payload[:2], "big")
    head = msgspec.msgpack.decode(entry.payload[2 : 2 + length], type=Header).head
    return _signed(held, _header(held, Kind.CONFIRM, head=head, ref=rekey_id(entry.payload)))


def _false_leaving(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """Leave for another, under the own name, or for oneself and stay."""
    group, others = _twin(held), _others(held)
    own = held.roster.own_device
    leaf = chance.choice([*(member.leaf_index for member in others), group.own_leaf])
    header = pack_header(_header(held, Kind.PROPOSAL, remove=[own]))
    message = group.propose(
        Remove(leaf),
        now=int(held.clock()),
        authenticated_data=header_digest(header),
        public=chance.random() < 0.5,
    )
    return submits(held, [(Kind.PROPOSAL, header + message, b"")])


def _phantom(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """Speak in an epoch that nobody else is in, and help everybody into it."""
    proposals, _ = _removal(held, chance)
    _, successor, _ = _rekey(held, *proposals)
    head = epoch_id(successor)
    phantoms.setdefault(device.public, {})[head] = successor
    victims = chance.sample(_others(held), chance.randint(0, len(_others(held))))
    told = [_encrypted(successor, _header(held, Kind.APPLICATION, head=head), _content(chance))]
    for victim in victims:
        sealed = held.group.seal_to_member(victim.leaf_index, "clave GroupInfo", successor.group_info())
        header = _header(held, Kind.GROUP_INFO, add=[victim.signature_key])
        told.append(_signed(held, header, RejoinInfo(sealed, head).encode()))
    return submits(held, told)


def _gap(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A number that is not the next one."""
    header = _header(held, Kind.APPLICATION)
    return submits(
        held, [_encrypted(_twin(held), header, _content(chance))], gap=chance.choice([1, 40, 2**50])
    )


def _mend(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    link = device.session.transport
    return [Mend(link.next_id(), held.id, _some(held, chance), _some(held, chance)) for _ in range(2)]


def _attempt(make: Callable[..., list[ToRelay]]) -> Callable[..., list[ToRelay]]:
    """Return `make`, which gives nothing where the library itself refuses to go along."""

    def made(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
        try:
            return make(world, device, held, chance)
        except MLSError as error:
            world.note("no attack", device.label, make.__name__, type(error).__name__)
            return []

    return made


ATTACKS: dict[str, Callable[..., list[ToRelay]]] = {
    make.__name__.strip("_").replace("_", " "): _attempt(make)
    for make in (
        _garbage,
        _flood,
        _cries,
        _replay,
        _message,
        _flipped,
        _wrong_header,
        _bad_path,
        _rekeys,
        _forged_remove,
        _confirms,
        _false_leaving,
        _gap,
        _mend,
    )
}


LURES = {"phantom": _attempt(_phantom)}
"""What protocol 4 does not hold against yet: one account leads devices into an epoch of its own."""


def from_outside(
    world: World, device: Device, room: bytes, kept: tuple[int, GroupState], chance: Random
) -> list[ToRelay]:
    """Return what a former member tries: its old keys, its old place, others' bytes, and the relay's list."""
    cursor, state = kept
    group, link = Group.restore(state, policy=NoPolicy(), limits=ROOM_LIMITS), device.session.transport
    log = world.relay.log(room)
    read = max((entry.seq for entry in log if entry.kind is not Kind.APPLICATION), default=0)
    number = 1 + max((entry.submission for entry in log if entry.sender == device.public), default=0)
    header = Header(Kind.APPLICATION, epoch_id(group), Seen(cursor, bytes(32)), 1_000_000)
    match chance.randrange(4):
        case 0 if not group.pending_proposals:
            _, payload, _ = _encrypted(group, header, _content(chance))
            return [Submit(room, number, read, Kind.APPLICATION, payload)]
        case 1:
            return [Resume(link.next_id(), room, chance.choice([0, cursor]))]
        case 2:
            return [Mend(link.next_id(), room, [device.public], [])]
        case _ if log:
            entry = chance.choice(log[-20:])
            return [Submit(room, number, read, entry.kind, entry.payload)]
        case _:
            return []
