"""The effect of a commit on a group, computed and not yet applied. Computes nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.proposals import ReInit
from clave_crypto.mls.secret_tree import SecretTree

__all__ = ["Change"]


@dataclass(frozen=True, repr=False)
class Change:
    """Committer and changed members by leaf index, and the next epoch (None if this member was removed)."""

    committer: int
    external: bool
    path: bool
    added: tuple[int, ...]
    removed: tuple[int, ...]
    updated: tuple[int, ...]
    reinit: ReInit | None
    authenticated_data: bytes
    epoch: Epoch | None
    secret_tree: SecretTree | None
