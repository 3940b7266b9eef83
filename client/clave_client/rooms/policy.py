"""The rules that members check commits by: who may be a leaf, and what the agreed state allows whom.

Every client checks every commit against the state of the epoch before it by the same rules, so that all
accept it or all refuse it; the relay has no say. Does no I/O and keeps no state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from clave_client.errors import PeerError
from clave_client.formats.agreed_state import EXTENSION_TYPES, AgreedState, decode_state
from clave_client.formats.payload import epoch_id
from clave_client.formats.room_link import LINK_EXTENSION, link_proof
from clave_client.rooms.state_rules import Departures, check_change, check_edit, check_removal, require
from clave_crypto.errors import CryptoError, IdentityError
from clave_crypto.identity import VerifiedIdentity, verify_identity, verify_signature
from clave_crypto.mls import (
    Add,
    Application,
    CipherSuite,
    Extension,
    ExternalInit,
    ExternalSender,
    Group,
    GroupContextExtensions,
    GroupState,
    GroupView,
    LeafNode,
    Limits,
    Member,
    MemberSender,
    PolicyRejected,
    Proposal,
    Remove,
    Sender,
    Update,
)
from clave_crypto.mls.grease import GREASE
from clave_wire.errors import BadName
from clave_wire.links import LinkProof, join_transcript
from clave_wire.text import check_name, sanitize, skeleton

__all__ = [
    "MAX_DEVICES",
    "MOST_LINK_DEVICES",
    "NOTES",
    "ROOM_LIMITS",
    "RoomPolicy",
    "agreed_state",
    "check_direct",
    "check_link_join",
    "check_names_differ",
    "departures",
    "device_identity",
    "is_reserved",
    "joined_by",
    "leaf_identity",
    "member_identity",
    "restore_group",
    "room_title",
    "state_proposal",
    "uses_left",
]


NOTES = "notes to self"
"""What the room with own notes is called."""


def member_identity(member: Member | Application) -> VerifiedIdentity:
    """Return who a member or sender is; raises `PolicyRejected` if its account did not sign its device."""
    key = member.sender_key if isinstance(member, Application) else member.signature_key
    return device_identity(member.identity, key)


def device_identity(encoded: bytes, device: bytes) -> VerifiedIdentity:
    """Return what an encoded identity says; raises `PolicyRejected` if it is not this device's."""
    return _identity(encoded, device)


def leaf_identity(leaf: LeafNode) -> VerifiedIdentity:
    """Return who a leaf belongs to; raises `PolicyRejected` when the account did not sign that device."""
    return _identity(leaf.credential.identity, leaf.signature_key)


@lru_cache(maxsize=4096)
def _identity(encoded: bytes, device: bytes) -> VerifiedIdentity:
    try:
        identity = verify_identity(encoded, device)
        check_name(identity.name)
        check_name(identity.device_name)
    except (IdentityError, BadName) as error:
        raise PolicyRejected(f"a member's identity is refused: {error}") from None
    return identity


def agreed_state(extensions: Sequence[Extension]) -> AgreedState:
    """Return the agreed state among a group's extensions; raises `PolicyRejected` when it is not there."""
    found = [extension for extension in extensions if extension.extension_type in EXTENSION_TYPES]
    if len(found) != 1:
        raise PolicyRejected("the group has no room state; it was not made by clave")
    return _decoded_state(found[0].extension_type, found[0].extension_data)


@lru_cache(maxsize=256)
def _decoded_state(kind: int, data: bytes) -> AgreedState:
    try:
        return decode_state(kind, data)
    except PeerError as error:
        raise PolicyRejected(str(error)) from None


def state_proposal(extensions: Sequence[Extension], state: AgreedState) -> GroupContextExtensions:
    """Return the proposal by which a group with these extensions gets another agreed state."""
    others = [each for each in extensions if each.extension_type not in EXTENSION_TYPES]
    return GroupContextExtensions((*others, Extension(*state.extension())))


def room_title(group: Group) -> str:
    """Return what to call a room: its title, or that it is with somebody if it is between two people."""
    accounts = {member.leaf_index: member_identity(member) for member in group.members()}
    own = accounts[group.own_leaf].account
    state = agreed_state(group.extensions)
    direct = state.direct
    if direct == [own]:
        return NOTES
    others = {each.name for each in accounts.values() if each.account in direct and each.account != own}
    if others:
        return f"@{min(others)}"
    title = sanitize(state.title)
    return f"({title})" if is_reserved(title) else title


def is_reserved(title: str) -> bool:
    """Return whether a title looks like that of a room between two people, or of own notes."""
    words = skeleton(title).split()
    return bool(words) and (words[0].startswith("@") or words == skeleton(NOTES).split())


MAX_DEVICES = 500
"""Most devices in a room: with more, a commit could exceed the relay's frame size."""

MAX_OWN_DEVICES = 16
"""Most devices of one account in a room."""

MOST_LINK_DEVICES = 300
"""Devices in a room up to which others join by links: each change of a room with links uploads its tree."""

