"""A self-update in the post-quantum suite, beside the public-key calls that it cannot do without."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

from bench.mls.sides import POOL, Ours
from clave_crypto.mls import (
    Add,
    Group,
    KeyPackage,
    KeyPackageBundle,
    MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
    NoPolicy,
    hybrid_kem,
)
from clave_crypto.mls.spread import apply_spread

__all__ = ["print_post_quantum"]

_SUITE = MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519
_DAY = 86_400


def print_post_quantum(size: int) -> None:
    """Print the milliseconds of a self-update with keys that were not parsed before, and with parsed ones."""
    now = int(time.time())
    group = Group.create(
        _SUITE,
        os.urandom(8),
        b"ours",
        Ours().signature_secret,
        policy=NoPolicy(),
        not_before=now,
        not_after=now + _DAY,
    )
    offers = [_offer(number, now) for number in range(size - 1)]
    group.merge(group.commit([Add(one) for one in offers], now=now, path=False, spread=POOL.map))
    others = [member.leaf.encryption_key for member in group.members()][1:]

    def update() -> None:
        group.commit(now=now, spread=POOL.map)

    def encapsulate() -> None:
        apply_spread(POOL.map, _SUITE.kem.encap, others)

    print("\npost-quantum self-update on all cores; the floor is parsing, ML-KEM and X25519 for all others")
    for name, is_cold in (("cold", True), ("keys parsed before", False)):
        took, least = (_milliseconds(work, is_cold=is_cold) for work in (update, encapsulate))
        print(f"{size:5}  {name:24}{took:9.1f}{'floor':>9}{least:9.1f}", flush=True)


def _milliseconds(work: Callable[[], None], *, is_cold: bool) -> float:
    if is_cold:
        hybrid_kem._load_mlkem.cache_clear()
    gc.collect()
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def _offer(number: int, now: int) -> KeyPackage:
    secret = Ours().signature_secret
    return KeyPackageBundle.generate(
        _SUITE, b"%d" % number, secret, not_before=now, not_after=now + _DAY
    ).key_package
