"""Builds this device's commits with their headers and welcomes. Stores and sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from clave_client.errors import UsageError
from clave_client.formats.agreed_state import EXTENSION_TYPES, Role
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import epoch_id, header_digest
from clave_client.formats.room_link import link_extension
from clave_client.formats.welcome import Welcome
from clave_client.rooms.commit_records import OwnCommit
from clave_client.rooms.policy import (
    ROOM_LIMITS,
    RoomPolicy,
    agreed_state,
    check_link_join,
    departures,
    joined_by,
    leaf_identity,
    restore_group,
    state_proposal,
)
from clave_client.rooms.roster import Roster
from clave_crypto.identity import DeviceKey, VerifiedIdentity
from clave_crypto.mls import (
    Add,
    Group,
    GroupContextExtensions,
    MLSError,
    PendingCommit,
    Proposal,
    Remove,
    verify_group_info_message,
)
from clave_wire.header import Header, Seen, digest_names, pack_header
from clave_wire.links import LinkProof
from clave_wire.messages import Kind

__all__ = ["LinkJoin", "build_commit", "build_link_join", "build_rejoin"]


def build_commit(
    group: Group,
    roster: Roster,
    proposals: Sequence[Proposal],
    *,
    kind: Kind,
    seen: Seen,
    device: DeviceKey,
    now: int,
) -> tuple[OwnCommit, Group]:
    """Build a commit of `proposals` and of the pending ones; return it and the group it leads to.

    `kind` is COMMIT, or REKEY for one with a path; `now` is in seconds since 1970. Raises `MLSError` when the
    room's rules or the protocol do not allow it, `UsageError` when the proposals do not go together.
    """
    members, head = roster.members(), epoch_id(group)
    removed = {p.removed for p in proposals if isinstance(p, Remove)} | roster.leavers()
    removes = sorted(members[leaf].signature_key for leaf in removed)
    leaves = [p.key_package.leaf_node for p in proposals if isinstance(p, Add)]
    adds = [leaf.signature_key for leaf in leaves]
    ref = digest_names((leaf.signature_key, leaf_identity(leaf).name) for leaf in leaves) if adds else b""
    header = pack_header(Header(kind, head, seen, 0, adds, removes, ref))
    commit = group.commit(
        _with_settled_state(group, roster, proposals, removed, now) if kind is Kind.REKEY else proposals,
        now=now,
        path=kind is Kind.REKEY,
        authenticated_data=header_digest(header),
        extension_types=EXTENSION_TYPES if kind is Kind.REKEY else (),
    )
    covered = sorted(members[leaf].signature_key for leaf in commit.removed)
    if covered != removes or commit.path is not (kind is Kind.REKEY):
        raise UsageError("what is proposed does not go together; try again")
    successor = restore_group(group.state())
    successor.merge(PendingCommit.decode(commit.encode(), policy=RoomPolicy(), limits=ROOM_LIMITS))
    welcome = b""
    if commit.welcome is not None:
        welcome = Welcome.seal(commit.welcome, epoch_id(successor), seen, device)
    return OwnCommit(kind, header + commit.message, welcome, head), successor


def _with_settled_state(
    group: Group, roster: Roster, proposals: Sequence[Proposal], removed: Collection[int], now: int
) -> list[Proposal]:
    """Return the proposals with the agreed state as it has to be once the `removed` leaves are gone.

    A commit of anybody but a guest also ends the links that expired an hour ago or earlier.
    """
    changes = [p for p in proposals if isinstance(p, GroupContextExtensions)]
    extensions = changes[0].extensions if changes else group.extensions
    left = [member for leaf, member in sorted(roster.members().items()) if leaf not in removed]
    accounts = [member.account for member in left]
    state = agreed_state(extensions)
    has_removals = any(isinstance(proposal, Remove) for proposal in proposals)
    gone = departures(group.members(), removed, has_removals=has_removals)
    settled = gone.applied_to(state).settled(accounts)
    if all(member.is_current for member in left):
        settled = settled.inherited(accounts)
    if settled.role_of(roster.account()) > Role.GUEST:
        live = [link for link in settled.links if link.not_after > now - _PRUNE_SECONDS]
        settled = msgspec.structs.replace(settled, links=live)
    if settled == state:
        return list(proposals)
    return [*(p for p in proposals if p not in changes), state_proposal(extensions, settled)]


_PRUNE_SECONDS: Final = 3600


class LinkJoin(NamedTuple):
    """A join by a link: the group it leads to, the entry's payload, and the proof for the relay."""

    group: Group
    payload: bytes
    proof: LinkProof


def build_rejoin(
    group_info: bytes,
    leaves: Collection[int],
    *,
    head: bytes,
    seen: Seen,
    identity: bytes,
    device: DeviceKey,
    proof: LinkProof | None,
) -> tuple[OwnCommit, Group]:
    """Build the external commit that takes this device into the epoch `head`; return it and its group.

    `leaves` are the leaf indices that this device may have there; it replaces the one that is its own, which
    has the `proof`, if any, by which it joined. Raises `MLSError` when none is.
    """
    header = pack_header(Header(Kind.REKEY, head, seen))
    for leaf in sorted(leaves):
        try:
            successor, message = Group.join_externally(
                group_info,
                identity,
                device.secret,
                policy=RoomPolicy(),
                removes=leaf,
                other_groups=(),
                authenticated_data=header_digest(header),
                extension_types=EXTENSION_TYPES,
                leaf_extensions=() if proof is None else (link_extension(proof),),
                limits=ROOM_LIMITS,
            )
            break
        except MLSError:  # the policy refuses to replace another device's leaf
            if leaf == max(leaves):
                raise
    return OwnCommit(Kind.REKEY, header + message, b"", head, external=True), successor


def build_link_join(
    info: bytes,
    link: LinkSecret,
    *,
    head: bytes,
    seen: Seen,
    account: VerifiedIdentity,
    identity: bytes,
    device: DeviceKey,
) -> LinkJoin:
    """Build the external commit by which this device joins the epoch `head` of the GroupInfo `info`.

    If it has a leaf there already, it returns to it. Raises `MLSError` when the GroupInfo breaks the protocol
    or the room's rules do not allow it.
    """
    shown = verify_group_info_message(info, policy=RoomPolicy(), limits=ROOM_LIMITS)
    proof = link.prove(shown.group_id, head, device.public, account.name)
    former = next((each for each in shown.members if each.signature_key == device.public), None)
    named = proof if former is None else joined_by(former.leaf)
    header = pack_header(Header(Kind.REKEY, head, seen))
    group, message = Group.join_externally(
        info,
        identity,
        device.secret,
        policy=RoomPolicy(),
        removes=None if former is None else former.leaf_index,
        other_groups=(),
        authenticated_data=header_digest(header),
        extension_types=EXTENSION_TYPES,
        leaf_extensions=() if named is None else (link_extension(named),),
        limits=ROOM_LIMITS,
    )
    if former is None:
        own = group.member(group.own_leaf).leaf
        check_link_join(shown.group_id, head, shown.members, shown.extensions, own)
    return LinkJoin(group, header + message, proof)
