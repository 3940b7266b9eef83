"""How far the logs of two incarnations of a relay are one, by what its restores kept. Knows no room."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from clave_client.errors import StoreDamaged

__all__ = ["common_log_end", "decode_restores", "encode_restores"]

Restores = Sequence[tuple[bytes, int]]
"""Each former incarnation whose backup the relay was restored from (16 bytes), the last entry kept of it."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int]])


def common_log_end(former: bytes, before: Restores | None, present: bytes, now: Restores) -> int:
    """Return the last entry that the log of the incarnation `former` can share with that of `present`.

    Both come with their restores. Without an incarnation in common it is 0, or what the last restore kept for
    whoever was let in `before` and never heard of any.
    """
    if before is None and former not in dict(now):
        return now[-1][1] if now else 0
    kept_before, kept_now = dict(before or ()), dict(now)
    shared = [min(kept_before[each], kept_now[each]) for each in kept_before.keys() & kept_now.keys()]
    shared += [kept_now[former]] if former in kept_now else []
    shared += [kept_before[present]] if present in kept_before else []
    return max(shared, default=0)


def encode_restores(restores: Restores) -> bytes:
    """Return the bytes to keep."""
    return _encoder.encode(restores)


def decode_restores(data: bytes) -> list[tuple[bytes, int]]:
    """Read back what `encode_restores` gave. Raises `StoreDamaged`."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StoreDamaged(
            f"what a room keeps of its relay cannot be read ({error}); restore a backup"
        ) from None
