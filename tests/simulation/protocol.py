"""All that the simulation knows of the rooms' protocol: what changes with its version is here only.

Written for protocol 3. What protocol 4 needs is marked with "P4".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

import msgspec

from clave_client import events
from clave_client.content import Content, ContentKind, Seen, encode_content
from clave_client.policy import RoomPolicy
from clave_crypto.mls import (
    Group,
    GroupState,
    MLSError,
    NoPolicy,
    Policy,
    Proposal,
    Remove,
    committing,
    framing,
)
from clave_crypto.mls.suites import CipherSuite
from clave_wire.messages import Accepted, Code, Entry, Kind, Mend, Rejected, Report, Resume, Submit, ToRelay

if TYPE_CHECKING:
    from simulation.device import Device
    from simulation.world import World

__all__ = [
    "ATTACKS",
    "HOLDS_AGAINST",
    "body_of",
    "broken_path",
    "entry_of",
    "epoch_name",
    "from_outside",
    "is_alarm",
    "is_known",
    "is_message",
    "moved",
    "policy",
    "rejection",
    "roster_of",
    "with_payload",
    "with_seq",
]

T = TypeVar("T", bound=msgspec.Struct)

_HARMLESS = (
    "the relay cannot store messages now",
    "whether the change went through",
)
"""Notices that an honest run may bring."""


_KNOWN_ALARMS = (
    "the relay's member list of ",
    "an invitation could not be used: the Welcome is for none of the key packages",
)
"""False alarms of protocol 3, found by this simulation. P4: to be emptied.

A leaving that is kept and not in the log yet makes `Roster.compare_routing` leave this device out, and the
relay's list "differs". A lost `TakeInvitation` brings its welcome again, whose key package is used up.
"""

_KNOWN_ERRORS = ("may not be sent in state 'closed'",)
"""`RelayLink.send` raises between the relay's `Closing` and the end of the connection. P4: to be emptied."""


def is_known(error: BaseException | None) -> bool:
    """Tell whether an exception is of a defect that is reported and not mended yet."""
    return any(text in str(error) for text in _KNOWN_ERRORS)


_FAULTS = (
    "the relay left out",
    "the relay acknowledged",
    "the relay has lost",
    "the relay broke",
    "the relay sent",
)
"""Ends of a connection that say that the relay is at fault."""


def epoch_name(group: Any) -> Any:
    """Return what two members compare to tell whether they are in the same epoch.

    P4: the number is not enough, as a rekey's maker may be in an epoch that another rekey replaces.
    """
    return group.epoch


def roster_of(group: Any) -> frozenset[bytes]:
    """Return the devices that can read what is encrypted in the group now."""
    return frozenset(member.signature_key for member in group.members())


def is_alarm(event: events.Event) -> bool:
    """Tell whether an event says that something is wrong with the relay or with a member."""
    if isinstance(event, events.Diverged):
        return True
    if isinstance(event, events.Disconnected):
        return event.reason.startswith(_FAULTS)
    return isinstance(event, events.Notice) and not event.text.startswith(_HARMLESS + _KNOWN_ALARMS)


HOLDS_AGAINST = ("Omit", "DelayForEver")
"""The roles against which all checks hold. P4: all of them; then the list goes.

The hash chain of protocol 3 begins anew with each epoch, so no other lie that a commit follows is noticed.
"""


# --- frames, for relays that lie ---


def with_seq(message: T, seq: int) -> T:
    """Return an `Entry`, `Accepted`, `Resumed` or `Invitation` with another seq."""
    return msgspec.structs.replace(message, seq=seq)


def with_payload(entry: Entry, payload: bytes) -> Entry:
    """Return an entry with other bytes."""
    return msgspec.structs.replace(entry, payload=payload)


def is_message(message: Entry | Submit) -> bool:
    """Tell whether an entry is what somebody said, and not what keeps the group."""
    return message.kind is Kind.APPLICATION


def moved(message: ToRelay, left_out: Collection[int]) -> ToRelay:
    """Return what the relay is to get of a device that numbers without the entries `left_out`.

    P4: `Submit.read` moves back as the seqs of entries moved there.
    """
    return message


def entry_of(submit: Submit, seq: int, sender: bytes) -> Entry:
    """Return the entry that came of a submission. P4: `epoch` is 0."""
    return Entry(submit.room, seq, sender, submit.submission, submit.kind, submit.epoch, submit.payload)


def rejection(accepted: Accepted) -> Rejected:
    """Return a refusal of what was accepted. P4: `Code.PACE`, `Code.OUT_OF_ORDER` and `Code.STALE` too."""
    return Rejected(accepted.room, accepted.submission, Code.LIMIT, "this relay is full")


def body_of(entry: Entry) -> bytes:
    """Return the MLS message of an entry. P4: what follows the header."""
    return entry.payload


def policy() -> Policy:
    """Return the rules of a room."""
    return RoomPolicy()


# --- what an insider sends ---


def _submit(held: Any, chance: Random, kind: Kind, payload: bytes, **more: Any) -> Submit:
    """Return a submission under the device's next number. P4: put a header before `payload`, and `read`."""
    number = held.record.submission + 1 + more.pop("later", 0)
    epoch = more.pop("epoch", held.group.epoch)
    return Submit(held.id, number, max(0, epoch), kind, payload, **more)


def _twin(held: Any, rules: Policy | None = None) -> Group:
    """Return a copy of the device's group, so that what is made with it leaves the device's own as it is."""
    state = held.group.state()
    return Group.restore(GroupState(state.epoch, state.ratchets), policy=rules or NoPolicy())


