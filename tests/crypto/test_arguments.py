"""Arguments of other types than declared are refused in words, before anything is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    BasicCredential,
    Extension,
    Group,
    GroupContextExtensions,
    KeyPackageBundle,
    LocalError,
    NoPolicy,
    PendingCommit,
    PreSharedKey,
    ReInit,
    Remove,
    X509Credential,
    decode_key_package,
    encode_message,
)
from groupkit import NOW, SUITE, Party

SECRET = Secret(os.urandom(32))
GREEN = Party("green").offer()
ENCODED = encode_message(GREEN.key_package)
Call = Callable[[Any], Any]


def made(kind: Any, *fields: Any) -> Any:
    """Return a struct with fields of other types than it declares."""
    return kind(*fields)


def offer(**changes: Any) -> Call:
    arguments: dict[str, Any] = {"suite": SUITE, "identity": b"red", "signature_secret": SECRET}
    arguments |= {"not_before": NOW, "not_after": NOW + 1} | changes
    return lambda _: KeyPackageBundle.generate(**arguments)


def create(**changes: Any) -> Call:
    arguments: dict[str, Any] = {"suite": SUITE, "group_id": b"room", "identity": b"red"}
    arguments |= {"signature_secret": SECRET, "policy": NoPolicy(), "not_before": NOW, "not_after": NOW}
    return lambda _: Group.create(**(arguments | changes))


def commit(*proposals: Any, now: Any = NOW) -> Call:
    return lambda group: group.commit(list(proposals), now=now)


WRONG: dict[str, tuple[Call, str]] = {
    "a lifetime with a fraction": (offer(not_before=1.5), "not_before must be a whole number, not float"),
    "a negative lifetime": (offer(not_before=-1), r"not_before must be from 0 to 2\*\*64 - 1"),
    "a lifetime beyond 64 bits": (offer(not_after=1 << 64), r"not_after must be from 0 to 2\*\*64 - 1"),
    "a lifetime of truth": (offer(not_before=True), "not_before must be a whole number, not bool"),
    "a lifetime that ends first": (offer(not_after=NOW - 1), "not_after is before not_before"),
    "a str identity": (
        offer(identity="red"),
        "identity must be of bytes or BasicCredential or X509Credential",
    ),
    "no identity": (offer(identity=None), "identity must be of .*, not NoneType"),
    "a str in a credential": (
        offer(identity=made(BasicCredential, "red")),
        "identity.identity must be bytes, not str",
    ),
    "a number in a chain": (
        offer(identity=made(X509Credential, (1,))),
        r"identity.certificates\[0\] must be bytes",
    ),
    "a str extension type": (offer(extension_types=("x",)), r"extension_types\[0\] must be a whole number"),
    "an extension type beyond 16 bits": (
        offer(extension_types=(70_000,)),
        r"must be from 0 to 2\*\*16 - 1",
    ),
    "a short signature key": (
        offer(signature_secret=b"short"),
        "signature_secret is not a private key of MLS_128",
    ),
    "a number for a suite": (offer(suite=1), "suite must be of CipherSuite, not int"),
    "a str group id": (create(group_id="room"), "group_id must be bytes, not str"),
    "an encoded extension": (
        create(extensions=[b"x"]),
        r"extensions\[0\] must be of Extension, not bytes: decode",
    ),
    "bytes for extensions": (create(extensions=b"x"), "extensions must be a sequence, not bytes"),
    "an encoded key package to add": (
        commit(made(Add, ENCODED)),
        r"proposals\[0\].key_package must be of KeyPackage.*decode it first",
    ),
    "an encoded proposal": (
        commit(ENCODED),
        r"proposals\[0\] must be of Add or .*, not bytes: decode it first",
    ),
    "a key package for a proposal": (
        commit(GREEN.key_package),
        r"proposals\[0\] must be of Add or .*, not KeyPackage",
    ),
    "a bundle to add": (commit(made(Add, GREEN)), "must be of KeyPackage, not KeyPackageBundle"),
    "one proposal for many": (
        lambda group: group.commit(Add(GREEN.key_package), now=NOW),
        "proposals must be a sequence",
    ),
    "a time with a fraction": (commit(now=1.5), "now must be a whole number, not float"),
    "a str leaf index": (commit(made(Remove, "1")), r"proposals\[0\].removed must be a whole number"),
    "a negative leaf index": (commit(Remove(-1)), r"proposals\[0\].removed must be from 0"),
    "encoded group extensions": (
        commit(made(GroupContextExtensions, b"x")),
        "extensions must be a sequence",
    ),
    "an encoded psk": (commit(made(PreSharedKey, b"x")), r"proposals\[0\].psk must be of PreSharedKeyID"),
    "a str in a reinit": (commit(made(ReInit, "x", 1, 1, ())), r"proposals\[0\].group_id must be bytes"),
    "an encoded proposal to send": (
        lambda group: group.propose(ENCODED, now=NOW),
        "proposal must be of Add or",
    ),
    "text to encrypt": (lambda group: group.encrypt("hello"), "data must be bytes, not str"),
    "text to authenticate": (
        lambda group: group.encrypt(b"", authenticated_data="x"),
        "authenticated_data must be bytes",
    ),
    "a str message": (lambda group: group.receive("x"), "message must be bytes, not str"),
    "a parsed message": (
        lambda group: group.preview(GREEN.key_package),
        "message must be bytes, not KeyPackage",
    ),
    "bytes to merge": (lambda group: group.merge(b"x"), "pending must be of PendingCommit, not bytes"),
    "bytes to restore": (lambda _: made(Group.restore, b"x"), "state must be of GroupState"),
    "encoded packages to branch": (
        lambda group: group.branch(b"q", [ENCODED], now=NOW, not_before=NOW, not_after=NOW),
        r"key_packages\[0\] must be of KeyPackage, not bytes: decode it first",
    ),
    "a parsed key package to decode": (
        lambda _: made(decode_key_package, GREEN.key_package),
        "data must be bytes",
    ),
    "bytes to encode": (lambda _: made(encode_message, b"x"), "message must be of .*, not bytes"),
    "a str pending commit": (lambda _: made(PendingCommit.decode, "x"), "data must be bytes"),
    "an encoded label": (lambda group: group.export(b"label", b"", 5), "label must be of str, not bytes"),
    "a length with a fraction": (
        lambda group: group.export("label", b"", 1.5),
        "length must be a whole number",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_types_are_refused(name: str) -> None:
    call, words = WRONG[name]
    red = Party("red")
    red.create()
    before = red.group.state()
    with pytest.raises(LocalError, match=words):
        call(red.group)
    assert red.group.state() == before


def test_what_fits_is_taken() -> None:
    red = Party("red")
    red.create(extensions=(Extension(1, b"\0"),))
    red.commits([Add(Party("blue").offer().key_package), GroupContextExtensions((Extension(1, b"\1x"),))])
    assert len(red.group.members()) == 2