ROOM_LIMITS = Limits(past_epochs=0, leaves=512)
"""Limits of a room's group. Policy, limits, name tables, `MAX_DEVICES` and, since version 2,
`MAX_OWN_DEVICES` are the rules whose version `AgreedState.version` names: members with different rules would
end up in different epochs."""


class RoomPolicy:
    """The rules of a room, as `clave_crypto.mls.Policy` asks for them."""

    def check_leaf(self, leaf: LeafNode) -> None:
        """Refuse a leaf whose account did not sign its device key, or whose name is not one."""
        leaf_identity(leaf)

    def may_be_unlisted(self, extension_type: int) -> bool:
        """Take in the key packages of earlier versions, which had a GREASE extension that was not listed.

        All members have to judge alike, and those who have not updated accept it.
        """
        return extension_type in GREASE

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Refuse a leaf that changes its account, its name or its device, or by which link it joined."""
        before, after = leaf_identity(old), leaf_identity(new)
        if before != after:
            raise PolicyRejected(f"{before.name} tried to change identity")
        if joined_by(old) != joined_by(new):
            raise PolicyRejected(f"{before.name} tried to change by which link they joined")

    def client(self, leaf: LeafNode) -> tuple[bytes, str]:
        """Identify a client by account and device name: its key may differ between cipher suites."""
        identity = leaf_identity(leaf)
        return identity.account, identity.device_name

    def check_external_commit(self, group: GroupView, leaf: LeafNode, proposals: Sequence[Proposal]) -> None:
        """Refuse all but a device's rejoin, with one Remove of its old leaf, and a join by a link.

        `check_successor` checks that the old leaf is of the same device.
        """
        if any(not isinstance(proposal, Remove | ExternalInit) for proposal in proposals):
            raise PolicyRejected(f"{leaf_identity(leaf).name} tried to come back with something else")
        if not any(isinstance(proposal, Remove) for proposal in proposals):
            check_link_join(group.group_id, epoch_id(group), group.members(), group.extensions, leaf)

    def check_context_extensions(self, extensions: Sequence[Extension]) -> None:
        """Accept them: `check_commit` judges a change of the agreed state, which needs the state before."""

    def check_external_sender(self, sender: ExternalSender) -> None:
        """Refuse all external senders."""
        raise PolicyRejected("a room takes no proposals from outside it")

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        """Refuse every standalone proposal but a device's own removal.

        A pending proposal keeps everybody from sending until it is committed; other changes are proposed and
        made in one commit.
        """
        if not isinstance(proposal, Remove) or MemberSender(proposal.removed) != sender:
            raise PolicyRejected("a room takes no proposal by itself but that of leaving")

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        """Refuse a commit with a proposal that the state of `group`, the prior epoch, forbids its sender."""
        before = after = agreed_state(group.extensions)
        members = {member.leaf_index: member_identity(member) for member in group.members()}
        names = {skeleton(identity.name): identity.account for identity in members.values()}
        people, left, newcomers = {each.account: each.name for each in members.values()}, set(), []
        has_removals = False
        author = members[committer.leaf_index] if isinstance(committer, MemberSender) else None
        editor = None
        for sender, proposal in proposals:
            if not isinstance(sender, MemberSender):
                raise PolicyRejected("a room takes no proposals from outside it")
            who = members[sender.leaf_index]
            match proposal:
                case Add():
                    newcomer = leaf_identity(proposal.key_package.leaf_node)
                    if joined_by(proposal.key_package.leaf_node) is not None:
                        raise PolicyRejected(f"{newcomer.name} cannot be added as one who joined by a link")
                    _check_newcomer(newcomer, names)
                    _check_add(before, newcomer)
                    if who.account != newcomer.account or not _frees_own_devices(before, group):
                        require(before.add, "add people", before.role_of(who.account), who.name)
                    newcomers.append(newcomer.account)
                case Remove(removed):
                    if MemberSender(removed) != sender:
                        has_removals = True
                        gone = members[removed].account
                        if who.account != gone or not _frees_own_devices(before, group):
                            check_removal(before, who.account, gone, people.__getitem__)
                    left.add(removed)
                case GroupContextExtensions(extensions):
                    after, author, editor = agreed_state(extensions), who, who
                case Update():
                    continue
                case _:
                    raise PolicyRejected(f"a room takes no {type(proposal).__name__} proposals")
        accounts = [each.account for leaf, each in sorted(members.items()) if leaf not in left] + newcomers
        if newcomers and len(accounts) > MAX_DEVICES:
            raise PolicyRejected(f"a room has at most {MAX_DEVICES} devices")
        has_many = any(accounts.count(each) > MAX_OWN_DEVICES for each in newcomers)
        if has_many and _frees_own_devices(before, group):
            raise PolicyRejected(f"nobody has more than {MAX_OWN_DEVICES} devices in a room")
        if editor is not None:
            check_edit(before, after, editor.account, accounts, editor.name)
        if author is not None:
            departed = departures(group.members(), left, has_removals=has_removals)
            check_change(before, after, author.account, accounts, author.name, departed)
            _check_link_keys(group.suite, before, after, author.name)


def restore_group(state: GroupState) -> Group:
    """Restore a room's group from its stored state. Raises `MLSError`."""
    return Group.restore(state, policy=RoomPolicy(), limits=ROOM_LIMITS)


