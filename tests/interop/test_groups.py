"""Groups with members on this library and on another, who do all that a member does.

Neither side is told what the other computed: they agree when the secret that each exports is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from interop.mixes import PAIRS, SMALL, SOME, Mix, mixes
from interop.peer import Operation, Peer
from interop.steps import (
    add,
    agree,
    commit_proposals,
    follow,
    form,
    form_at_once,
    join,
    join_externally,
    others,
    remove,
    talk,
    update,
)

of_small_mixes = pytest.mark.parametrize("mix", mixes(SMALL, PAIRS))


@pytest.mark.parametrize("mix", mixes(SMALL, SOME))
def test_send_and_update(mix: Mix) -> None:
    members = form(mix.clients())
    for _ in range(2):
        update(members)
        talk(members, members)


@pytest.mark.parametrize("mix", mixes(SMALL, SOME))
def test_add_several_at_once(mix: Mix) -> None:
    members = form_at_once(mix.clients())
    talk(members, members)
    update(members)


@of_small_mixes
def test_receive_late(mix: Mix) -> None:
    members = form(mix.clients())
    late = [(sender, sender.send(sender.identity.encode())) for sender in members]
    update(members, members[:2])
    for sender, message in late:
        for listener in others(members, sender):
            assert listener.receive(message).data == sender.identity.encode()


@of_small_mixes
@pytest.mark.parametrize("updated", [False, True], ids=["fresh", "updated"])
def test_remove(mix: Mix, updated: bool) -> None:
    clients = mix.clients()
    for remover, removed in permutations(range(len(clients)), 2):
        members = form(clients)
        if updated:
            update(members)
        commit = members[remover].remove(members[removed].identity)
        staying = remove(commit, members[removed], members[remover], members)
        talk(staying, staying)
        update(staying, staying[:1])


@of_small_mixes
def test_add_after_removing(mix: Mix) -> None:
    members = form(mix.clients())
    first, last = members[0], members[-1]
    staying = remove(first.remove(last.identity), last, first, members)
    members = add(staying[-1], [mix.client(mix.pattern[-1])], staying)
    agree(members)
    talk(members, members)
    update(members)


def propose_add(mix: Mix, clients: Sequence[Peer], proposer: int, committer: int) -> None:
    members = form(clients)
    newcomers = [mix.client("c"), mix.client("t")]
    proposals = [members[proposer].propose_add(newcomer.key_package()) for newcomer in newcomers]
    commit = commit_proposals(proposals, members[proposer], members[committer], members)
    follow(commit, others(members, members[committer]))
    join(commit, newcomers)
    members += newcomers
    agree(members)
    talk(members, members)


def propose_update(mix: Mix, clients: Sequence[Peer], proposer: int, committer: int) -> None:
    members = form(clients)
    proposal = members[proposer].propose_update()
    commit = commit_proposals([proposal], members[proposer], members[committer], members)
    follow(commit, others(members, members[committer]))
    agree(members)
    talk(members, members)


def propose_remove(mix: Mix, clients: Sequence[Peer], proposer: int, committer: int) -> None:
    for removed in set(range(len(clients))) - {committer}:
        members = form(clients)
        proposal = members[proposer].propose_remove(members[removed].identity)
        commit = commit_proposals([proposal], members[proposer], members[committer], members)
        staying = remove(commit, members[removed], members[committer], members)
        talk(staying, staying)


PROPOSED = {
    Operation.PROPOSE_ADD: propose_add,
    Operation.PROPOSE_UPDATE: propose_update,
    Operation.PROPOSE_REMOVE: propose_remove,
}


@of_small_mixes
@pytest.mark.parametrize("what", PROPOSED)
def test_they_commit_our_proposal(mix: Mix, what: Operation) -> None:
    clients = mix.clients()
    for proposer, committer in permutations(range(len(clients)), 2):
        if mix.pattern[proposer] == "c" and mix.pattern[committer] == "t":
            PROPOSED[what](mix, clients, proposer, committer)


@pytest.mark.parametrize(
    ("what", "mix"),
    [
        pytest.param(what, *mix.values, id=f"{what}-{mix.id}", marks=mix.marks)
        for what in PROPOSED
        for mix in mixes(SMALL, PAIRS, needs=[what])
    ],
)
def test_we_commit_their_proposal(what: Operation, mix: Mix) -> None:
    clients = mix.clients()
    for proposer, committer in permutations(range(len(clients)), 2):
        if mix.pattern[proposer] == "t":
            PROPOSED[what](mix, clients, proposer, committer)


@pytest.mark.parametrize("mix", mixes(SMALL, PAIRS, needs=[Operation.COMMIT_JOIN]))
def test_they_commit_our_proposal_to_join(mix: Mix) -> None:
    members = form(mix.clients())
    ours, theirs = (members[mix.pattern.index(letter)] for letter in "ct")
    offered = ours.update()
    follow(offered, others(members, ours))
    assert offered.group_info is not None
    newcomer = mix.client("c")
    proposal = newcomer.propose_join(offered.group_info)
    commit = commit_proposals([proposal], newcomer, theirs, members)
    follow(commit, others(members, theirs))
    join(commit, [newcomer])
    members.append(newcomer)
    agree(members)
    talk(members, members)


@pytest.mark.parametrize("mix", mixes(SMALL, PAIRS, needs=[Operation.EXTERNAL_JOIN]))
def test_they_join_externally(mix: Mix) -> None:
    members = form(mix.clients())
    for provider in list(members):
        members = join_externally(mix.client("t"), provider, members)


@pytest.mark.parametrize("mix", mixes(SMALL, PAIRS, needs=[Operation.GROUP_INFO]))
def test_we_join_externally(mix: Mix) -> None:
    members = form(mix.clients())
    for provider in list(members):
        members = join_externally(mix.client("c"), provider, members)


@pytest.mark.parametrize("mix", mixes(SMALL, PAIRS, needs=[Operation.EXTERNAL_JOIN]))
def test_they_return_externally(mix: Mix) -> None:
    return_externally(mix, "t")


@pytest.mark.parametrize("mix", mixes(SMALL, PAIRS, needs=[Operation.GROUP_INFO]))
def test_we_return_externally(mix: Mix) -> None:
    return_externally(mix, "c")


def return_externally(mix: Mix, letter: str) -> None:
    """Let each member on that library lose its group and return, by the other library's GroupInfo."""
    members = form(mix.clients())
    named = list(zip(mix.pattern, members, strict=True))
    provider = next(member for other, member in named if other != letter)
    for lost in [member for other, member in named if other == letter]:
        members = join_externally(lost, provider, members)


def form_large(mix: Mix) -> None:
    """Form a group and let its first two members, who are on different libraries, do what they can."""
    members = form_at_once(mix.clients())
    first, second, third, fourth, *_ = members
    talk([first, second, third, fourth], members)
    update(members, [first, second])
    members = remove(second.remove(third.identity), third, second, members)
    members = remove(first.remove(fourth.identity), fourth, first, members)
    members = add(second, [mix.client("t"), mix.client("c")], members)
    agree(members)
    talk(members[-2:], members)
    update(members, members[-2:])
    if Operation.EXTERNAL_JOIN in mix.theirs.operations:
        members = join_externally(mix.client("t"), first, members)
        members = join_externally(mix.client("c"), second, members)


EIGHT = ("ctctctct", "tctctctc")


@pytest.mark.parametrize("mix", mixes(EIGHT, EIGHT[1:]))
def test_eight_members(mix: Mix) -> None:
    form_large(mix)


FIFTY = ("ct" * 25, "tc" * 25)


@pytest.mark.parametrize("mix", mixes(FIFTY, ()))
def test_fifty_members(mix: Mix) -> None:
    form_large(mix)
