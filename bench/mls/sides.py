"""The two libraries behind one interface, so that both do the same work. Times nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import mls_rs_uniffi as mls_rs

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Group,
    KeyPackageBundle,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    NoPolicy,
    Remove,
    decode_key_package,
    encode_message,
)

__all__ = ["HOUR", "POOL", "Member", "OurMember", "Ours", "Side", "TheirMember", "Theirs"]

HOUR = 3600

POOL = ThreadPoolExecutor(os.cpu_count())
"""As many threads as cores, for both what is checked and what is encrypted."""


class Side(Protocol):
    """Someone who can be added to a group."""

    def offer(self) -> bytes:
        """Make a key package; return it encoded."""

    def join(self, welcome: bytes) -> Member:
        """Join; may be done again by the same Welcome."""


class Member(Protocol):
    """Someone in a group. Messages are encoded; commits made are not applied."""

    def process(self, message: bytes) -> None:
        """Process a message to the group."""

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt application data."""

    def update(self) -> bytes:
        """Make a commit of nothing but new keys of one's own."""

    def add(self, key_package: bytes) -> bytes:
        """Make a commit that adds one member."""

    def remove(self, leaf_index: int, removed: Theirs) -> bytes:
        """Make a commit that removes an mls-rs member."""


class Ours:
    """A client on this library."""

    def __init__(self) -> None:
        self.policy = NoPolicy()
        self.signature_secret = Secret(os.urandom(32))
        self.bundles: dict[bytes, KeyPackageBundle] = {}

    def offer(self) -> bytes:
        """Make a key package; return it encoded."""
        now = int(time.time())
        bundle = KeyPackageBundle.generate(
            MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            b"ours",
            self.signature_secret,
            not_before=now - HOUR,
            not_after=now + HOUR,
        )
        self.bundles[bundle.reference] = bundle
        return encode_message(bundle.key_package)

    def join(self, welcome: bytes) -> OurMember:
        """Join, the leaves checked on all cores as mls-rs does."""
        group = Group.join(welcome, self.bundles.get, policy=self.policy, other_groups=(), spread=POOL.map)
        return OurMember(group)


class OurMember:
    """A member on this library."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.now = int(time.time())

    def process(self, message: bytes) -> None:
        """Process a message to the group."""
        self.group.receive(message)

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt application data."""
        return self.group.encrypt(data)

    def update(self) -> bytes:
        """Make a commit of nothing but new keys of one's own."""
        return self.group.commit(now=self.now, spread=POOL.map).message

    def add(self, key_package: bytes) -> bytes:
        """Make a commit that adds one member."""
        return self.group.commit([Add(decode_key_package(key_package))], now=self.now, path=False).message

    def remove(self, leaf_index: int, removed: Theirs) -> bytes:
        """Make a commit that removes an mls-rs member."""
        return self.group.commit([Remove(leaf_index)], now=self.now, spread=POOL.map).message


class Theirs:
    """A client on mls-rs."""

    def __init__(self) -> None:
        keys = mls_rs.generate_signature_keypair(mls_rs.CipherSuite.CURVE25519_AES128)
        self.client = mls_rs.Client(os.urandom(8), keys, mls_rs.client_config_default())

    def offer(self) -> bytes:
        """Make a key package; return it encoded."""
        return bytes(self.client.generate_key_package_message().to_bytes())

    def create(self) -> TheirMember:
        """Make a group of one."""
        return TheirMember(self.client.create_group(None))

    def join(self, welcome: bytes) -> TheirMember:
        """Join."""
        return TheirMember(self.client.join_group(None, mls_rs.Message.from_bytes(welcome)).group)


class TheirMember:
    """A member on mls-rs."""

    def __init__(self, group: Any) -> None:
        self.group = group

    def process(self, message: bytes) -> None:
        """Process a message to the group."""
        self.group.process_incoming_message(mls_rs.Message.from_bytes(message))

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt application data."""
        return bytes(self.group.encrypt_application_message(data).to_bytes())

    def update(self) -> bytes:
        """Make a commit of nothing but new keys of one's own."""
        return bytes(self.group.commit().commit_message.to_bytes())

    def add(self, key_package: bytes) -> bytes:
        """Make a commit that adds one member."""
        return self.add_all([key_package])[0]

    def add_all(self, key_packages: Sequence[bytes]) -> tuple[bytes, bytes]:
        """Make a commit that adds members; return it and the Welcome."""
        made = self.group.add_members([mls_rs.Message.from_bytes(one) for one in key_packages])
        return bytes(made.commit_message.to_bytes()), bytes(made.welcome_message.to_bytes())

    def remove(self, leaf_index: int, removed: Theirs) -> bytes:
        """Make a commit that removes an mls-rs member."""
        made = self.group.remove_members([removed.client.signing_identity()])
        return bytes(made.commit_message.to_bytes())
