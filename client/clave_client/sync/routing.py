"""Compares whom the relay routes a room to with the group's roster, and corrects the relay.

It takes the corrections of two accounts to have the relay stop routing to a member. Knows no commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from clave_client import events
from clave_client.errors import RelayRefused
from clave_client.rooms.local_room import LocalRoom
from clave_client.sync.context import SyncContext
from clave_client.sync.timers import RoomTimers
from clave_client.values import Phase
from clave_wire.limits import MAX_BATCH_MEMBERS
from clave_wire.messages import Code, CreateRoom, Done, Mend, Refused, Resumed

__all__ = ["CHECK_SECONDS", "RECHECK_SECONDS", "RoutingCheck"]

RECHECK_SECONDS = 15.0
"""Delay of the next check after the relay refused a correction."""

_STOP_ROUTING_SECONDS = 5.0
"""Delay between an entry of a room that this device has left, and asking the relay to stop routing it."""

CHECK_SECONDS = 30.0
"""Least time between two checks of a room."""


class RoutingCheck:
    """The routing checks of one profile's rooms.

    `checked_at` is when each room was checked last, in seconds of the event loop's clock.
    """

    def __init__(self, sync: SyncContext, timers: RoomTimers) -> None:
        self._sync = sync
        self._timers = timers
        self.corrections: dict[int, bytes] = {}
        self._rosters: dict[bytes, Resumed] = {}
        self._left: set[bytes] = set()
        self._names_reported: set[tuple[bytes, str]] = set()
        self.checked_at: dict[bytes, float] = {}

    def disconnected(self) -> None:
        """Forget what only holds while connected."""
        self.corrections.clear()
        self._rosters.clear()
        self._left.clear()

    # --- checking ---

    def check(self, room: LocalRoom) -> None:
        """Ask the relay whom it routes to, at most every 30 s; its answer is compared by `correct`."""
        loop = asyncio.get_running_loop()
        due = self.checked_at.get(room.id, -CHECK_SECONDS) + CHECK_SECONDS
        if room.in_flight:
            due = max(due, loop.time() + 1.0)
        if loop.time() < due:
            self._timers.once(due - loop.time(), self.check, room.id)
        elif room.resumed:
            self.checked_at[room.id] = loop.time()
            self._sync.restart_resume(room)

    def recheck(self, room: LocalRoom) -> None:
        """Check a room now, however short ago it was checked."""
        if self._sync.is_online and self._sync.rooms.get(room.id) is room:
            self.checked_at.pop(room.id, None)
            self.check(room)

    def recheck_later(self, room: LocalRoom) -> None:
        """Check a room in 15 s: a member may have corrected the relay before it knew of an add."""
        self._sync.later(RECHECK_SECONDS, partial(self.recheck, room))

    # --- correcting ---

    def note_resumed(self, room: LocalRoom, resumed: Resumed) -> None:
        """Keep the relay's member list for `correct`; report members that go by another name there."""
        self._rosters[room.id] = resumed
        for name, other in room.roster.name_differences(resumed.members).items():
            if (room.id, name) not in self._names_reported:
                self._names_reported.add((room.id, name))
                title = room.record.title
                text = f"the relay knows {name} in {title} as {other}: one of the two lies; compare keys"
                self._sync.emit(events.Notice(room.id, text, events.Advice.COMPARE_KEYS, name))

    def correct(self, room: LocalRoom, not_routed: Callable[[Resumed], None]) -> bool:
        """Compare the member list of the last resume with the roster, and submit the differences.

        Returns False, after a call of `not_routed`, if this device is not in the list. Does nothing while the
        device lags behind that list, cannot follow the group or was not let in. Asks for no removals of who
        joins by a link now, nor while one account alone has vouched for this epoch: it may have made it up.
        """
        resumed = self._rosters.pop(room.id, None)
        if resumed is None or room.record.cursor != resumed.seq:
            return True
        if room.cannot_follow or room.awaits_entry or room.record.phase is not Phase.JOINED:
            return True
        if room.not_routed:
            not_routed(resumed)
            return False
        missing, strange = room.roster.routing_differences([device for device, _ in resumed.members])
        if missing:
            title = room.record.title
            text = f"the relay had stopped delivering {title} to some of its members; it does again"
            self._sync.emit(events.Notice(room.id, text))
        strange = [
            each for each in strange if not (room.rekeys.joiner(each) or each in room.rekeys.superseded)
        ]
        if room.epochs.admitted_by:
            strange = []
        for start in range(0, max(len(missing), len(strange)), MAX_BATCH_MEMBERS):
            some = slice(start, start + MAX_BATCH_MEMBERS)
            self._submit(room.id, missing[some], strange[some])
        return True

    def _submit(self, room_id: bytes, add: list[bytes], remove: list[bytes]) -> None:
        transport = self._sync.transport
        request = transport.next_id()
        self.corrections[request] = room_id
        transport.send(Mend(request, room_id, add, remove))

    def handle_answer(self, answer: Done | Refused) -> bool:
        """Handle the answer to a correction; return whether it was one.

        After a refusal check again later: a restored relay may not know yet whom it is to route to.
        """
        room_id = self.corrections.pop(answer.id, None)
        if room_id is None:
            return False
        if isinstance(answer, Refused):
            if room_id not in self._sync.rooms:
                self._left.add(room_id)  # asked to stop routing a room that this device has left
            self._timers.once(RECHECK_SECONDS, self.recheck, room_id)
        return True

    # --- rooms that this device has left ---

    def note_left(self, room_id: bytes) -> None:
        """Note that this device has left a room."""
        self._left.add(room_id)

    def handle_entry_of_unknown_room(self, room_id: bytes) -> None:
        """Ask the relay to stop routing a left room: in a room of two nobody else can."""
        if room_id in self._left:
            self._left.discard(room_id)
            self._sync.later(_STOP_ROUTING_SECONDS, partial(self._stop_routing, room_id))

    def _stop_routing(self, room_id: bytes) -> None:
        if self._sync.is_online and room_id not in self._sync.rooms:  # else it was added again
            self._submit(room_id, [], [self._sync.own_device])

    async def recreate(self, room: LocalRoom) -> None:
        """Create a room again that is younger than the backup its relay was restored from."""
        try:
            await self._sync.transport.request(lambda request: CreateRoom(request, room.id))
        except RelayRefused as error:
            if error.code is not Code.ROOM_EXISTS:  # another member was first, and adds the others
                raise
        self._sync.restart_resume(room)
