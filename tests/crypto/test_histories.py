"""Random histories of a group: its members agree, and no key and nonce are used twice."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any, Unpack

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from clave_crypto.mls import SUITES, Group
from clave_crypto.mls.suites import MLKEM768_SUITE_ID
from groupkit import NOW
from historykit import CommitOptions, World, without_guard

NUMBER = st.integers(0, 99)
KINDS = st.sampled_from(["update", "add", "remove", "external psk", "resumption psk", "extensions"])
INLINE = st.lists(st.sampled_from(["add", "add", "remove", "external psk", "resumption psk"]), max_size=4)
SENDING = {
    "data": lambda group: group.pending_proposals or group.encrypt(b"never mind", random=without_guard),
    "commit": lambda group: group.commit(now=NOW, find_psk=lambda _: None, random=without_guard),
}


class History(RuleBasedStateMachine):
    """The steps a history is made of."""

    suites: tuple[int, ...] = (1, 1, 1, 1, 1, 1, 2, MLKEM768_SUITE_ID)
    sizes = (1, 2, 3, 4, 6, 9, 17, 50)

    @initialize(data=st.data())
    def begin(self, data: Any) -> None:
        suite = SUITES[data.draw(st.sampled_from(self.suites), label="suite")]
        self.world = World(suite, data.draw(st.sampled_from(self.sizes), label="size"))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    def inline(self, kinds: list[str], number: int, committer: Any) -> list[Any]:
        """Return proposals that one commit can cover; nobody removes itself or the same one twice."""
        kinds = [kind for index, kind in enumerate(kinds) if kind == "add" or kind not in kinds[:index]]
        proposals = [self.world.proposal(kind, number) for kind in kinds[: 1 + self.world.room()]]
        own = committer.group.own_leaf
        return [one for one in proposals if one is not None and getattr(one, "removed", None) != own]

    @rule(who=NUMBER, number=NUMBER, kinds=INLINE, rival=st.none() | NUMBER, twice=st.booleans())
    def commit(self, who: int, number: int, kinds: list[str], rival: int | None, twice: bool) -> None:
        committer = self.world.member(who)
        self.world.commits(
            committer,
            self.inline(kinds, number, committer),
            rival=None if rival is None else self.world.member(rival),
            twice=twice,
        )

    @rule(who=NUMBER, kinds=INLINE, path=st.booleans(), public=st.booleans(), ratchet_tree=st.booleans())
    def commit_otherwise(self, who: int, kinds: list[str], **options: Unpack[CommitOptions]) -> None:
        committer = self.world.member(who)
        self.world.commits(committer, self.inline(kinds, who + 1, committer), **options)

    @rule(who=NUMBER, kinds=INLINE)
    def lose_commit(self, who: int, kinds: list[str]) -> None:
        committer = self.world.member(who)
        self.world.loses(committer, self.inline(kinds, who + 1, committer))

    @rule(who=NUMBER, number=NUMBER, kind=KINDS, public=st.booleans(), lost=st.booleans())
    def propose(self, who: int, kind: str, number: int, public: bool, lost: bool) -> None:
        self.world.proposes(self.world.member(who), kind, number, public=public, lost=lost)

    @rule(number=NUMBER, kind=st.sampled_from(["join", "add", "remove", "external psk"]))
    def propose_from_outside(self, kind: str, number: int) -> None:
        self.world.proposes_from_outside(kind, number)

    @rule(number=NUMBER, psk=st.booleans())
    def join_externally(self, number: int, psk: bool) -> None:
        if self.world.room():
            self.world.enters(self.world.newcomer(), number, removes=None, psk=psk)

    @rule(who=NUMBER, number=NUMBER, psk=st.booleans())
    def resync(self, who: int, number: int, psk: bool) -> None:
        party = self.world.member(who)
        self.world.enters(party, number, removes=party.group.own_leaf, psk=psk)

    @rule(number=NUMBER)
    def come_back(self, number: int) -> None:
        party = self.world.ghosts[number % len(self.world.ghosts)][0] if self.world.ghosts else None
        if party is not None and party.group.closed and self.world.room():
            self.world.enters(party, number, removes=None, psk=False)

    @rule(who=NUMBER, data=st.binary(max_size=10))
    def speak(self, who: int, data: bytes) -> None:
        self.world.speaks(self.world.member(who), data)

    @rule(numbers=st.lists(st.tuples(NUMBER, NUMBER, st.booleans()), max_size=20))
    def hear(self, numbers: list[tuple[int, int, bool]]) -> None:
        for number, listener, twice in numbers:
            if self.world.spoken:
                self.world.hears(number, listener, twice=twice)

    @rule(who=NUMBER)
    def restart(self, who: int) -> None:
        self.world.member(who).restart()

    @rule(who=NUMBER, use=st.sampled_from(sorted(SENDING)), sent=st.booleans())
    def crash(self, who: int, use: str, sent: bool) -> None:
        self.world.crashes(self.world.member(who), SENDING[use], sent=sent)

    @invariant()
    def everybody_agrees(self) -> None:
        if hasattr(self, "world"):
            groups: list[Group] = [party.group for party in self.world.inside]
            assert len({(group.epoch, group.epoch_authenticator) for group in groups}) == 1


UNHURRIED = settings(
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def test_random_histories() -> None:
    short = settings(UNHURRIED, derandomize=True, max_examples=24, stateful_step_count=25)
    run_state_machine_as_test(History, settings=short)


class LongHistory(History):
    """A history with any suite."""

    suites = tuple(SUITES)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_random_histories_for_long() -> None:
    end = time.monotonic() + 60 * float(os.environ.get("CLAVE_SOAK_MINUTES", "10"))
    long = settings(UNHURRIED, max_examples=20, stateful_step_count=60)
    for number in itertools.count():
        run_state_machine_as_test(seed(number)(LongHistory), settings=long)
        if time.monotonic() >= end:
            return
