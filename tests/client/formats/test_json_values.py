from __future__ import annotations

import json
from typing import Any

import pytest

from clave_client import events
from clave_client.events import Event, Inconsistency, MessageKind, Person
from clave_client.formats.json_values import BadValue, dump, event_types, load, load_event, type_tag
from clave_client.rpc import methods as m
from clave_client.values import MemberInfo, Phase, RoomInfo, SeenKey

ROOM = b"r" * 16
RED = Person("red", b"a" * 32, "laptop", b"d" * 32, verified=True)
BLUE = Person("blue", b"b" * 32, "desk", b"e" * 32, verified=False, known=b"c" * 32)

EVERY_EVENT = [
    events.Connected(relay="x:1", fingerprint="ab cd", registered=True, first_use=False, vouched=False),
    events.Disconnected(reason="gone", retry_in=1.5),
    events.Message(ROOM, 2**50, BLUE, b"i" * 16, 'a "text"\n\u202e', 1.25),
    events.Message(
        ROOM, 2**50, BLUE, b"i" * 32, "bold", 1.25, MessageKind.TEXT, "**bold**", b"r" * 32, 1.5, True
    ),
    events.MessageEdited(ROOM, 7, BLUE, b"i" * 32, "other text", 2.5, "**other** text"),
    events.MessageDeleted(ROOM, 7, RED, b"i" * 32, "blue"),
    events.MessagesExpired(ROOM, (7, 8)),
    events.ReactionChanged(ROOM, 7, RED, b"i" * 32, "\N{PARTY POPPER}", added=True),
    events.StatusChanged(ROOM, b"i" * 32),
    events.SettingsChanged(ROOM, 86_400, RED),
    events.Sent(ROOM, 7, b"i" * 16, "text", 3.5),
    events.SendFailed(ROOM, b"i" * 16, "too large", "text"),
    events.OutboxChanged(ROOM),
    events.Invited(ROOM, "friends", RED, ("red", "green")),
    events.InvitationAccepted(ROOM, BLUE),
    events.MemberAdded(ROOM, RED, BLUE),
    events.MemberJoined(ROOM, BLUE, "red"),
    events.LinksChanged(ROOM, 0, 2, events.LinkEnd.REMOVAL, RED),
    events.MemberLeft(ROOM, RED),
    events.MemberRemoved(ROOM, RED, BLUE),
    events.PresenceChanged(ROOM, "blue", online=False, reason="left"),
    events.RoomChanged(ROOM, "team", RED),
    events.TopicChanged(ROOM, "cake", RED),
    events.RoleChanged(ROOM, b"a" * 32, "blue", "admin", RED),
    events.PolicyChanged(ROOM, "add", "admin", RED),
    events.BanChanged(ROOM, b"a" * 32, "blue", True, RED),
    events.PinChanged(ROOM, b"i" * 32, 7, "blue", True, RED),
    events.RoomClosed(ROOM, "friends", None),
    events.Diverged(ROOM, None, Inconsistency.ORDER),
    events.RelayRestored(ROOM, "friends", 3),
    events.Notice(ROOM, "watch out", events.Advice.DECIDE_KEYS, "blue"),
]


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event in EVERY_EVENT} == set(event_types().values())


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type_tag(type(event)))
def test_an_event_survives_json(event: Event) -> None:
    raw = json.loads(json.dumps(dump(event)))
    assert raw["type"] == type_tag(type(event))
    assert load_event(raw) == event
    assert load(Event, raw) == event


def test_bytes_are_hexadecimal_and_enums_their_names() -> None:
    assert dump(SeenKey(b"\x01\xff", "here")) == {"account": "01ff", "source": "here", "bound": False}
    assert dump(Phase.JOINED) == "joined"
    info = RoomInfo(ROOM, "t", Phase.INVITED, 1, 2, 3, 0, False, 1, "MLS", "words", True)
    assert load(RoomInfo, dump(info)) == info
    member = MemberInfo(RED, True, False)
    assert load(list[MemberInfo], dump([member])) == [member]


@pytest.mark.parametrize(
    ("kind", "raw", "words"),
    [
        (m.Post, {"room": "r"}, "lacks text"),
        (m.Post, {"room": "r", "text": 1}, "text is not a text but int"),
        (m.Post, {"room": "r", "text": "t", "more": 1}, "no field called more"),
        (m.Post, [], "not of type Post but list"),
        (m.Verify, {"name": "n", "account": "xy"}, "account is not hexadecimal digits"),
        (m.Verify, {"name": "n", "account": 5}, "account is not hexadecimal digits"),
        (m.MarkShown, {"room": "r", "seq": -1}, "seq: Expected"),
        (m.MarkShown, {"room": "r", "seq": 2**63}, "seq: "),
        (m.MarkShown, {"room": "r", "seq": True}, "seq is not a whole number but bool"),
        (m.Send, {"room": "r", "text": "t", "wait": 1e9}, "wait: Expected"),
        (Phase, "nowhere", "is one of invited, joined"),
        (list[bytes], ["00", 3], r"\[1\] is not hexadecimal digits"),
        (Event, {"type": "nonsense"}, "no event that this version knows"),
        (events.Notice, {"type": "outbox_changed", "room": ""}, "not of type Notice"),
    ],
)
def test_what_is_not_of_the_type_is_refused_in_a_line(kind: Any, raw: object, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        load(kind, raw)


def test_the_first_type_of_two_that_fit_is_taken() -> None:
    both: list[Any] = [bytes | str, str | bytes]
    assert [load(each, "00") for each in both] == [b"\x00", "00"]
    lists: list[Any] = [list[bytes | str], list[str | bytes]]
    assert [load(each, ["00"]) for each in lists] == [[b"\x00"], ["00"]]


def test_an_event_whose_type_is_no_text_is_refused() -> None:
    with pytest.raises(BadValue):
        load_event({"type": []})