def _devices(held: Any, chance: Random) -> list[bytes]:
    members = sorted(roster_of(held.group))
    return chance.sample(members, chance.randint(0, len(members)))


def _others(device: Device, held: Any) -> list[Any]:
    return [member for member in held.group.members() if member.signature_key != device.public]


def _garbage(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    kind = chance.choice(list(Kind))
    epoch = held.group.epoch + chance.choice([-1, 0, 0, 0, 1, 2, 1_000_000])
    more: dict[str, Any] = {}
    if kind is Kind.COMMIT and chance.random() < 0.5:
        more = {
            "add": _devices(held, chance),
            "remove": _devices(held, chance),
            "welcome": chance.randbytes(50),
        }
    return [
        _submit(
            held, chance, kind, chance.randbytes(chance.choice([0, 1, 40, 400, 4000])), epoch=epoch, **more
        )
    ]


def _two_commits(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    epoch = held.group.epoch
    return [
        _submit(held, chance, Kind.COMMIT, chance.randbytes(300), later=n, epoch=epoch + n) for n in range(2)
    ]


def _flood(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    kind, epoch = chance.choice(list(Kind)), held.group.epoch
    return [
        _submit(
            held,
            chance,
            kind,
            chance.randbytes(300),
            later=n,
            epoch=epoch + (n if kind is Kind.COMMIT else 0),
        )
        for n in range(chance.choice([10, 100]))
    ]


def _replay(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    log = world.relay.log(held.id)
    if not log:
        return []
    entry = chance.choice(log[-20:])
    return [
        _submit(held, chance, entry.kind, entry.payload, epoch=chance.choice([entry.epoch, held.group.epoch]))
    ]


def _content(held: Any, chance: Random) -> bytes:
    seen = Seen(chance.choice([0, held.record.cursor, held.record.cursor + 5]), chance.randbytes(32))
    return encode_content(Content(chance.randbytes(16), ContentKind.TEXT, "a lie", b"", 0, seen))


def _message(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    data = chance.choice([_content(held, chance), chance.randbytes(50), b""])
    return [_submit(held, chance, Kind.APPLICATION, _twin(held).encrypt(data))]


def _flipped(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    payload = bytearray(_twin(held).encrypt(_content(held, chance)))
    payload[chance.randrange(len(payload))] ^= 1 << chance.randrange(8)
    return [_submit(held, chance, Kind.APPLICATION, bytes(payload))]


def _commit(held: Any, *proposals: Proposal) -> Any:
    return _twin(held).commit(list(proposals), now=int(held.clock()), path=True)


def _wrong_envelope(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A valid commit whose envelope removes or adds somebody. P4: the header, which everybody compares."""
    message = _commit(held).message
    add, remove = _devices(held, chance), _devices(held, chance)
    return [_submit(held, chance, Kind.COMMIT, message, add=add[:1], remove=remove)]


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


def _bad_path(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A commit whose path opens for some, or for nobody. P4: of `Kind.REKEY`, with and without a removal."""
    keys = [bytes(member.leaf.encryption_key) for member in _others(device, held)]
    victims = frozenset(key for key in keys if chance.random() < chance.choice([0.5, 1.0]))
    with broken_path(chance, victims):
        message = _commit(held).message
    return [_submit(held, chance, Kind.COMMIT, message)]


def _forged_remove(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """A removal of somebody with a random confirmation tag. P4: of `Kind.REKEY`."""
    others = _others(device, held)
    if not others:
        return []
    victim, real = chance.choice(others), framing.CommitAuthData
    with ExitStack() as stack:
        forge: Callable[..., Any] = lambda signature, tag: real(signature, os.urandom(len(tag)))  # noqa: E731
        stack.enter_context(mock.patch.object(committing, "CommitAuthData", forge))
        message = _commit(held, Remove(victim.leaf_index)).message
    return [_submit(held, chance, Kind.COMMIT, message, remove=[victim.signature_key])]


def _leave_for_another(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    return [_submit(held, chance, Kind.PROPOSAL, chance.randbytes(80), remove=_devices(held, chance))]


def _report(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    """P4: instead of `Report`, a `LOST`, `CONFIRM` and `GROUP_INFO` that is not due, or of random bytes."""
    epoch, cursor = held.group.epoch, held.record.cursor
    link = device.session.link
    return [Report(link.next_id(), held.id, max(0, epoch - back), max(0, cursor - back)) for back in range(2)]


def _mend(world: World, device: Device, held: Any, chance: Random) -> list[ToRelay]:
    return [Mend(device.session.link.next_id(), held.id, _devices(held, chance), _devices(held, chance))]


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
        _two_commits,
        _flood,
        _replay,
        _message,
        _flipped,
        _wrong_envelope,
        _bad_path,
        _forged_remove,
        _leave_for_another,
        _report,
        _mend,
    )
}


def from_outside(
    world: World, device: Device, room: bytes, kept: tuple[int, GroupState], chance: Random
) -> list[ToRelay]:
    """Return what a former member tries: its old keys, its old place, others' bytes, and the relay's list."""
    cursor, state = kept
    group, link = Group.restore(state, policy=NoPolicy()), device.session.link
    number = chance.randint(1, 1000)
    match chance.randrange(4):
        case 0 if not group.pending_proposals:
            return [Submit(room, number, group.epoch, Kind.APPLICATION, group.encrypt(chance.randbytes(40)))]
        case 1:
            return [Resume(link.next_id(), room, chance.choice([0, cursor]))]
        case 2:
            return [Mend(link.next_id(), room, [device.public], [])]
        case _:
            return [Report(link.next_id(), room, group.epoch, cursor + 1)]
