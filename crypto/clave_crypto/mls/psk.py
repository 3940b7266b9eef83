"""Pre-shared keys mixed into the key schedule (RFC 9420, section 8.4). Stores none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from clave_crypto.codec import Enum8, Struct, struct, u16, u64
from clave_crypto.keys import Secret
from clave_crypto.mls.suites import CipherSuite

__all__ = ["ExternalPsk", "PreSharedKeyID", "ResumptionPsk", "ResumptionUsage", "new_psk_id", "psk_secret"]


class _PskType(Enum8):
    EXTERNAL = 1
    RESUMPTION = 2


class ResumptionUsage(Enum8):
    """What the key of a past epoch is used for."""

    APPLICATION = 1
    REINIT = 2
    BRANCH = 3


@struct(tag=_PskType.EXTERNAL)
class ExternalPsk(Struct):
    """A key that the application provides under an id."""

    psk_id: bytes


@struct(tag=_PskType.RESUMPTION)
class ResumptionPsk(Struct):
    """The resumption key of some group's past epoch."""

    usage: ResumptionUsage
    psk_group_id: bytes
    psk_epoch: u64


@struct()
class PreSharedKeyID(Struct):
    """Names a key, with a nonce that is new for each use."""

    psk: ExternalPsk | ResumptionPsk
    psk_nonce: bytes


def new_psk_id(
    suite: CipherSuite, psk: ExternalPsk | ResumptionPsk, random: Callable[[int], bytes] = os.urandom
) -> PreSharedKeyID:
    """Return an id for one use of `psk` in a group of that suite, its nonce fresh."""
    return PreSharedKeyID(psk, random(suite.hash_size))


@struct()
class _PSKLabel(Struct):
    id: PreSharedKeyID
    index: u16
    count: u16


def psk_secret(suite: CipherSuite, psks: Sequence[tuple[PreSharedKeyID, Secret]]) -> Secret:
    """Return the psk_secret of these keys in this order; all zero when there are none."""
    zero = bytes(suite.hash_size)
    result = Secret(zero)
    for index, (psk_id, psk) in enumerate(psks):
        label = _PSKLabel(psk_id, index, len(psks)).encode()
        psk_input = suite.expand_with_label(suite.extract(zero, psk), b"derived psk", label, suite.hash_size)
        result = suite.extract(psk_input, result)
    return result
