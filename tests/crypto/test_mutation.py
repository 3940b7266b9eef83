"""Changed bytes from a peer or a disk give typed errors and no partial change."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from clave_crypto.errors import CryptoError
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    BasicCredential,
    Extension,
    ExternalPsk,
    ExternalSender,
    ExternalSenders,
    Group,
    GroupContextExtensions,
    GroupState,
    KeyPackageBundle,
    PendingCommit,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    ReInit,
    Remove,
    decode_key_package,
    encode_message,
    new_psk_id,
    propose_externally,
    propose_join,
)
from clave_crypto.mls.extensions import ExtensionType
from clave_crypto.mls.framing import MLSMessage, decode_message
from clave_crypto.mls.welcome import Welcome
from groupkit import NOW, SUITE, Party, form


def find_psk(_: PreSharedKeyID) -> Secret:
    return Secret(b"shared")


class Scene:
    """A member, and everything valid that may come to it or to somebody outside."""

    def __init__(self) -> None:
        watcher = Party("watcher")
        key = SUITE.signature.public_key(watcher.signature_secret)
        senders = ExternalSenders((ExternalSender(key, BasicCredential(b"watcher")),)).encode()
        watched = Extension(ExtensionType.EXTERNAL_SENDERS, senders)
        self.red, self.blue, self.green = form("red", "blue", "green", extensions=[watched])
        self.stored = self.red.group.state()
        self.white, self.grey = Party("white"), Party("grey")
        self.bundle = self.white.offer()
        add, remove = Add(self.bundle.key_package), Remove(2)
        psk = PreSharedKey(new_psk_id(SUITE, ExternalPsk(b"link")))
        reinit, extensions = ReInit(b"next", 1, SUITE.id, ()), GroupContextExtensions((watched,))
        info = self.red.group.group_info()
        self.messages = {"application": self.fresh().encrypt(b"hello", authenticated_data=b"seen")}
        for public in (False, True):
            where = "public" if public else "private"
            for proposal in (add, remove, psk, reinit, extensions):
                name = f"{where} {type(proposal).__name__}"
                self.messages[name] = self.fresh().propose(proposal, now=NOW, public=public)
                self.messages[f"{name} commit"] = self.commits([proposal], public).message
            self.messages[f"{where} Update"] = self.fresh().propose_update(now=NOW, public=public)
            self.messages[f"{where} commit"] = self.commits([], public).message
        self.messages["pathless commit"] = self.commits([add], False, path=False).message
        self.messages["proposal to join"] = propose_join(self.grey.offer(), b"room", 1)
        self.messages["external proposal"] = propose_externally(
            SUITE, 0, watcher.signature_secret, remove, b"room", 1
        )
        self.messages["external commit"] = Party("black").enters(info)
        self.messages["resync"] = Party("green").enters(info, removes=2)

        pending = self.commits([add, Add(self.grey.offer().key_package)], False)
        assert pending.welcome is not None
        self.objects = {
            "Welcome": pending.welcome,
            "GroupInfo": info,
            "key package": encode_message(self.bundle.key_package),
            "stored epoch": self.blue.group.state().epoch,
            "stored ratchets": self.blue.group.state().ratchets,
            "stored commit": pending.encode(),
            "stored bundle": self.bundle.encode(),
        }

    def fresh(self) -> Group:
        """Return red's group as it was: each message is sent as if it were the only one."""
        return Group.restore(self.stored, policy=self.red.policy)

    def commits(self, proposals: list[Proposal], public: bool, *, path: bool = True) -> PendingCommit:
        return self.fresh().commit(proposals, now=NOW, public=public, path=path, find_psk=find_psk)

    def receive(self, data: bytes) -> object:
        """Give a message to blue, whose state stays byte-identical when it refuses."""
        group = Group.restore(self.blue.group.state(), policy=self.blue.policy)
        try:
            return group.receive(data, find_psk=find_psk)
        except CryptoError:
            assert group.state() == self.blue.group.state()
            raise

    def takers(self) -> dict[str, Callable[[bytes], object]]:
        """Return the function that receives each kind of object."""
        policy = self.blue.policy
        state = self.blue.group.state()
        return {
            "message": self.receive,
            "Welcome": lambda data: Group.join(
                data, self.white.bundles.get, policy=policy, other_groups=()
            ).state(),
            "GroupInfo": lambda data: Party("black").enters(data),
            "key package": lambda data: decode_key_package(data).verify(policy=policy, now=NOW),
            "stored epoch": lambda data: Group.restore(
                GroupState(data, state.ratchets), policy=policy
            ).state(),
            "stored ratchets": lambda data: Group.restore(
                GroupState(state.epoch, data), policy=policy
            ).state(),
            "stored commit": lambda data: PendingCommit.decode(data, policy=policy).encode(),
            "stored bundle": lambda data: KeyPackageBundle.decode(data).reference,
        }


