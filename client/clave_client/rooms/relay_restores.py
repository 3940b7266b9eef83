"""Finds up to which entry the logs of two incarnations of a relay agree. Knows no room."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from clave_client.errors import StoreDamaged

__all__ = ["common_log_end", "decode_restores", "encode_restores"]

Restores = Sequence[tuple[bytes, int]]
"""Each incarnation whose backup the relay was restored from (16 bytes), and the last entry kept of it."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int]])


def common_log_end(former: bytes, before: Restores | None, present: bytes, now: Restores) -> int:
    """Return the last entry that the log of incarnation `former` can share with that of `present`.

    `before` are the restores known under `former` (None if unknown), `now` those of `present`. Without an
    incarnation in common the result is 0, or, for `before` None, the last entry that the last restore kept.
    """
    if before is None and former not in dict(now):
        return now[-1][1] if now else 0
    kept_before, kept_now = dict(before or ()), dict(now)
    shared = [min(kept_before[each], kept_now[each]) for each in kept_before.keys() & kept_now.keys()]
    shared += [kept_now[former]] if former in kept_now else []
    shared += [kept_before[present]] if present in kept_before else []
    return max(shared, default=0)


def encode_restores(restores: Restores) -> bytes:
    """Return the bytes to store."""
    return _encoder.encode(restores)


def decode_restores(data: bytes) -> list[tuple[bytes, int]]:
    """Parse what `encode_restores` returned. Raises `StoreDamaged`."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StoreDamaged(
            f"what a room keeps of its relay cannot be read ({error}); restore a backup"
        ) from None
