"""Which of this library's key packages others accept, and that nobody accepts those that break a rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from clave_crypto.mls import (
    Add,
    Extension,
    Grease,
    Group,
    KeyPackage,
    ValidationError,
    encode_message,
)
from clave_crypto.mls.rules.registry import RULES
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


BROKEN: dict[str, tuple[Extension, str, str]] = {
    "unlisted extension": (
        Extension(0x0A0A, b""),
        "key-package-extensions-listed",
        "A key package extension is not supported in the leaf's capabilities",
    ),
    "malformed extension": (Extension(1, b""), "extension-content", "InvalidVectorLength"),
}
"""What a key package has, the rule that it breaks, and what core-crypto says."""


def with_extension(client: ClavePeer, extension: Extension) -> KeyPackage:
    """Return a key package with that extension, which its leaf's capabilities do not list."""
    made = client.bundle(grease=Grease(capabilities=False)).key_package

    def with_signature(signature: bytes) -> KeyPackage:
        return KeyPackage(
            made.version, made.cipher_suite, made.init_key, made.leaf_node, (extension,), signature
        )

    tbs = with_signature(b"").tbs()
    return with_signature(client.suite.sign_with_label(client.signature_secret, b"KeyPackageTBS", tbs))


@contextmanager
def without(rule_id: str) -> Iterator[None]:
    """Have this library not check a rule."""
    rule = RULES[rule_id]
    RULES[rule_id] = replace(rule, check=lambda *_: None)
    yield
    RULES[rule_id] = rule


def check_refusal(member: Peer, refusal: Exception, what: str) -> None:
    _, rule_id, words = BROKEN[what]
    if isinstance(member, ClavePeer):
        assert isinstance(refusal, ValidationError)
        assert refusal.rule == rule_id
    else:
        assert words in str(refusal)


@pytest.mark.parametrize("mix", mixes(["ct", "tc"], [], libraries=[CORE_CRYPTO]))
@pytest.mark.parametrize("what", BROKEN)
def test_nobody_adds_a_key_package_that_breaks_a_rule(mix: Mix, what: str) -> None:
    members = form(mix.clients())
    key_package = encode_message(with_extension(ours(mix), BROKEN[what][0]))
    for member in members:
        with pytest.raises((ValidationError, Refused)) as refusal:
            member.add(key_package)
        check_refusal(member, refusal.value, what)
        agree(members)
        talk(members, members)


@pytest.mark.parametrize("mix", mixes(["cct", "ctc"], [], libraries=[CORE_CRYPTO]))
@pytest.mark.parametrize("what", BROKEN)
def test_nobody_follows_who_adds_a_key_package_that_breaks_a_rule(mix: Mix, what: str) -> None:
    members = form(mix.clients())
    careless = members[0]
    assert isinstance(careless, ClavePeer)
    copy = Group.restore(careless.group.state(), policy=careless.policy)
    extension, rule_id, _ = BROKEN[what]
    addition = Add(with_extension(ours(mix), extension))
    with without(rule_id):
        proposal = copy.propose(addition, now=careless.now, public=True)
        copy.withdraw(copy.pending_proposals[0][0])
        commit = copy.commit([addition], now=careless.now, public=True)
    for member in members[1:]:
        for message in (proposal, commit.message):
            with pytest.raises((ValidationError, Refused)) as refusal:
                member.receive(message)
            check_refusal(member, refusal.value, what)
    agree(members)
    talk(members, members)
    update(members)
