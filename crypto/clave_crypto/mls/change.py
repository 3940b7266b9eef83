"""The step that a commit takes a group through, ready to be taken. Computes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.secret_tree import SecretTree

__all__ = ["Change"]


@dataclass(frozen=True, repr=False)
class Change:
    """Who committed and who changed, by leaf index, and the epoch after: None for whoever was removed."""

    committer: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    updated: tuple[int, ...]
    epoch: Epoch | None
    secret_tree: SecretTree | None