@cache
def scene() -> Scene:
    return Scene()


def everything() -> Iterator[tuple[str, str, bytes]]:
    """Yield the name, the receiving function and the bytes of each valid object."""
    for name, message in scene().messages.items():
        yield name, "message", message
    for name, encoded in scene().objects.items():
        yield name, name, encoded


NAMES = [name for name, _, _ in everything()]
TRUSTED = {"stored epoch", "stored ratchets", "stored commit", "stored bundle"}
"""Read from one's own disk, and not authenticated: damage there may go unnoticed."""


def find(name: str) -> tuple[Callable[[bytes], object], bytes]:
    ((taker, data),) = ((taker, data) for other, taker, data in everything() if other == name)
    return scene().takers()[taker], data


def refuses(name: str, changed: bytes) -> None:
    """Check that a changed object gives a typed error; trusted objects may also be accepted."""
    take, data = find(name)
    assert changed != data
    try:
        taken = take(changed)
    except CryptoError:
        return
    assert name in TRUSTED or (name == "Welcome" and taken == take(data) and only_another(data, changed)), (
        name
    )


def only_another(welcome: bytes, changed: bytes) -> bool:
    """Return whether only the secrets for another joiner differ, which nobody else can check."""
    one, other = decode_message(welcome), decode_message(changed)
    assert isinstance(one, Welcome)
    assert isinstance(other, Welcome)
    mine = scene().bundle.reference
    own = [[entry for entry in this.secrets if entry.new_member == mine] for this in (one, other)]
    return own[0] == own[1] and one.encrypted_group_info == other.encrypted_group_info


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", NAMES)
def test_unchanged_message_is_accepted(name: str) -> None:
    take, data = find(name)
    take(data)


@pytest.mark.parametrize("name", NAMES)
def test_some_bits_flipped(name: str) -> None:
    _, data = find(name)
    for bit in {*range(0, 64, 9), *range(0, 8 * len(data), max(9, 8 * len(data) // 60 | 1))}:
        refuses(name, flipped(data, bit))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", NAMES)
def test_every_bit_flipped(name: str) -> None:
    _, data = find(name)
    for bit in range(8 * len(data)):
        refuses(name, flipped(data, bit))


@pytest.mark.parametrize("name", NAMES)
def test_cut_and_extended(name: str) -> None:
    _, data = find(name)
    for end in (0, 1, 4, len(data) // 3, len(data) // 2, len(data) - 1):
        refuses(name, data[:end])
    for start in (0, len(data) // 3, len(data) // 2):
        refuses(name, data[:start] + data[start + 1 :])
        refuses(name, data[:start] + b"\0" + data[start:])
    for tail in (b"\0", bytes(100), data):
        refuses(name, data + tail)


@pytest.mark.parametrize("name", NAMES)
def test_message_of_one_kind_given_as_another(name: str) -> None:
    ((own, data),) = ((taker, data) for other, taker, data in everything() if other == name)
    for taker, take in scene().takers().items():
        if taker != own:
            with pytest.raises(CryptoError):
                take(data)


def parts(message: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every field of a struct, and theirs, by the path to it."""
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        yield (*path, field.name), value
        if dataclasses.is_dataclass(value):
            yield from parts(value, *path, field.name)


def with_part(message: Any, path: tuple[str, ...], value: Any) -> Any:
    name, *rest = path
    return dataclasses.replace(
        message, **{name: with_part(getattr(message, name), tuple(rest), value) if rest else value}
    )


def decoded() -> dict[str, MLSMessage]:
    return {name: decode_message(data) for name, _, data in everything() if name not in TRUSTED}


@pytest.mark.parametrize("name", sorted(decoded()))
def test_fields_of_another_message(name: str) -> None:
    """Each field is replaced by the same field of two others of the kind."""
    message, (_, data) = decoded()[name], find(name)
    others = [one for other, one in decoded().items() if type(one) is type(message) and other != name]
    for path, value in parts(message):
        values = [found for one in others for where, found in parts(one) if where == path and found != value]
        for other in itertools.islice(values, 2):
            encoded = encode_message(with_part(message, path, other))
            if encoded != data:
                refuses(name, encoded)
