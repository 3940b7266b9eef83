"""Old faults put back, one at a time: the simulation has to catch each of them."""

from __future__ import annotations

import inspect
import itertools
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import clave_server.relay.relay  # noqa: F401
from clave_client.rooms import log_reader, rejoin_entries, rekeys
from clave_client.rooms.epoch_tracker import EpochTracker
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_context import LogContext
from clave_client.rooms.log_reader import LogReader
from clave_client.rooms.lost_entries import LostEntries
from clave_client.rooms.pending_commits import PendingCommits
from clave_client.rooms.stored_room import StoredRoom
from clave_client.sync.handover import Handovers
from clave_client.sync.own_settings import OwnSettingsInUse
from clave_client.sync.rejoin import RejoinCoordinator
from clave_client.sync.routing import RoutingCheck
from clave_client.sync.sibling_rooms import SiblingRooms
from clave_server.rooms import entry_store, room_state
from clave_server.rooms.room_state import RoomState
from simulation.story import Story, from_json, make_story, play

ARCHIVE = Path(__file__).parent / "archive"
SECONDS = 60.0


class Bite(NamedTuple):
    """A fault: in the source of `owner.name`, `old` was `new`; and the stories in which it shows.

    `first` is the seed that was found to catch it, to begin with.
    """

    owner: Any
    name: str
    old: str
    new: str
    roles: tuple[str, ...] = ()
    quick: bool = False
    acts: tuple[str, ...] = ()
    who: str = ""
    archived: str = ""
    faults: str = ""
    first: int = 0
    length: int | None = None
    links: bool = False
    devices: bool = False


BITES = {
    "a rekey counts without confirmation": Bite(
        LogReader,
        "_handle_rekey",
        "if room.covers(rekey) and not room.roster.others(",
        "if True or (",
        ("Insider",),
        quick=True,
        acts=("bad path",),
    ),
    "the author's own account confirms": Bite(
        LogReader,
        "_handle_confirm",
        "person.account != rekey.account and ",
        "",
        ("Insider",),
        quick=True,
        acts=("bad path",),
    ),
    "a header is not compared with the effect": Bite(
        rekeys,
        "check_rekey",
        'raise PeerError("its header is not what it does")',
        "pass",
        ("Insider",),
        acts=("wrong header",),
    ),
    "the chain begins anew with each epoch": Bite(
        StoredRoom,
        "enter_epoch",
        "self._set_leave_proposals({})",
        "self._set_leave_proposals({}); self.chain.start_after(self.record.cursor)",
        (),
    ),
    "views are not compared": Bite(
        LogContext,
        "compare_views",
        "elif room.chain.contradicts(header.seen)",
        "elif False",
        ("Repeat",),
        quick=True,
        first=6,
        length=6,
    ),
    "the relay ignores what was read": Bite(
        RoomState, "check_submission", "if submit.read != self.handshake", "if False", ()
    ),
    "whoever is removed deletes its keys at the rekey": Bite(
        LogReader,
        "_handle_rekey",
        "room.rekeys.add(rekey)",
        "room.rekeys.add(rekey)\n    if rekey.effect is RekeyEffect.REMOVES: return room.close(author)",
        ("Insider",),
        acts=("forged remove",),
        who="red",
    ),
    "the relay stops routing at the rekey": Bite(
        RoomState,
        "stage_handshake",
        "self._add_rekey(seq, account, submit, header)",
        "self._add_rekey(seq, account, submit, header); return seq, self._leave(header.remove)",
        ("Insider",),
        quick=True,
        first=19,
    ),
    "one account's Mend removes": Bite(
        room_state,
        "object_to",
        "if first != account and first in accounts",
        "if True",
        ("Insider",),
        acts=("mend",),
    ),
    "lost devices are not helped": Bite(
        RejoinCoordinator,
        "answer_request",
        "key = room.id, device",
        "return",
        ("Insider",),
        acts=("bad path",),
    ),
    "a former rekey is forgotten before a newer one is placed": Bite(
        PendingCommits,
        "add",
        "if self.awaits_confirmation and self.newest is not None and self.successor is not None:",
        "if False:",
        archived="former-rekey-confirmed-while-a-newer-is-on-its-way",
        quick=True,
    ),
    "what was said where nobody else was is not said again": Bite(
        rejoin_entries,
        "_complete_rejoin",
        "room.resend_after(missed - 1)",
        "pass",
        ("Insider",),
        archived="said-alone-before-following-others",
        quick=True,
    ),
    "what was said in an epoch that others left is not said again": Bite(
        rejoin_entries,
        "_complete_rejoin",
        "room.resend_after(missed - 1)",
        "room.resend_after(since - 1) if since else None",
        archived="said-in-an-epoch-that-others-left",
        quick=True,
    ),
    "only the last restore of a relay is told": Bite(
        entry_store,
        "load_room",
        "unpack_restores(restores)",
        "unpack_restores(restores)[-1:]",
        archived="relay-restored-twice-while-somebody-is-away",
        quick=True,
    ),
    "what is said again goes behind what is refused": Bite(
        LostEntries,
        "resend_after",
        "set() if self.draining else ",
        "",
        archived="said-again-behind-what-is-refused",
        quick=True,
    ),
    "what a restored relay has lost is not told": Bite(
        LocalRoom,
        "start",
        "reported.append(self._roll_back(lost_after))",
        "self._roll_back(lost_after)",
        faults="backup",
        quick=True,
    ),
    "counts of one sender are not compared": Bite(
        LogContext,
        "compare_views",
        "if header.count <= room.counts.last(person.device)",
        "if False",
        ("ReverseForAll",),
        quick=True,
    ),
    "a device vouches for itself": Bite(
        EpochTracker,
        "note_present",
        "account not in (self.admitted_by, own)",
        "account != self.admitted_by",
        archived="vouched-for-by-itself",
        quick=True,
    ),
    "a removed device is left in rooms": Bite(
        SiblingRooms,
        "removed",
        "if room.roster.has(device)",
        "if False",
        devices=True,
        quick=True,
    ),
    "settings of another device are not applied": Bite(
        OwnSettingsInUse,
        "_look",
        "self._apply()",
        "pass",
        devices=True,
        quick=True,
    ),
    "the account's key is deleted before the other device has it": Bite(
        Handovers,
        "_send",
        "await self._siblings.tell(",
        "self._account.drop_account_key(); await self._siblings.tell(",
        devices=True,
        faults="clients",
        quick=True,
        first=91,
    ),
    "members stop routing to who is about to join again": Bite(
        RoutingCheck,
        "correct",
        " or each in room.rekeys.superseded",
        "",
        links=True,
        devices=True,
        quick=True,
        first=170,
    ),
}


