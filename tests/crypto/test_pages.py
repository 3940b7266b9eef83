"""Groups stored in parts: what changed is all that is written, and pages of the tree are read when needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest

from clave_crypto.mls import (
    Add,
    Application,
    Group,
    GroupState,
    LeafNode,
    Limits,
    LocalError,
    PendingCommit,
    Remove,
    StateChange,
    StateError,
)
from clave_crypto.mls.ratchet_tree import ParentNode, TreeNodes
from clave_crypto.mls.state import decode_change, encode_change
from clave_crypto.mls.stored import StoredChange, StoredPage
from clave_crypto.mls.stored_tree import StoredTree
from clave_crypto.mls.tree_pages import pages_above, read_page
from groupkit import NOW, Party, Rules, assert_agree, form

STORED = Path(__file__).parent / "stored"


class Pages(Mapping[int, bytes]):
    """Pages as a database gives them, one by one; counts what is read."""

    def __init__(self, pages: Mapping[int, bytes]) -> None:
        self.pages = dict(pages)
        self.read: list[int] = []

    def __getitem__(self, page: int) -> bytes:
        self.read.append(page)
        return self.pages[page]

    def __iter__(self) -> Iterator[int]:
        return iter(self.pages)

    def __len__(self) -> int:
        return len(self.pages)


class Store:
    """The stored parts of one group, to which nothing but changes is written."""

    def __init__(self) -> None:
        self.epoch = self.ratchets = b""
        self.pages: dict[int, bytes] = {}

    def write(self, change: StateChange) -> None:
        self.epoch = self.epoch if change.epoch is None else change.epoch
        self.ratchets = self.ratchets if change.ratchets is None else change.ratchets
        assert all(self.pages.get(page) != data for page, data in change.pages.items())
        self.pages |= change.pages
        for page in change.removed_pages:
            del self.pages[page]

    def state(self) -> GroupState:
        return GroupState(self.epoch, self.ratchets, dict(self.pages))


def paged(group: Group) -> GroupState:
    """Return all of a group as it is stored in pages."""
    store = Store()
    store.write(Group.restore(group.state(), policy=Rules()).changes())
    return store.state()


def parts_of(group: Group) -> tuple[bytes, bytes]:
    """Return the two parts of a group that need no page."""
    return group._store(with_tree=False)


def restored(state: GroupState, pages: Mapping[int, bytes] | None = None) -> Group:
    pages = state.pages if pages is None else pages
    return Group.restore(GroupState(state.epoch, state.ratchets, pages), policy=Rules())


def leaf_bytes(leaf: LeafNode | None) -> bytes:
    return b"" if leaf is None else leaf.encode()


def grows(party: Party, count: int) -> None:
    """Have the party add `count` members, who never say anything."""
    newcomers = [Add(Party(f"{number}").offer().key_package) for number in range(count)]
    party.commits(newcomers)


@pytest.mark.parametrize("seed", range(6))
def test_what_only_changes_were_written_to_is_the_state(seed: int) -> None:
    """Trees grow over several layers of pages and shrink again; the group restarts now and then."""
    random = Random(seed)  # noqa: S311 - a repeatable history
    red, blue = form("red", "blue")
    store = Store()
    store.write(red.group.changes())
    sizes = set()
    leaves: dict[int, list[bytes]] = {}
    for _ in range(60):
        others = [member.leaf_index for member in red.group.members() if member.leaf_index > 1]
        match random.choice(["add", "add", "remove", "remove", "update", "message", "follow", "restart"]):
            case "add":
                adds = [Add(Party("new").offer().key_package) for _ in range(random.choice([1, 2, 9, 70]))]
                red.commits(adds, to=[blue], path=random.random() < 0.7)
            case "remove" if others:
                gone = random.sample(others, random.choice([1, max(1, len(others) // 2), len(others)]))
                red.commits([Remove(leaf) for leaf in gone], to=[blue])
            case "update":
                red.sees(blue.group.propose_update(now=NOW))
                store.write(red.group.changes())
                red.commits(to=[blue])
            case "message":
                assert red.hears(blue.group.encrypt(b"said")) == b"said"
            case "follow":
                blue.commits(to=[red])
            case _:
                red.member = restored(store.state(), store.pages)
        sizes.add(red.group._epoch.n_leaves)
        leaves[red.group.epoch] = [leaf_bytes(red.group._epoch.leaf(leaf)) for leaf in range(2048)]
        change = red.group.changes()
        store.write(change)
        assert store.state() == paged(red.group)
        assert restored(store.state()).state() == red.group.state()
        assert red.group.changes() == StateChange(None, None, {}, ())
        for group in (red.group, restored(store.state())):
            for past in group._past:
                found = [leaf_bytes(past.leaf(leaf, group._epoch)) for leaf in range(2048)]
                assert found == leaves.get(past.epoch, found), (
                    "the leaves of a past epoch stay what they were"
                )
                assert all(
                    leaf is not group._epoch.leaf(leaf_index) for leaf_index, leaf in past.changed.items()
                ), "only leaves that differ are kept"
    assert_agree([red, blue])
    assert len(sizes) > 3


def test_a_commit_changes_the_pages_of_its_paths_and_a_message_none() -> None:
    red, blue = form("red", "blue")
    grows(red, 300)
    grows(red, 1)
    red.group.changes()
    red.group.encrypt(b"")
    change = red.group.changes()
    assert (change.epoch, change.pages, change.removed_pages) == (None, {}, ())
    assert change.ratchets
    red.commits()
    change = red.group.changes()
    assert len(change.pages) == 4
    assert change.epoch is not None
    assert len(change.epoch) < 8000
    assert blue.group.epoch < red.group.epoch


def test_pages_of_a_half_that_nobody_is_in_any_more_are_removed() -> None:
    (red,) = form("red")
    grows(red, 20)
    assert set(red.group.changes().pages) == {3, 11, 19, 27, 31, 35, 43}
    red.commits([Remove(leaf) for leaf in range(16, 21)])
    assert red.group.changes().removed_pages == (35, 43)
    red.commits([Remove(leaf) for leaf in range(1, 16)])
    change = red.group.changes()
    assert (set(change.pages), change.removed_pages) == ({3}, (11, 19, 27, 31))


@cache
def large() -> tuple[GroupState, bytes, bytes, bytes]:
    """Return a state in a group of 300, a message of its epoch, one of the epoch before, and a commit."""
    red, blue = form("red", "blue")
    newcomers = [Party(f"{number}") for number in range(298)]
    pending = red.commits([Add(one.offer().key_package) for one in newcomers], to=[blue])
    last = newcomers[-1]
    last.join(pending.welcome)
    late = last.group.encrypt(b"late")
    red.commits(to=[blue, last])
    early = last.group.encrypt(b"early")
    return paged(blue.group), early, late, last.group.commit(now=NOW).message


def test_a_message_takes_only_the_pages_above_its_senders_leaf() -> None:
    state, early, late, commit = large()
    pages = Pages(state.pages)
    group = restored(state, pages)
    own = pages_above(1, 512)
    assert pages.read == own == [2047, 255, 31, 3]
    group.encrypt(b"mine")
    assert pages.read == own
    for message, data in ((early, b"early"), (late, b"late")):
        received = group.receive(message)
        assert isinstance(received, Application)
        assert received.data == data
        assert pages.read[:4] == own
        assert len(pages.read) == 7, "three pages above the sender's leaf; that of the root was read"
    group.changes()
    assert len(pages.read) == 7
    group.receive(commit)
    assert len(pages.read) == len(set(pages.read)), "each is read once"
    assert set(pages.pages) <= set(pages.read)


def spoiled() -> Iterator[tuple[str, Callable[[dict[int, bytes], int], None]]]:
    """Yield what can happen to a stored page, and a function that does it to one of some pages."""
    old = restored(large()[0])
    old.merge(old.commit(now=NOW))
    stale = paged(old).pages

    def swap(pages: dict[int, bytes], page: int) -> None:
        other = next(one for one in pages if pages[one] != pages[page])
        pages[page], pages[other] = pages[other], pages[page]

    def flip(pages: dict[int, bytes], page: int) -> None:
        data = bytearray(pages[page])
        data[len(data) // 2] ^= 4
        pages[page] = bytes(data)

    yield "missing", lambda pages, page: pages.__delitem__(page)
    yield "swapped", swap
    yield "flipped", flip
    yield "cut", lambda pages, page: pages.update({page: pages[page][:-1]})
    yield "longer", lambda pages, page: pages.update({page: pages[page] + b"\0"})
    yield "empty", lambda pages, page: pages.update({page: b""})
    yield "stale", lambda pages, page: pages.update({page: stale[page]})


@pytest.mark.parametrize("how", ["missing", "swapped", "flipped", "cut", "longer", "empty", "stale"])
def test_a_page_that_is_not_the_epochs_is_refused_and_nothing_changes(how: str) -> None:
    state, early, _, commit = large()
    spoil = dict(spoiled())[how]
    tried = 0
    for page in state.pages:
        pages = dict(state.pages)
        spoil(pages, page)
        if pages == state.pages:
            continue  # the page is not one of those that the other epoch changed
        tried += 1
        try:
            group = restored(state, pages)
        except StateError:
            continue
        before = parts_of(group)
        for attempt in (
            lambda group=group: group.receive(commit),
            lambda group=group: group.commit(now=NOW),
            group.members,
            group.state,
            group.ratchet_tree,
        ):
            with pytest.raises(StateError, match="page"):
                attempt()
        assert parts_of(group) == before
        try:
            received = group.receive(early)
        except StateError:
            assert parts_of(group) == before
        else:
            assert isinstance(received, Application)
    assert tried >= (3 if how == "stale" else len(state.pages) - 1)


def test_every_flipped_bit_of_a_page_is_noticed() -> None:
    red, _ = form("red", "blue")
    grows(red, 9)
    state = paged(red.group)
    for page, data in state.pages.items():
        for bit in range(0, 8 * len(data), 5):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(StateError):
                restored(state, {**state.pages, page: bytes(changed)}).members()


def test_a_member_who_is_not_there_is_told_from_a_page_that_is_missing() -> None:
    state, *_ = large()
    group = restored(state, Pages(state.pages))
    with pytest.raises(LocalError, match="no member is at leaf 400"):
        group.member(400)
    pages = {page: data for page, data in state.pages.items() if page != 2 * 160 + 3}
    with pytest.raises(StateError, match="page 323 of the stored tree is missing"):
        restored(state, pages).member(160)


def test_pages_are_bytes() -> None:
    (red,) = form("red")
    state = paged(red.group)
    wrong = {page: bytearray(data) for page, data in state.pages.items()}
    with pytest.raises(LocalError, match="page 3 must be bytes"):
        restored(state, wrong)  # type: ignore[arg-type]  # the caller's mistake


@pytest.mark.parametrize("path", [False, True])
def test_a_crash_between_storing_a_commit_and_sending_it_loses_nothing(path: bool) -> None:
    red, blue = form("red", "blue")
    grows(red, 40)
    restarted = Store()
    restarted.write(red.group.changes())
    green = Party("green")
    pending = red.group.commit([Add(green.offer().key_package)], now=NOW, path=path)
    restarted.write(red.group.changes())
    encoded = pending.encode()
    assert len(encoded) - len(pending.message) - len(pending.welcome or b"") < 12_000
    red.member = restored(restarted.state(), Pages(restarted.pages))
    again = PendingCommit.decode(encoded, policy=Rules())
    assert again.encode() == encoded
    assert again.added == pending.added
    red.group.merge(again)
    restarted.write(red.group.changes())
    assert restarted.state() == paged(red.group)
    green.join(again.welcome)
    assert_agree([red, green])
    assert green.hears(red.group.encrypt(b"welcome")) == b"welcome"
    assert blue.group.epoch < red.group.epoch


def test_a_pending_commit_is_refused_by_a_group_whose_pages_are_damaged() -> None:
    state, *_ = large()
    group = restored(state)
    pending = PendingCommit.decode(group.commit(now=NOW).encode(), policy=Rules())
    stored = paged(group)
    some = next(page for page in stored.pages if page % 8 == 3 and page > 300)
    damaged = restored(stored, {**stored.pages, some: b""})
    before = parts_of(damaged)
    with pytest.raises(StateError, match=f"page {some} "):
        damaged.merge(pending)
    assert parts_of(damaged) == before
    group.merge(pending)


def test_a_stored_change_has_just_the_pages_that_it_needs() -> None:
    """Those of its tree that the group does not have; each once and all below that of the root."""
    red, _ = form("red", "blue")
    grows(red, 40)
    base = red.group._epoch.tree
    removing = red.group.commit([Remove(30)], now=NOW)
    encoded = encode_change(removing.take(red.group.epoch_authenticator, base), base)
    stored = StoredChange.decode(encoded)
    assert [one.page for one in stored.pages] == [3, 31, 59, 255]
    away = stored.pages[2]
    for pages, reason in (
        ((*stored.pages, StoredPage(11, away.data)), "malformed|damaged"),
        ((*stored.pages, StoredPage(9999, away.data)), "not below"),
        ((*stored.pages, away), "twice"),
        ((*stored.pages[:2], StoredPage(59, away.data[:-1]), stored.pages[3]), "malformed"),
    ):
        with pytest.raises(StateError, match=reason):
            decode_change(replace(stored, pages=pages).encode(), Limits())
    without = replace(stored, pages=(*stored.pages[:2], stored.pages[3])).encode()
    epoch = decode_change(without, Limits()).epoch
    assert epoch is not None
    assert isinstance(epoch.held_tree, StoredTree)
    with pytest.raises(StateError, match="page 59 of the stored tree is missing"):
        epoch.held_tree.whole(base)
    for n_leaves, reason in ((0, "0 leaves"), (63, "63 leaves"), (128, "page 255"), (1 << 31, "is missing")):
        changed = replace(stored, epoch=replace(stored.epoch, n_leaves=n_leaves))
        with pytest.raises(StateError, match=reason):
            decode_change(changed.encode(), Limits())


def test_a_page_has_the_nodes_of_its_place() -> None:
    """Even if their hash were right."""
    red, _ = form("red", "blue")
    tree = red.group._epoch.tree
    (data,) = paged(red.group).pages.values()
    assert read_page(tree.suite, 3, 2, data, tree.tree_hash()).nodes[2] == tree.node(2)
    for nodes in ((None, None), (None,) * 4, (ParentNode(b"key", b"", ()), None, None)):
        with pytest.raises(StateError, match="does not have the nodes"):
            read_page(tree.suite, 3, 2, TreeNodes(nodes).encode() + b"\0", tree.tree_hash())


@pytest.mark.parametrize(("file", "name"), [("version-1", "red"), ("version-2", "red"), ("change-3", "blue")])
def test_groups_with_their_tree_in_one_part_are_written_whole_in_pages(file: str, name: str) -> None:
    stored = json.loads((STORED / f"{file}.json").read_text())[name]
    parts = [bytes.fromhex(stored[part]) for part in ("epoch", "ratchets")]
    group = Group.restore(GroupState(*parts), policy=Rules())  # type: ignore[arg-type]  # two parts of bytes
    store = Store()
    store.write(group.changes())
    assert store.epoch[:2] == store.ratchets[:2] == b"\0\3"
    assert restored(store.state()).state() == group.state()
    assert paged(group) == store.state()
    with pytest.raises(StateError, match="different versions"):
        restored(GroupState(store.epoch, parts[1], store.pages))


def test_pending_commits_stored_by_version_3_can_be_used() -> None:
    stored = json.loads((STORED / "change-3.json").read_text())
    red, blue = (
        Group.restore(
            GroupState(bytes.fromhex(stored[name]["epoch"]), bytes.fromhex(stored[name]["ratchets"])),
            policy=Rules(),
        )
        for name in ("red", "blue")
    )
    late = blue.receive(bytes.fromhex(stored["late"]))
    assert isinstance(late, Application)
    pending = PendingCommit.decode(bytes.fromhex(stored["pending"]), policy=Rules())
    again = PendingCommit.decode(pending.encode(), policy=Rules())
    assert [member.identity for member in again.added] == [b"white"]
    assert blue.receive(pending.message) == red.merge(again)
    assert red.epoch_authenticator == blue.epoch_authenticator
    assert restored(paged(red)).state() == red.state()
