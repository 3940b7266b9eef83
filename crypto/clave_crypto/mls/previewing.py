"""Compute what a commit would do and whether this member can follow it. Changes nothing."""

from __future__ import annotations

from clave_crypto.mls.epoch import FindPsk
from clave_crypto.mls.errors import DecryptionError, ValidationError
from clave_crypto.mls.events import CommitFate, CommitPreview
from clave_crypto.mls.following import CheckedCommit, check_tag, derive_epoch_after, members_at, open_secrets
from clave_crypto.mls.limits import Limits

__all__ = ["preview_commit"]


def preview_commit(checked: CheckedCommit, *, find_psk: FindPsk, limits: Limits) -> CommitPreview:
    """Return what a checked commit does, and its fate here (RFC 9420, section 12.4.2).

    Raises:
        UnsupportedError: this member does not have a pre-shared key.

    """
    epoch, applied = checked.epoch, checked.applied
    return CommitPreview(
        committer=applied.committer,
        external=applied.external_init is not None,
        path=checked.path is not None,
        added=members_at(checked.tree, applied.added),
        removed=members_at(epoch.tree, applied.removed),
        updated=members_at(checked.tree, applied.updated),
        extensions_changed=applied.extensions != epoch.context.extensions,
        reinit=applied.reinit,
        authenticated_data=checked.authenticated.content.authenticated_data,
        fate=_find_fate(checked, find_psk, limits),
    )


def _find_fate(checked: CheckedCommit, find_psk: FindPsk, limits: Limits) -> CommitFate:
    if checked.removes_self:
        return CommitFate.REMOVES
    try:
        opened = open_secrets(checked)
    except (DecryptionError, ValidationError):
        return CommitFate.SEALED
    following = derive_epoch_after(checked, opened, find_psk=find_psk, limits=limits)
    try:
        check_tag(checked, following)
    except ValidationError:
        return CommitFate.WRONG_TAG
    return CommitFate.OPENS
