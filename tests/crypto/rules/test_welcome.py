"""Welcomes and group infos that must be refused, and groups that do not continue the one they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    BasicCredential,
    Extension,
    ExtensionType,
    ExternalPsk,
    ExternalSender,
    ExternalSenders,
    LocalError,
    MalformedError,
    PreSharedKeyID,
    ReInit,
    RequiredCapabilities,
    ResumptionPsk,
    ResumptionUsage,
    decode_group_info,
    encode_message,
    new_psk_id,
)
from clave_crypto.mls.past import PastEpoch
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.welcome import GroupInfo
from forgekit import Forger, key_pair
from groupkit import DAY, NOW, SUITE, Party, Times, form
from rulekit import breaks, proves

TIMES: Times = {"now": NOW, "not_before": NOW - DAY, "not_after": NOW + DAY}


def invited() -> tuple[list[Party], Party, Forger]:
    """Return the members of a group, someone its first member adds, and who forges the Welcome."""
    members = form("red", "blue", "green")
    victim = Party("victim")
    bundle = victim.offer()
    pending = members[0].group.commit([Add(bundle.key_package)], now=NOW)
    return members, victim, Forger(members[0], bundle, pending.welcome or b"")


def test_remade_unchanged_welcome_is_accepted() -> None:
    _, victim, forger = invited()
    victim.join(forger.welcome_with())
    assert len(victim.group.members()) == 4


def _without_victim(forger: Forger) -> RatchetTree:
    tree = forger.tree.copy()
    tree.remove_leaf(3)
    return tree


def _resumption(usage: ResumptionUsage) -> PreSharedKeyID:
    return new_psk_id(SUITE, ResumptionPsk(usage, b"elsewhere", 1))


BRANCH, REINIT = _resumption(ResumptionUsage.BRANCH), _resumption(ResumptionUsage.REINIT)
SHORT = PreSharedKeyID(ExternalPsk(b"key"), b"short")
OTHER_SUITE = 3
UNFIT_SENDERS = ExternalSenders((ExternalSender(bytes(32), BasicCredential(b"")),))
WATCHED = Extension(ExtensionType.EXTERNAL_SENDERS, UNFIT_SENDERS.encode())

FORGERIES: list[tuple[str, Callable[[Forger], bytes]]] = [
    ("welcome-suite", lambda one: one.welcome_with(context={"cipher_suite": OTHER_SUITE})),
    ("welcome-tree-given", lambda one: one.welcome_with(info={"extensions": ()})),
    ("welcome-psk-nonces", lambda one: one.welcome_with(secrets={"psks": (SHORT,)})),
    ("welcome-one-origin", lambda one: one.welcome_with(secrets={"psks": (BRANCH, REINIT)})),
    ("extensions-unique", lambda one: one.welcome_with(info={"extensions": (Extension(9, b""),) * 2})),
    ("extensions-unique", lambda one: one.welcome_with(context={"extensions": (Extension(1, b""),) * 2})),
    ("extension-content", lambda one: one.welcome_with(context={"extensions": (Extension(1, b""),)})),
    ("external-senders-form", lambda one: one.welcome_with(context={"extensions": (WATCHED,)})),
    (
        "context-extensions-supported",
        lambda one: one.welcome_with(context={"extensions": (Extension(0xF001, b""),)}),
    ),
    ("tree-hash", lambda one: one.welcome_with(context={"tree_hash": bytes(32)})),
    ("group-info-signer", lambda one: one.welcome_with(info={"signer": 2**31})),
    ("group-info-signer", lambda one: one.welcome_with(info={"signer": 4})),
    ("group-info-signature", lambda one: one.welcome_with(signer=Party("mallory"))),
    ("group-info-signature", lambda one: one.welcome_with(info={"signer": 1})),
    ("confirmation-tag", lambda one: one.welcome_with(tag=bytes(32))),
    (
        "welcome-own-leaf",
        lambda one: one.welcome_with(tree=_without_victim(one), secrets={"path_secret": None}),
    ),
    ("path-keys-match", lambda one: one.welcome_with(secrets={"path_secret": Secret(bytes(32))})),
    ("tree-parent-hash", lambda one: one.welcome_with(tree=one.tree_with(1, encryption_key=key_pair()))),
    ("tree-parent-keys", lambda one: one.welcome_with(tree=one.tree_with(1, encryption_key=bytes(32)))),
    ("leaf-signature", lambda one: one.welcome_with(tree=one.tree_with(0, signature=bytes(64)))),
    ("leaf-signature", lambda one: one.welcome_with(tree=one.tree_with(0, credential=BasicCredential(b"x")))),
]


@proves(*(rule_id for rule_id, _ in FORGERIES))
@pytest.mark.parametrize(("rule_id", "forge"), FORGERIES)
def test_forged_welcome_is_refused(rule_id: str, forge: Callable[[Forger], bytes]) -> None:
    _, victim, forger = invited()
    with breaks(rule_id):
        victim.join(forge(forger))


def test_welcome_that_continues_a_group_needs_that_group() -> None:
    _, victim, forger = invited()
    with pytest.raises(LocalError):
        victim.join(forger.welcome_with(secrets={"psks": (BRANCH,)}))


def test_welcome_with_a_resumption_key_for_use_inside_continues_nothing() -> None:
    _, victim, forger = invited()
    psk = Secret(b"told")
    forger.find_psk = lambda _: psk
    use = _resumption(ResumptionUsage.APPLICATION)
    welcome = forger.welcome_with(secrets={"psks": (use,)})
    assert len(victim.join(welcome, find_psk=lambda _: psk).members()) == 4


@proves("group-id-new")
def test_second_group_of_the_same_id() -> None:
    members, victim, forger = invited()
    with breaks("group-id-new"):
        victim.join(forger.welcome_with(), other_groups=[b"room"])
    with breaks("group-id-new"):
        Party("white").enters(members[0].group.group_info(), other_groups=[b"room"])


@proves("external-pub")
def test_group_info_without_a_fit_key_for_external_commits() -> None:
    red, _ = form("red", "blue")
    info = decode_group_info(red.group.group_info())
    without = tuple(one for one in info.extensions if one.extension_type != ExtensionType.EXTERNAL_PUB)
    for data in (None, b"\x20" + bytes(32), b"nonsense"):
        added = () if data is None else (Extension(ExtensionType.EXTERNAL_PUB, data),)
        with breaks("external-pub"):
            Party("green").enters(encode_message(replace(info, extensions=(*without, *added))))


@proves("group-info-signature", "group-info-signer")
@pytest.mark.parametrize(
    ("rule_id", "forge"),
    [
        ("group-info-signature", lambda info: replace(info, signature=bytes(64))),
        ("group-info-signature", lambda info: replace(info, signer=1)),
        ("group-info-signer", lambda info: replace(info, signer=7)),
    ],
)
def test_forged_group_info_is_refused(rule_id: str, forge: Callable[[GroupInfo], GroupInfo]) -> None:
    red, _ = form("red", "blue")
    info = decode_group_info(red.group.group_info())
    with breaks(rule_id):
        Party("green").enters(encode_message(forge(info)))
    with pytest.raises(MalformedError):
        decode_group_info(encode_message(Party("green").offer().key_package))


# Groups that continue others


def branched() -> tuple[Party, Party, Forger]:
    """Return two members, the second one invited into a branch, and who forges that Welcome."""
    red, blue, _ = form("red", "blue", "green")
    bundle = blue.offer()
    _, welcome = red.group.branch(b"aside", [bundle.key_package], **TIMES)
    return red, blue, Forger(red, bundle, welcome, red.group._find_psk())


def test_unchanged_branch_is_joined() -> None:
    _, blue, forger = branched()
    assert blue.join(forger.welcome_with(), origin=blue.group).epoch == 1


@proves("origin-first-epoch")
def test_branch_in_a_later_epoch_is_refused() -> None:
    _, blue, forger = branched()
    with breaks("origin-first-epoch"):
        blue.join(forger.welcome_with(context={"epoch": 2}), origin=blue.group)


@proves("branch-parameters")
def test_branch_is_like_its_group() -> None:
    _, blue, forger = branched()
    epoch = blue.group._epoch
    blue.group._epoch = replace(epoch, context=replace(epoch.context, cipher_suite=OTHER_SUITE))
    with breaks("branch-parameters"):
        blue.join(forger.welcome_with(), origin=blue.group)


@proves("branch-members")
def test_branch_with_a_member_from_elsewhere_is_refused() -> None:
    red, blue, forger = branched()
    with breaks("branch-members", red):
        red.group.branch(b"aside", [Party("mallory").offer().key_package], **TIMES)
    tree = blue.group._epoch.tree.copy()
    tree.remove_leaf(0)
    blue.group._epoch = replace(blue.group._epoch, held_tree=tree)
    with breaks("branch-members"):
        blue.join(forger.welcome_with(), origin=blue.group)


@proves("origin-named")
def test_welcome_without_the_expected_resumption_key() -> None:
    _, victim, forger = invited()
    origin = Party("victim").create(b"old room")
    with breaks("origin-named"):
        victim.join(forger.welcome_with(), origin=origin)


def reinitialized() -> tuple[Party, bytes]:
    """Return a member of a reinitialised group, and the Welcome into the new one."""
    red, blue = form("red", "blue")
    pending = red.group.commit([ReInit(b"next", 1, SUITE.id, ())], now=NOW)
    blue.sees(pending.message)
    red.group.merge(pending)
    package = blue.offer().key_package
    _, welcome = red.group.reinitialize([package], b"red", red.signature_secret, **TIMES)
    return blue, welcome


@proves("reinit-agreed")
def test_reinitialised_group_without_a_reinit() -> None:
    blue, welcome = reinitialized()
    blue.group._reinit = None
    with breaks("reinit-agreed"):
        blue.join(welcome, origin=blue.group)


REQUIRED = Extension(ExtensionType.REQUIRED_CAPABILITIES, RequiredCapabilities((), (), (1,)).encode())


@proves("reinit-parameters")
@pytest.mark.parametrize(
    "agreed",
    [
        ReInit(b"other", 1, SUITE.id, ()),
        ReInit(b"next", 2, SUITE.id, ()),
        ReInit(b"next", 1, 3, ()),
        ReInit(b"next", 1, SUITE.id, (REQUIRED,)),
    ],
)
def test_reinitialised_group_with_other_parameters(agreed: ReInit) -> None:
    blue, welcome = reinitialized()
    blue.group._reinit = agreed
    with breaks("reinit-parameters"):
        blue.join(welcome, origin=blue.group)


@proves("reinit-epoch")
def test_reinitialised_group_with_a_key_of_another_epoch() -> None:
    blue, welcome = reinitialized()
    epoch = blue.group._epoch
    blue.group._past = [PastEpoch.of(epoch, blue.group._secret_tree)]
    blue.group._epoch = replace(epoch, context=replace(epoch.context, epoch=epoch.context.epoch + 1))
    with breaks("reinit-epoch"):
        blue.join(welcome, origin=blue.group)


@proves("reinit-members")
def test_reinitialised_group_without_every_member() -> None:
    red, blue, _ = form("red", "blue", "green")
    pending = red.group.commit([ReInit(b"next", 1, SUITE.id, ())], now=NOW)
    blue.sees(pending.message)
    red.group.merge(pending)
    with breaks("reinit-members", red):
        red.group.reinitialize([blue.offer().key_package], b"red", red.signature_secret, **TIMES)
