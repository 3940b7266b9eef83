"""Which of this library's key packages others accept, and that nobody accepts those that break a rule."""

from __future__ import annotations

from typing import Any

import pytest

from clave_crypto.mls import (
    Add,
    Extension,
    Grease,
    Group,
    KeyPackage,
    NoPolicy,
    ValidationError,
    encode_message,
)
from interop.clave import ClavePeer
from interop.mixes import CORE_CRYPTO, Mix, mixes
from interop.peer import Peer, Refused
from interop.steps import agree, follow, form, join, talk, update

VARIANTS: dict[str, dict[str, Any]] = {
    "last resort": {"last_resort": True},
    "extension of an application": {"extension_types": [0xF111]},
    "all GREASE": {"grease": Grease(True, True, True, True)},
    "no GREASE": {"grease": Grease(False, False, False, False)},
}

REFUSED = {
    (CORE_CRYPTO.name, "last resort"): "the marker's type, 0x000a, is that of PerDomainTrustAnchor there",
}
"""By library and variant, why it is refused."""


def ours(mix: Mix) -> ClavePeer:
    client = mix.client("c")
    assert isinstance(client, ClavePeer)
    return client


@pytest.mark.parametrize("mix", mixes(["tc"], []))
@pytest.mark.parametrize("what", VARIANTS)
def test_they_add_our_key_package(mix: Mix, what: str, request: pytest.FixtureRequest) -> None:
    reason = REFUSED.get((mix.theirs.name, what))
    if reason is not None:
        request.applymarker(pytest.mark.xfail(raises=Refused, reason=reason))
    members = form(mix.clients())
    newcomer = ours(mix)
    commit = members[0].add(encode_message(newcomer.bundle(**VARIANTS[what]).key_package))
    follow(commit, members[1:])
    join(commit, [newcomer])
    members.append(newcomer)
    agree(members)
    talk(members, members)


def with_unlisted_extension(client: ClavePeer) -> KeyPackage:
    """Return a key package with a GREASE extension that its leaf's capabilities do not list."""
    made = client.bundle(grease=Grease(capabilities=False)).key_package
    extensions = (Extension(0x0A0A, b""),)

    def with_signature(signature: bytes) -> KeyPackage:
        return KeyPackage(
            made.version, made.cipher_suite, made.init_key, made.leaf_node, extensions, signature
        )

    tbs = with_signature(b"").tbs()
    return with_signature(client.suite.sign_with_label(client.signature_secret, b"KeyPackageTBS", tbs))


class Waiving(NoPolicy):
    """Accepts key packages whose extensions are not listed."""

    def may_be_unlisted(self, extension_type: int) -> bool:
        return True


def check_rule(member: Peer, refusal: Exception) -> None:
    if isinstance(member, ClavePeer):
        assert isinstance(refusal, ValidationError)
        assert refusal.rule == "key-package-extensions-listed"
    else:
        assert "A key package extension is not supported in the leaf's capabilities" in str(refusal)


@pytest.mark.parametrize("mix", mixes(["ct", "tc"], [], libraries=[CORE_CRYPTO]))
def test_nobody_adds_a_key_package_with_an_unlisted_extension(mix: Mix) -> None:
    members = form(mix.clients())
    key_package = encode_message(with_unlisted_extension(ours(mix)))
    for member in members:
        with pytest.raises((ValidationError, Refused)) as refusal:
            member.add(key_package)
        check_rule(member, refusal.value)
        agree(members)
        talk(members, members)


@pytest.mark.parametrize("mix", mixes(["cct", "ctc"], [], libraries=[CORE_CRYPTO]))
def test_nobody_follows_who_adds_a_key_package_with_an_unlisted_extension(mix: Mix) -> None:
    members = form(mix.clients())
    careless = members[0]
    assert isinstance(careless, ClavePeer)
    waiving = Group.restore(careless.group.state(), policy=Waiving())
    addition = Add(with_unlisted_extension(ours(mix)))
    proposal = waiving.propose(addition, now=careless.now, public=True)
    waiving.withdraw(waiving.pending_proposals[0][0])
    commit = waiving.commit([addition], now=careless.now, public=True)
    for member in members[1:]:
        for message in (proposal, commit.message):
            with pytest.raises((ValidationError, Refused)) as refusal:
                member.receive(message)
            check_rule(member, refusal.value)
    agree(members)
    talk(members, members)
    update(members)
