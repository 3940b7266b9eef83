"""What has to hold: at every step (I1 to I7, I9) and at the end (I8, P1 to P3). Knows no story, no roles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from clave_client import events
from clave_client.errors import ClientError
from clave_client.events import Inconsistency
from clave_client.store.message_tables import HistoryLine
from clave_client.values import Phase
from clave_crypto.mls import Group
from clave_crypto.mls.suites import CipherSuite
from simulation import protocol

if TYPE_CHECKING:
    from clave_client.rooms.local_room import LocalRoom
    from simulation.device import Device
    from simulation.world import World

__all__ = ["Checks", "Violation"]

_TAIL = 32
_OUT = ("nobody lets this device back into ", "this device is no longer a member of the room")
_UNREAD = re.compile(r"what was said from entry (\d+) to (\d+) it could not read")
_SEQ = (1 << 40) - 1
"""A line's place in a history has the entry's seq here; above it is how often the relay was restored."""


class Violation(AssertionError):
    """Something that must hold does not; it begins with the invariant's name."""


class _Sent(NamedTuple):
    """Where a message is in the log, as its sender was told."""

    incarnation: bytes
    seq: int
    label: str


class Checks:
    """Everything seen so far, and the invariants over it.

    `lied_to` are the devices that a lying relay shows something else; what they see is held against nobody.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.lied_to: set[str] = set()
        self.alarms: list[tuple[Device, events.Event]] = []
        self.expects_alarms = False
        self.judges_refusals = False
        self._authenticators: dict[tuple[bytes, bytes], tuple[bytes, str]] = {}
        self._heads: dict[tuple[bytes, int], tuple[bytes, str]] = {}
        self._order: dict[bytes, dict[tuple[bytes, int], tuple[bytes, str, str]]] = {}
        self._shown: set[tuple[str, bytes, bytes, bytes]] = set()
        self._showed: dict[tuple[str, bytes, str], int] = {}
        self._sent: dict[tuple[bytes, bytes], _Sent] = {}
        self._blind: dict[tuple[str, bytes], set[int]] = {}
        self._rosters: dict[bytes, frozenset[bytes]] = {}
        self._readers: dict[tuple[bytes, int], frozenset[bytes]] = {}
        self._joined_at: dict[tuple[str, bytes], int] = {}
        self.key_of: dict[bytes, bytes] = {}
        self._key_sent: dict[bytes, bytes] = {}
        self._left: dict[tuple[str, bytes], int] = {}
        self._turned_down: set[tuple[str, bytes]] = set()
        self.posted: dict[bytes, tuple[str, bytes, int, str]] = {}
        """What people wrote, by message id: (device, room, where it had joined, text)."""

        self._comings: dict[tuple[bytes, bytes], tuple[int, bool]] = {}
        self._given_up: set[bytes] = set()
        self._closed: set[tuple[str, bytes]] = set()
        self._read: dict[tuple[str, bytes], int] = {}
        self._untold: set[tuple[str, bytes]] = set()

    def fail(self, invariant: str, text: str) -> None:
        """Note a violation, and stop the run at it."""
        self.violations.append(f"{invariant}: {text}")
        self.world.note("VIOLATION", invariant, text)
        self.world.stop()

    def _equal_view(self, device: Device) -> bool:
        return device.label not in self.lied_to

    # --- at every step ---

    def step(self, device: Device) -> None:
        """Look at a device just after one of its transactions (I4)."""
        for room_id, room in device.rooms.items():
            self._read[device.label, room_id] = room.record.cursor
            has_keys = room._stored_group.restored is not None  # looking at them would restore them
            if room.record.phase in (Phase.CLOSED, Phase.BEHIND) or (has_keys and room.group.closed):
                continue
            if not device.is_honest or not self._equal_view(device):
                continue
            if has_keys:
                authenticator = room.group.epoch_authenticator
                key = room_id, room.head
                known, who = self._authenticators.setdefault(key, (authenticator, device.label))
                if known != authenticator:
                    self.fail("I4", f"{device} and {who} differ in epoch {room.head.hex()[:4]}")
            if room.cannot_follow:
                self._blind.setdefault((device.label, room_id), set()).update(
                    range(room.record.lost, room.record.cursor + 1)
                )
            in_doubt = (
                room.should_rejoin or room.epochs.admitted_by or room.awaits_entry
            )  # on its way, or there by one account's word
            if in_doubt or room.record.cursor < room.record.began or self.restored or device.restored:
                continue
            place = room_id, room.record.cursor
            head, who = self._heads.setdefault(place, (room.head, device.label))
            if head != room.head and self._know_each_other(room, device, self.world.device(who)):
                self.fail(
                    "I4",
                    f"after entry {room.record.cursor} {device} is in epoch {room.head.hex()[:4]},"
                    f" {who} in {head.hex()[:4]}",
                )

    @staticmethod
    def _know_each_other(room: LocalRoom, device: Device, other: Device) -> bool:
        """Tell whether two devices are members for one another: an insider can invite to its own epoch."""
        theirs = other.rooms.get(room.id)
        mutual = theirs is not None and theirs.roster.has(device.public)
        return mutual and room.roster.has(other.public)

    def relay_restored(self) -> None:
        """Note who has read more than the relay has now, and is to be told that (P5)."""
        ends = {room: len(self.world.relay.log(room)) for _, room in self._read}
        self._untold |= {key for key, seq in self._read.items() if seq > ends[key[1]]}

    @property
    def restored(self) -> bool:
        """Whether the relay was restored from a backup."""
        return self.world.relay.restored > 0

    def happened(self, device: Device, event: events.Event) -> None:
        """Take an event."""
        match event:
            case events.Sent():
                self.world.note("sent", device.label, event.seq & _SEQ)
                if event.id in self.posted and device.is_honest:
                    incarnation = self._incarnation(device, event.room)
                    self._sent[event.room, event.id] = _Sent(incarnation, event.seq & _SEQ, device.label)
            case events.Invited():
                self._closed.discard((device.label, event.room))
                self.world.note("invited", device.label, event.title)
            case events.RoomClosed() if event.by is not None:
                by = self.world.devices.get(self.label_of(event.by.device))
                if (
                    by is None or by.is_honest
                ):  # an insider may close a room to one, and go on in it with others
                    self._closed.add((device.label, event.room))
                self.world.note("closed", device.label, event.by.name)
            case events.Notice() if unread := _UNREAD.search(event.text):
                first, last = map(int, unread.groups())
                self._blind.setdefault((device.label, event.room), set()).update(range(first, last + 1))
                self.world.note("event", device.label, "Notice", event.text)
            case events.Notice() if any(text in event.text for text in _OUT):
                self._turned_down.add((device.label, event.room))
                self.world.note("event", device.label, "Notice", event.text)
            case events.RelayRestored():
                self._untold.discard((device.label, event.room))
                self.world.note("event", device.label, "RelayRestored")
            case events.SendFailed():
                self._given_up.add(event.id)
                self.world.note("not sent", device.label, event.reason)
            case (
                events.MemberAdded() | events.MemberJoined() | events.MemberRemoved() | events.MemberLeft()
            ) if event.room in device.rooms:
                self._note_coming(device, event)
            case events.Message() | events.PresenceChanged():
                return
            case _:
                self.world.note("event", device.label, type(event).__name__, getattr(event, "text", ""))
        if protocol.is_alarm(event, restored=self.restored or device.restored):
            self.alarms.append((device, event))
            if not self.expects_alarms and device.is_honest:
                self.fail("P3", f"{device} is alarmed without cause: {event}")

    def _note_coming(self, device: Device, event: Any) -> None:
        """Note who came and went, and where in the log at the latest."""
        self.world.note("event", device.label, type(event).__name__, event.person.name)
        if device.is_honest and event.room in device.rooms:
            key, seq = (event.room, event.person.device), device.rooms[event.room].record.cursor
            if seq >= self._comings.get(key, (0, False))[0]:
                self._comings[key] = (seq, isinstance(event, events.MemberAdded | events.MemberJoined))

    def label_of(self, device: bytes) -> str:
        """Return what the device with a key is called."""
        return next((label for label, each in self.world.devices.items() if each.public == device), "")

    def removed_at(self, room: bytes, device: bytes) -> int | None:
        """Return the entry after which a device was out for everybody honest; None if it is in."""
        seq, is_in = self._comings.get((room, device), (0, True))
        return None if is_in else seq

    def is_alone(self, members: Sequence[Device]) -> bool:
        """Tell whether only one account is left with an adversary that went, so that nobody can help it."""
        return self.expects_alarms and len({each.name for each in members}) < 2

    def knows_to_be_out(self, device: Device, room: bytes) -> bool:
        """Tell whether a device was told that it is out, without reading why, and is for the others."""
        if (device.label, room) not in self._turned_down or room not in device.rooms:
            return False
        rooms = [
            each.rooms[room] for each in self.world.honest() if each is not device and room in each.rooms
        ]
        head = device.rooms[room].head
        return not any(each.roster.has(device.public) for each in rooms if each.head != head)

    def noticed(self) -> bool:
        """Tell whether anybody heard that the relay shows people different things, or lost some."""
        return any(
            protocol.is_fault(event) or isinstance(event, events.RelayRestored) for _, event in self.alarms
        )

    def heard_of(self, lie: Inconsistency) -> bool:
        """Tell whether anybody was told of this lie."""
        return any(
            isinstance(event, events.Diverged) and event.inconsistency is lie for _, event in self.alarms
        )

    def went_apart(self, device: Device) -> bool:
        """Tell whether a device lied to has another history or epoch than the others, and talked with them.

        Only then there is something to notice, and somebody who could (P3).
        """
        for room, order in self._order.items():
            if device not in self.world.members(room):
                continue
            after = self._joined_at.get((device.label, room), 0)
            lines = {line.seq & _SEQ: line for line in device.session.store.history(room)}
            ours = {seq: said[0] for (_, seq), said in order.items() if seq > after}
            others = [each for each in self.world.members(room) if self._equal_view(each)]
            if not others:
                continue
            texts = {line.text for each in others for line in each.session.store.history(room)}
            heard = any(
                line.text.endswith("was here") and line.name != device.name for line in lines.values()
            )
            talked = heard or f"{device} was here" in texts
            here = {seq: line.id for seq, line in lines.items() if seq > after}
            if talked and (
                ours != here or any(o.rooms[room].head != device.rooms[room].head for o in others)
            ):
                return True
        return False

    def ended(self, device: Device, error: ClientError) -> None:
        """Take that a device's session failed for good."""
        if device.is_honest and not self.expects_alarms:
            self.fail("I8", f"{device} cannot go on: {error}")

    def enqueued(self, device: Device, room: bytes, message: bytes, text: str) -> None:
        """Take a post that is in an outbox from now on."""
        joined = self._joined_at.get((device.label, room), 0)
        self.posted[message] = (device.label, room, joined, text)

    def let_in(self, device: Device, room: bytes, after: int) -> None:
        """Take that a device holds an invitation to a room, and reads it from after this entry."""
        self._joined_at[device.label, room] = after
        self._untold.discard((device.label, room))
        self._closed.discard((device.label, room))
        self._turned_down.discard((device.label, room))

    def sealed(self, device: Device, payload: bytes) -> None:
        """Note who can read a message, by its sender's word."""
        head = protocol.head_of(payload)
        for room in device.rooms.values():
            for group in protocol.speakers(room):
                if protocol.epoch_id(group) == head:
                    self._rosters[payload[-_TAIL:]] = protocol.roster_of(group)

    def kept(self, device: Device, room: bytes, line: HistoryLine) -> None:
        """Take a line that a device has in its history from now on (I3)."""
        if not self._equal_view(device):
            return
        said, place = (line.id, line.text, line.name), (self._incarnation(device, room), line.seq & _SEQ)
        known = self._order.setdefault(room, {}).setdefault(place, said)
        if known != said:
            self.fail(
                "I3", f"{device} has {line.name}: {line.text} at {place[1]}, others {known[2]}: {known[1]}"
            )

    @staticmethod
    def _incarnation(device: Device, room: bytes) -> bytes:
        here = device.rooms.get(room)
        return b"" if here is None else here.record.incarnation

    def shows(self, device: Device, room: bytes, account: bytes, message: bytes, text: str) -> None:
        """Take what a screen shows: each message once, and each person's in the order of writing (I2, P1)."""
        sender, _, number = text.partition(" says ")
        if (
            number.isdigit()
            and device.is_honest
            and self._equal_view(device)
            and not (self.restored or device.restored)
        ):
            former = self._showed.get((device.label, room, sender), 0)
            self._showed[device.label, room, sender] = max(former, int(number))
            writer = self.world.devices.get(sender)
            if int(number) < former and sender not in self.lied_to and writer and writer.is_honest:
                self.fail("P1", f"{device} shows {text!r} after {former}")
        key = (device.label, room, account, message)
        if key in self._shown and not device.restored:
            self.fail("I2", f"{device} shows {text} twice")
        self._shown.add(key)

    # --- keys ---

    def watch_keys(self, suite: CipherSuite, stack: Any, patch: Any) -> None:
        """Record every AEAD call (I5), and compare the state before and after each refused entry (I9)."""
        checks, seal, receive = self, CipherSuite.seal, Group.receive

        def sealing(suite: CipherSuite, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
            ciphertext = seal(suite, key, nonce, aad, plaintext)
            checks.key_of[ciphertext[-_TAIL:]] = bytes(key)
            return ciphertext

        def receiving(group: Group, payload: bytes, *rest: Any, **more: Any) -> Any:
            before = group.state() if checks.judges_refusals else None
            try:
                return receive(group, payload, *rest, **more)
            except Exception:
                if before is not None and group.state() != before:
                    checks.fail("I9", "a refused entry changed a group's state")
                raise

        stack.enter_context(patch(CipherSuite, "seal", sealing))
        stack.enter_context(patch(Group, "receive", receiving))

    def submitted(self, label: str, payload: bytes) -> None:
        """Take a payload that left a device: its key has encrypted nothing else that did (I5)."""
        tail = payload[-_TAIL:]
        key = self.key_of.get(tail)
        device = self.world.devices.get(label)
        if device is None or not device.is_honest:
            return
        if key is not None and self._key_sent.setdefault(key, tail) != tail:
            self.fail("I5", f"{label} sent two messages under one key")

    # --- at the end ---

    def judge_restores(self) -> None:
        """See that everybody was told what a restored relay has lost (P5)."""
        for label, room in sorted(self._untold):
            device = self.world.devices[label]
            here = device.rooms.get(room)
            follows = here is not None and here.record.phase is Phase.JOINED and here.resumed
            if device.is_honest and self._equal_view(device) and not device.restored and follows:
                self.fail("P5", f"{device} was not told what the relay has lost")

    def judge_history(self) -> None:
        """Hold every history against the log and the screens (I1, I6, P1, P5)."""
        for room in self._order:
            log = {entry.seq: entry for entry in self.world.relay.log(room)}
            readers = {seq: self._rosters.get(entry.payload[-_TAIL:]) for seq, entry in log.items()}
            present = [each for each in self.world.members(room) if self._equal_view(each)]
            now = {self._incarnation(each, room) for each in present}
            kept = {message: sent for (r, message), sent in self._sent.items() if r == room}
            # A restored relay has lost what its device says again, unless that was no member any more.
            sent = {
                message: each
                for message, each in kept.items()
                if each.label not in self.lied_to
                and message not in self._given_up
                and not self.knows_to_be_out(self.world.devices[each.label], room)
                and (not self.restored or each.incarnation in now)
            }
            for each in sent.values():
                if each.seq not in log:
                    self.fail("I1", f"entry {each.seq} of {each.label} was acknowledged, but is not logged")
            for device in self.world.honest():
                if device.client is None or not self._equal_view(device):
                    continue
                lines = device.session.store.history(room)
                if not self.restored:
                    self._judge_lines(device, lines, readers)
                if device not in present or device.restored:
                    continue
                blind = self._blind.get((device.label, room), set())
                after, held = self._joined_at.get((device.label, room), 0), {line.id for line in lines}
                for message, (_, seq, label) in sent.items():
                    due = seq > after and seq not in blind and device.public in (readers.get(seq) or ())
                    due &= not self._removes(self.world.devices[label], room, device)
                    if due and message not in held and not self.restored and not self.is_alone(present):
                        self.fail("I1", f"{device} lacks entry {seq} of {label}")
                shown = {message for _, _, message, _ in device.shown} | device.never_shown
                for line in lines:
                    # What came as it left, before it was invited again, is of the former membership.
                    is_new = line.seq & _SEQ > after
                    if is_new and line.id not in shown and line.sender != device.public:
                        self.fail("P1", f"{device} never showed {line.text!r}")

    def _judge_lines(self, device: Device, lines: list[HistoryLine], readers: Any) -> None:
        for line in lines:
            known = readers.get(line.seq)
            if known is not None and device.public not in known:
                self.fail("I6", f"{device} reads entry {line.seq}, encrypted when it was not a member")

    def judge_posts(self) -> None:
        """See that nothing anyone wrote is lost (P1, P5)."""
        for message, (label, room, joined, text) in self.posted.items():
            device = self.world.devices[label]
            if device.restored or device not in self.world.members(room) or not self._equal_view(device):
                continue
            stayed = joined == self._joined_at.get((label, room), 0)
            stayed &= not self.is_alone(self.world.members(room))
            if not stayed or message in self._given_up:
                continue
            sent = self._sent.get((room, message))
            if not self._holds(device, room, message):
                self.fail("P1", f"{text!r} of {label} never got into the log")
            elif self.restored and sent is not None and self._lost(room, sent):
                self.fail("P5", f"{text!r} of {label} was lost by the relay and never said again")

    def _lost(self, room: bytes, sent: _Sent) -> bool:
        """Tell whether the relay has lost a message: what it has in its place was said by somebody else."""
        log = {entry.seq: entry for entry in self.world.relay.log(room)}
        entry = log.get(sent.seq)
        return entry is None or entry.sender != self.world.devices[sent.label].public

    def judge_rooms(self) -> None:
        """See that all members of a room agree on who they are and which epoch it is (I8)."""
        for room in sorted({room for device in self.world.honest() for room in device.rooms}):
            members = [
                each for each in self.world.members(room) if self._equal_view(each) and not each.restored
            ]
            if self.is_alone(members):
                continue
            for device in members:
                here, first = device.rooms[room], members[0].rooms[room]
                if here.head != first.head:
                    self.fail(
                        "I8", f"{device} is in epoch {here.group.epoch}, {members[0]} in {first.group.epoch}"
                    )
                if here.cannot_follow:
                    self.fail("P1", f"{device} is lost")
                if here.outbox:
                    self.fail("I8", f"{device} has not sent all it wanted to")
            if members:
                roster = protocol.roster_of(members[0].rooms[room].group)
                for device in self.world.honest():
                    if (device.label, room) in self._closed and device.public in roster and not self.restored:
                        self.fail("P1", f"{device} takes itself for removed, the others do not")
                if lost := [each.label for each in members if each.public not in roster]:
                    self.fail("I8", f"{lost} take themselves for members, the others do not")

    def heard(self, room: bytes, words: dict[str, str]) -> tuple[list[str], list[str]]:
        """Return who lacks whose word, of `words` by device, without having been told; and who was told."""
        lacking: list[str] = []
        unread: list[str] = []
        members = self.world.members(room)
        here = {device.label for device in members}  # some may be removed since they spoke
        for device in members:
            if self._equal_view(device) and not device.restored:
                lines = device.session.store.history(room, last=2 * len(words) + 50)
                shown = {message for _, _, message, _ in device.shown[-2 * len(words) - 200 :]}
                texts = {line.text for line in lines if line.id in shown or line.sender == device.public}
                blind = self._blind.get((device.label, room), ())
                for who, word in words.items():
                    if (
                        who not in here
                        or word in texts
                        or self._removes(self.world.device(who), room, device)
                    ):
                        continue
                    told = self._place(room, who, word) in blind
                    (unread if told else lacking).append(f"{device} lacks {who}'s")
        return lacking, unread

    def _place(self, room: bytes, who: str, text: str) -> int:
        """Return the entry of what somebody wrote, 0 if it is in no log."""
        written = (
            message for message, (label, _, _, said) in self.posted.items() if (label, said) == (who, text)
        )
        return max((sent.seq for message in written if (sent := self._sent.get((room, message)))), default=0)

    def _removes(self, speaker: Device, room: bytes, device: Device) -> bool:
        """Tell whether a device speaks in the epoch of its rekey that removes another, or all who confirm."""
        here = speaker.rooms.get(room)
        successor = here.commits.successor if here is not None and here.commits.awaits_confirmation else None
        if successor is None:
            return False
        left = protocol.roster_of(successor)
        others = [each for each in self.world.members(room) if each.name != speaker.name]
        return device.public not in left or not any(each.public in left for each in others)

    @staticmethod
    def _holds(device: Device, room: bytes, message: bytes) -> bool:
        return any(line.id == message for line in device.session.store.history(room))