def put_back(bite: Bite, patch: pytest.MonkeyPatch) -> None:
    """Put a fault back by changing the function's source."""
    found = inspect.getattr_static(bite.owner, bite.name)
    function = found.fget if isinstance(found, property) else found
    assert inspect.isfunction(function)
    source = textwrap.dedent(inspect.getsource(function))
    assert bite.old in source, f"{bite.name} reads otherwise by now"
    module = inspect.getmodule(function)
    made: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(bite.old, bite.new)
    exec(code, vars(module), made)  # noqa: S102  (the project's own source)
    changed = made[bite.name]
    for owner in (bite.owner, log_reader, rekeys):
        if vars(owner).get(bite.name) is found:
            patch.setattr(owner, bite.name, changed)


def caught(bite: Bite, seconds: float) -> tuple[int, str] | None:
    """Return how many stories it took to catch a fault, and what it broke; None if it was not."""
    end = time.monotonic() + seconds
    for count, story in enumerate(stories_for(bite), 1):
        if time.monotonic() >= end:
            break
        violations = play(story).violations
        if violations:
            names = ",".join(each["role"] for each in story.roles) or "nobody"
            return count, f"{names} plays: {violations[0][:70]}"
    return None


def stories_for(bite: Bite) -> Iterator[Story]:
    """Yield the archived story that belongs to a fault, then endless ones of its roles and of nobody's."""
    if bite.archived:
        yield from_json((ARCHIVE / f"{bite.archived}.json").read_text())[0]
    for seed in itertools.count(bite.first):
        yield make_story(
            f"bite{seed}",
            roles=bite.roles,
            length=bite.length,
            acts=bite.acts,
            who=bite.who,
            faults=bite.faults,
            links=bite.links,
            devices=bite.devices,
        )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", [what for what, bite in BITES.items() if bite.quick])
def test_an_old_fault_put_back_is_caught_soon(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_back(BITES[what], monkeypatch)
    assert caught(BITES[what], SECONDS), what


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("what", [what for what, bite in BITES.items() if not bite.quick])
def test_an_old_fault_put_back_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_back(BITES[what], monkeypatch)
    found = caught(BITES[what], SECONDS)
    print(f"{what}: {found}")  # noqa: T201  (which stories bite is what the reader asks)
    assert found, what
