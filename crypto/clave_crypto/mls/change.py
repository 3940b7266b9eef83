"""The step that a commit takes a group through, ready to be taken. Computes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.proposals import ReInit
from clave_crypto.mls.secret_tree import SecretTree

__all__ = ["Change"]


@dataclass(frozen=True, repr=False)
class Change:
    """Who committed and who changed, by leaf index, and the epoch after: None for whoever was removed."""

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
