"""Honest members and an honest relay, at random: nobody is alarmed, and nothing is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from clave_client import events
from clave_client.rooms.log_reader import LogMessage
from clave_client.values import Phase
from clave_crypto.mls import MLSError, Remove
from clave_wire.messages import Accepted, Submit
from client.memory_relay import Member, agree, feed, in_one_room, join, lies, resume, submit_due


class Crowd:
    """Members at an honest relay whose answers take their time, who do at random what members do."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)  # noqa: S311 (a test that can be repeated)
        self.log, self.members = in_one_room(folder, "red", "blue", "green")
        self.inbox: dict[bytes, list[LogMessage]] = {m.device: [] for m in self.members}
        self.sent: dict[bytes, list[Submit]] = {m.device: [] for m in self.members}
        self.guests: dict[bytes, Member] = {}
        self.told: list[events.Event] = []
        self.said: dict[str, list[str]] = {m.name: [] for m in self.members}

    def submit(self, member: Member, *submits: Submit) -> None:
        self.sent[member.device] += submits

    def arrive(self, member: Member) -> None:
        """Have the relay take the next submission of a member."""
        submit = self.sent[member.device].pop(0)
        refusal = self.log.take(member, submit)
        if refusal is not None:
            self.inbox[member.device].append(refusal)
            return
        entry = self.log.entries[-1]
        for other in self.members:
            own = other is member
            answer = Accepted(entry.room, entry.submission, entry.seq) if own else entry
            self.inbox[other.device].append(answer)
        guest = self.guests.pop(submit.payload[-32:], None)
        if guest is not None:
            guest.opens(join(guest, submit.welcome, entry.seq))
            guest.room.accept()
            self.members.append(guest)
            self.said[guest.name] = []
            self.sent[guest.device] = []
            self.resume(guest)

    def resume(self, member: Member) -> None:
        self.told += resume(member, self.log)
        self.inbox[member.device] = list(self.log.entries[member.room.record.cursor :])

    def read(self, member: Member, count: int) -> None:
        inbox = self.inbox[member.device]
        batch, self.inbox[member.device] = inbox[:count], inbox[count:]
        outcome = feed(member, batch)
        self.told += outcome.events
        assert not outcome.epoch_suspect
        assert not outcome.rejoin_requests
        if member.room.record.phase is Phase.CLOSED:
            self.members.remove(member)

    def act(self, member: Member) -> None:
        self.submit(member, *submit_due(self.log, member))

    def step(self) -> None:
        draw = self.random.random
        member = self.random.choice(self.members)
        chance = draw()
        if chance < 0.25:
            text = f"{member.name} {len(self.said[member.name])}"
            self.said[member.name].append(text)
            member.says(text)
            self.act(member)
        elif chance < 0.5 and self.sent[member.device]:
            self.arrive(member)
        elif chance < 0.8:
            self.read(member, self.random.randint(1, 4))
            if member in self.members:
                self.act(member)
        elif chance < 0.88:
            while self.sent[member.device] and draw() < 0.5:
                self.arrive(member)
            self.sent[member.device].clear()
            if draw() < 0.5:
                member.restarts()
            self.resume(member)
            self.act(member)
        elif member.room.may_commit:
            self.change(member)

    def change(self, member: Member) -> None:
        others = [
            other for other in self.members if other is not member and member.room.roster.has(other.device)
        ]
        kind = self.random.choice(["add", "rekey", "remove", "leave"])
        try:
            if kind == "add" and len(self.members) < 6:
                guest = Member(self.folder, f"guest{len(list(self.folder.iterdir()))}")
                submit = member.room.prepare_commit([guest.add()])
                self.guests[submit.payload[-32:]] = guest
                self.submit(member, submit)
            elif kind == "rekey":
                self.submit(member, member.room.prepare_commit(()))
            elif kind == "remove" and len(self.members) > 3:
                leaf = member.leaf_of(self.random.choice(others))
                self.submit(member, member.room.prepare_commit([Remove(leaf)]))
            elif kind == "leave" and len(self.members) > 3 and self.random.random() < 0.3:
                member.room.start_leaving()
                self.act(member)
        except (MLSError, Exception) as error:
            # An owner, who the first admin becomes where all know roles, is not removed by others.
            if "nobody can be added" not in str(error) and "may not remove an owner" not in str(error):
                raise

    def rest(self) -> None:
        """Let everything arrive and be read."""
        for _ in range(200):
            for member in list(self.members):
                while self.sent[member.device]:
                    self.arrive(member)
                self.read(member, len(self.inbox[member.device]))
                if member in self.members:
                    self.act(member)
            if not any(self.sent[m.device] or self.inbox[m.device] for m in self.members):
                return
        raise AssertionError("it never comes to rest")


@pytest.mark.parametrize("seed", range(25))
def test_an_honest_run_raises_no_alarm_and_loses_nothing(tmp_path: Path, seed: int) -> None:
    crowd = Crowd(tmp_path, seed)
    for _ in range(120):
        crowd.step()
    crowd.rest()
    assert lies(*crowd.told) == []
    assert not [event for event in crowd.told if isinstance(event, events.Notice)]
    agree(*crowd.members)
    devices = {member.device for member in crowd.members}
    for member in crowd.members:
        assert set(member.room.roster.devices()) == devices, "nobody lingers"
        assert not member.room.outbox
        lines = member.store.history(member.room.id)
        assert len({line.id for line in lines}) == len(lines)
        for name, texts in crowd.said.items():
            read = [line.text for line in lines if line.text.split()[0] == name]
            own = member.name == name
            still_here = any(name == other.name for other in crowd.members)
            since_then = texts[len(texts) - len(read) :] if still_here or own else texts[: len(read)]
            assert read == since_then or (not still_here and read == [t for t in texts if t in read])
            if still_here and member.name in ("red", "blue", "green"):
                assert read == texts, "whoever was there all the time has read all"
