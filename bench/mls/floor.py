"""What an operation cannot do without: public-key and AEAD calls, made bare through `cryptography`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from statistics import median

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Calls", "floor", "unavoidable"]

_SECRET = os.urandom(32)
_TEXT = os.urandom(250)


@dataclass(frozen=True)
class Calls:
    """How often an operation must call each."""

    sign: int = 0
    verify: int = 0
    seal: int = 0
    open: int = 0
    key_pair: int = 0
    aead: int = 0


def unavoidable(size: int) -> dict[str, Calls]:
    """Return the calls of each operation in a group of `size` whose parents are blank, at its last leaf."""
    path_keys = 1 + (size - 1).bit_count()
    processed = Calls(verify=2, open=1, key_pair=1)
    return {
        "create key package": Calls(sign=2, key_pair=2),
        "join from Welcome": Calls(verify=size + 1, open=1, aead=1),
        "encrypt, first of epoch": Calls(sign=1, aead=2),
        "encrypt 100 B": Calls(sign=1, aead=2),
        "decrypt, first of epoch": Calls(verify=1, aead=2),
        "decrypt 100 B": Calls(verify=1, aead=2),
        "process update, cold": processed,
        "process update, warm": processed,
        "process add": Calls(verify=3),
        "process remove": processed,
        "self-update": Calls(sign=2, seal=size - 1, key_pair=path_keys),
        "remove one": Calls(sign=2, seal=size - 2, key_pair=path_keys),
        "add one": Calls(sign=2, verify=2, seal=1, aead=1),
    }


def floor(calls: Calls) -> float:
    """Return the seconds that `calls` take, one after the other."""
    counts: tuple[int, ...] = astuple(calls)
    return sum(count * _cost(call) for count, call in zip(counts, _BARE, strict=True) if count)


def _bare() -> tuple[Callable[[], object], ...]:
    signer = Ed25519PrivateKey.from_private_bytes(_SECRET)
    verifier, signature = signer.public_key().public_bytes_raw(), signer.sign(_TEXT)
    private = X25519PrivateKey.from_private_bytes(_SECRET)
    public = private.public_key().public_bytes_raw()
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    sealed = suite.encrypt(_SECRET, private.public_key(), _TEXT)
    return (
        lambda: Ed25519PrivateKey.from_private_bytes(_SECRET).sign(_TEXT),
        lambda: Ed25519PublicKey.from_public_bytes(verifier).verify(signature, _TEXT),
        lambda: suite.encrypt(_SECRET, X25519PublicKey.from_public_bytes(public), _TEXT),
        lambda: suite.decrypt(sealed, X25519PrivateKey.from_private_bytes(_SECRET), _TEXT),
        lambda: X25519PrivateKey.from_private_bytes(_SECRET).public_key().public_bytes_raw(),
        lambda: AESGCM(_SECRET[:16]).encrypt(_SECRET[:12], _TEXT, _TEXT),
    )


_BARE = _bare()


def _cost(call: Callable[[], object]) -> float:
    costs = []
    for _ in range(100):
        begin = time.perf_counter()
        call()
        costs.append(time.perf_counter() - begin)
    return median(costs)