def check_direct(group: Group) -> None:
    """Raise `PolicyRejected` if a room between two people has anybody else, or lacks this device's account.

    No commit can add others, but a group made by another program can begin like that.
    """
    direct = agreed_state(group.extensions).direct
    accounts = {member.leaf_index: member_identity(member).account for member in group.members()}
    if direct and not (accounts[group.own_leaf] in direct and set(accounts.values()) <= set(direct)):
        raise PolicyRejected("it says that it is between two people, and has others")


def check_names_differ(group: Group) -> None:
    """Raise `PolicyRejected` if two accounts of a group have confusable names.

    No commit can add one, but a group made by another program can begin like that.
    """
    names: dict[str, bytes] = {}
    for member in group.members():
        _check_newcomer(member_identity(member), names)


def joined_by(leaf: LeafNode) -> LinkProof | None:
    """Return the proof of the link by which a leaf joined, or None. Raises `PolicyRejected`."""
    try:
        return link_proof(leaf)
    except PeerError as error:
        raise PolicyRejected(f"{leaf_identity(leaf).name} joined by what is no link: {error}") from None


def departures(members: Sequence[Member], left: Collection[int], *, has_removals: bool) -> Departures:
    """Return what a commit takes out that removes the leaves `left`, with or without removals by others."""
    proofs = (joined_by(member.leaf) for member in members if member.leaf_index in left)
    return Departures(has_removals, Counter(proof.link for proof in proofs if proof is not None))


def uses_left(members: Sequence[Member], links: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return how many more leaves may name each link, by its key; `links` has how many may in all."""
    proofs = filter(None, (joined_by(member.leaf) for member in members))
    named = Counter(proof.link for proof in proofs)
    return {key: uses - named[key] for key, uses in links.items()}


def check_link_join(
    room: bytes, head: bytes, members: Sequence[Member], extensions: Sequence[Extension], leaf: LeafNode
) -> None:
    """Raise `PolicyRejected` unless `leaf` may join a group in its epoch `head` by the link that it names.

    When a link expires is not checked: members' clocks differ, and they have to judge alike.
    """
    newcomer, proof, state = leaf_identity(leaf), joined_by(leaf), agreed_state(extensions)
    if proof is None:
        raise PolicyRejected(f"{newcomer.name} tried to join without being added")
    link = state.find_link(proof.link)
    if link is None:
        raise PolicyRejected("the link was revoked")
    try:
        signed = join_transcript(room, head, newcomer.device, newcomer.name)
        verify_signature(link.key, signed, proof.signature)
    except CryptoError:
        raise PolicyRejected(f"{newcomer.name} does not hold the link that they named") from None
    if uses_left(members, {link.key: link.uses})[link.key] <= 0:
        raise PolicyRejected("the link is used up")
    if newcomer.account in state.banned:
        raise PolicyRejected(f"{newcomer.name} is banned from this room")
    identities = [member_identity(member) for member in members]
    _check_newcomer(newcomer, {skeleton(each.name): each.account for each in identities})
    if len(members) >= MOST_LINK_DEVICES:
        raise PolicyRejected(f"a room with {MOST_LINK_DEVICES} devices takes nobody in by a link")
    if sum(each.account == newcomer.account for each in identities) >= MAX_OWN_DEVICES:
        raise PolicyRejected(f"nobody has more than {MAX_OWN_DEVICES} devices in a room")


def _check_link_keys(suite: CipherSuite, before: AgreedState, after: AgreedState, name: str) -> None:
    """Refuse a new link to whose key nobody can seal: members could offer nothing more."""
    for link in after.links:
        if link not in before.links:
            try:
                suite.kem.check_public(link.kem_key)
            except CryptoError as error:
                raise PolicyRejected(f"{name} made a link whose key is not valid: {error}") from None


def _frees_own_devices(state: AgreedState, group: GroupView) -> bool:
    """Return whether an account needs no role for its own devices.

    Earlier versions know that of the other states, and would refuse it in the former one.
    """
    return not state.is_former or _is_current(group)


def _is_current(group: GroupView) -> bool:
    """Return whether all devices of a group list all that this version does."""
    return all(LINK_EXTENSION in member.leaf.capabilities.extensions for member in group.members())


def _check_add(state: AgreedState, newcomer: VerifiedIdentity) -> None:
    """Raise `PolicyRejected` if nobody may add the device `newcomer`."""
    if state.direct and newcomer.account not in state.direct:
        raise PolicyRejected("this room is between two people; open another one for more")
    if newcomer.account in state.banned:
        raise PolicyRejected(f"{newcomer.name} is banned from this room; unban them first")


def _check_newcomer(newcomer: VerifiedIdentity, names: dict[str, bytes]) -> None:
    """Refuse a newcomer whose name is confusable with another member's."""
    if names.setdefault(skeleton(newcomer.name), newcomer.account) != newcomer.account:
        raise PolicyRejected(f"the room has a member whose name looks like {newcomer.name}")
