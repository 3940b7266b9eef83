"""What links cost a room: bytes and time per change, and for who joins, by the number of its devices.

Each time stands beside that of a commit with a path in the same room, as a ratio. Run: make bench-links
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Final, TypeVar

import msgspec

from clave_client.formats.agreed_state import EXTENSION_TYPES, AgreedState
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.room_link import RoomLink
from clave_client.rooms.commit_builder import build_link_join
from clave_client.rooms.link_offers import make_offer, open_offer
from clave_client.rooms.policy import ROOM_LIMITS, RoomPolicy, restore_group
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.account import leaf_lifetime
from clave_crypto.identity import AccountKey, DeviceKey, verify_identity
from clave_crypto.mls import (
    Add,
    CipherSuite,
    Extension,
    Group,
    KeyPackageBundle,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
)
from clave_wire.framing import pack
from clave_wire.header import Seen
from clave_wire.messages import LinkOffer

SIZES: Final = (10, 100, 299)
"""Devices in a room; a room of 300 takes nobody in by links."""

ROUNDS: Final = 5
NOW: Final = int(time.time())
SEEN: Final = Seen(1, bytes(32))

T = TypeVar("T")


class Person:
    """An account with one device."""

    def __init__(self, name: str) -> None:
        account, self.device = AccountKey.generate(), DeviceKey.generate()
        self.identity = account.certify(name, "main", self.device.public)
        self.verified = verify_identity(self.identity, self.device.public)

    def package(self, suite: CipherSuite) -> KeyPackageBundle:
        """Return a key package of the device."""
        begin, end = leaf_lifetime(NOW)
        return KeyPackageBundle.generate(
            suite,
            self.identity,
            self.device.secret,
            not_before=begin,
            not_after=end,
            extension_types=EXTENSION_TYPES,
        )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the median seconds of some runs, and the last result."""
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return median(seconds), result


def room_of(size: int, suite: CipherSuite, links: list[LinkSecret]) -> tuple[Group, Group]:
    """Return the groups of the first and the second member of a room with links."""
    people = [Person(f"person{number}") for number in range(size)]
    host = people[0]
    account = host.verified.account
    listed = sorted(
        (RoomLink(one.key, one.kem_keys(suite)[1], account, NOW + 86_400, 10) for one in links),
        key=lambda link: link.key,
    )
    state = AgreedState(2, "bench", owners=[account], links=listed)
    begin, end = leaf_lifetime(NOW)
    group = Group.create(
        suite,
        os.urandom(16),
        host.identity,
        host.device.secret,
        policy=RoomPolicy(),
        extensions=(Extension(*state.extension()),),
        not_before=begin,
        not_after=end,
        extension_types=EXTENSION_TYPES,
        limits=ROOM_LIMITS,
    )
    bundles = [each.package(suite) for each in people[1:]]
    pending = group.commit([Add(bundle.key_package) for bundle in bundles], now=NOW, path=True)
    group.merge(pending)
    assert pending.welcome is not None  # noqa: S101 (it adds somebody)
    found = {bundle.reference: bundle for bundle in bundles[:1]}
    second = Group.join(pending.welcome, found.get, policy=RoomPolicy(), other_groups=(), limits=ROOM_LIMITS)
    return group, second


def measure(size: int, suite: CipherSuite) -> str:
    """Return the row of one size."""
    secret = LinkSecret.generate()
    group, second = room_of(size, suite, [secret, LinkSecret.generate()])
    commit_seconds, pending = timed(lambda: restore_group(group.state()).commit((), now=NOW, path=True))
    offer_seconds, offer = timed(lambda: make_offer(group, SEEN, NOW))
    (sealed,) = (link.sealed for link in offer.links if link.key == secret.key)
    handed = LinkOffer(1, offer.room, 0, 0, 1, sealed, offer.group_info)
    joiner = Person("joiner")

    def join() -> bytes:
        opened = open_offer(handed, secret)
        return build_link_join(
            opened.group_info,
            secret,
            head=opened.head,
            seen=opened.seen,
            account=joiner.verified,
            identity=joiner.identity,
            device=joiner.device,
        ).payload

    join_seconds, payload = timed(join)
    body = payload[2 + int.from_bytes(payload[:2], "big") :]
    check_seconds, _ = timed(lambda: restore_group(second.state()).receive(body))
    upload = len(pack(msgspec.structs.replace(offer, submission=1)))
    return (
        f"| {size} | {len(pending.message):,} | {upload:,} | {1000 * commit_seconds:.1f} |"
        f" {offer_seconds / commit_seconds:.2f} | {len(payload):,} | {1000 * join_seconds:.0f} |"
        f" {check_seconds / commit_seconds:.2f} |"
    )


def main() -> None:
    """Print a table for post-quantum rooms and one for those of suite 1."""
    for suite in (NEW_ROOMS, MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519):
        print(f"\n{suite.name}, two links")
        print(
            "| devices | commit, bytes | offer with it, bytes | commit, ms | offer / commit |"
            " join, bytes | join, ms | member's check / commit |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for size in SIZES:
            print(measure(size, suite), flush=True)


if __name__ == "__main__":
    main()
