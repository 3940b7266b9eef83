"""Adding many members in one commit, beside mls-rs; the key packages are made by mls-rs beforehand."""

from __future__ import annotations

import os
import time
from statistics import median

from bench.mls.sides import POOL, Ours, Theirs
from clave_crypto.mls import (
    Add,
    Group,
    Limits,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    decode_key_package,
)

__all__ = ["print_bulk_adds"]

_LARGE = 50_000
_DAY = 86_400
_LIMITS = Limits(message=1 << 30, leaves=1 << 17)
_WAIT_SECONDS = 1


def print_bulk_adds(rounds: int, *, target: float, large: bool) -> None:
    """Print what adding 1,000 and 4,000 members costs, and with `large` 50,000, on this side only."""
    print("\nadd in one commit, both libraries on all cores")
    for size in (1000, 4000):
        offered = _offers(size)
        samples: list[list[float]] = [[], []]
        for _ in range(rounds):
            samples[0].append(_ours(offered))
            founder = Theirs().create()
            begin = time.perf_counter()
            founder.add_all(offered)
            samples[1].append(time.perf_counter() - begin)
        ours, theirs = (median(times) for times in samples)
        verdict = f"<= {target}: {'reached' if ours <= target * theirs else 'missed'}"
        print(
            f"{size:5}  {'':24}{ours * 1e3:9.1f}{theirs * 1e3:9.1f}{ours / theirs:7.2f}{'':31}{verdict}",
            flush=True,
        )
    if large:
        print(f"{_LARGE:5}  {'':24}{_ours(_offers(_LARGE)) * 1e3:9.1f}", flush=True)


def _offers(count: int) -> list[bytes]:
    offered = [Theirs().offer() for _ in range(count)]
    time.sleep(_WAIT_SECONDS)  # their lifetimes have begun then, by the second
    return offered


def _ours(offered: list[bytes]) -> float:
    """Return the seconds that adding takes, decoding included."""
    side, now = Ours(), int(time.time())
    group = Group.create(
        MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        os.urandom(8),
        b"ours",
        side.signature_secret,
        policy=side.policy,
        not_before=now,
        not_after=now + _DAY,
        limits=_LIMITS,
    )
    begin = time.perf_counter()
    adds = [Add(decode_key_package(one)) for one in offered]
    group.commit(adds, now=now, path=False, spread=POOL.map)
    return time.perf_counter() - begin
