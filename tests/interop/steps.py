"""What members of a group do together in the tests, and what must hold after it. Knows no library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interop.peer import Commit, Kind, Peer, Received, State

__all__ = [
    "add",
    "agree",
    "commit_proposals",
    "follow",
    "form",
    "form_at_once",
    "join",
    "join_externally",
    "others",
    "remove",
    "talk",
    "update",
]


def others(members: Sequence[Peer], *without: Peer) -> list[Peer]:
    return [member for member in members if member not in without]


def agree(members: Sequence[Peer]) -> None:
    assert len({member.export() for member in members}) == 1
    states = [state for state in (member.state() for member in members) if state is not None]
    identities = [member.identity for member in members]
    assert all(state == State.of(states[0].epoch, identities) for state in states)


def talk(speakers: Iterable[Peer], members: Sequence[Peer]) -> None:
    for speaker in speakers:
        data = speaker.identity.encode()
        message = speaker.send(data)
        for listener in others(members, speaker):
            assert listener.receive(message) == Received(Kind.APPLICATION, data)


def follow(commit: Commit, members: Iterable[Peer]) -> None:
    for member in members:
        assert member.receive(commit.message) == Received(Kind.COMMIT)


def add(adder: Peer, newcomers: Sequence[Peer], members: Sequence[Peer]) -> list[Peer]:
    """Add the newcomers by one commit; return the members it leaves."""
    commit = adder.add(*(newcomer.key_package() for newcomer in newcomers))
    follow(commit, others(members, adder))
    join(commit, newcomers)
    return [*members, *newcomers]


def join(commit: Commit, newcomers: Iterable[Peer]) -> None:
    assert commit.welcome is not None
    for newcomer in newcomers:
        newcomer.join(commit.welcome)


def update(members: Sequence[Peer], committers: Iterable[Peer] | None = None) -> None:
    for committer in members if committers is None else committers:
        before = committer.export()
        follow(committer.update(), others(members, committer))
        agree(members)
        assert committer.export() != before


def remove(commit: Commit, removed: Peer, remover: Peer, members: Sequence[Peer]) -> list[Peer]:
    """Let the others process a commit that removes a member; return the members it leaves."""
    assert removed.receive(commit.message) == Received(Kind.COMMIT, removed=True)
    follow(commit, others(members, remover, removed))
    staying = others(members, removed)
    agree(staying)
    return staying


def form(clients: Sequence[Peer]) -> list[Peer]:
    """Let the first client create a group and add the others one by one; return the members."""
    creator, *newcomers = clients
    creator.create()
    members = [creator]
    for newcomer in newcomers:
        members = add(creator, [newcomer], members)
        agree(members)
    talk(members, members)
    return members


def form_at_once(clients: Sequence[Peer]) -> list[Peer]:
    """Let the first client create a group and add the others in one commit; return the members."""
    creator, *newcomers = clients
    creator.create()
    members = add(creator, newcomers, [creator])
    agree(members)
    return members


def commit_proposals(
    proposals: Iterable[bytes], proposer: Peer, committer: Peer, members: Sequence[Peer]
) -> Commit:
    """Let the others note proposals and one of them commit these."""
    for proposal in proposals:
        for member in others(members, proposer):
            assert member.receive(proposal) == Received(Kind.PROPOSAL)
    return committer.commit()


def join_externally(newcomer: Peer, provider: Peer, members: Sequence[Peer]) -> list[Peer]:
    """Let a member commit and another join or return by the new GroupInfo; return the members it leaves."""
    offered = provider.update()
    follow(offered, others(members, provider))
    assert offered.group_info is not None
    members = others(members, newcomer)
    follow(newcomer.external_join(offered.group_info), members)
    members = [*members, newcomer]
    agree(members)
    talk([newcomer, provider], members)
    update(members, [newcomer])
    return members
