"""Makes stories: what people do and what happens to them, as plain data, from a seed. Runs none.

An operation is a dict with `after` (seconds since the one before), `do`, mostly `who`, and what it needs. One
that makes no sense where it stands does nothing, so that any of them can be left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from simulation.randomness import dice
from simulation.roles import ROLES

__all__ = ["Operation", "Story", "make_story"]

PEOPLE = ("red", "blue", "green", "grey", "gold")

Operation = dict[str, Any]


@dataclass
class Story:
    """A seed for all chance but what is told here, the roles that are played, and the operations.

    With `siblings` the devices of an account know of each other, and bring each other into their rooms. With
    `devices` only one of them has the account's key, and others come, are removed, and get the key.
    """

    seed: int | str
    operations: list[Operation]
    roles: list[dict[str, Any]] = field(default_factory=list)
    real: bool = False
    siblings: bool = False
    devices: bool = False


def make_story(
    seed: int | str,
    *,
    roles: tuple[str, ...] = (),
    length: int | None = None,
    real: bool = False,
    faults: str = "",
    acts: tuple[str, ...] = (),
    who: str = "",
    links: bool = False,
    devices: bool = False,
) -> Story:
    """Make the story of `seed`: an opening that brings people together, then 5 to 35 operations.

    With `links` all but the first two people come by links, devices bring their siblings, and roles change;
    with `devices` too, devices come and go.
    """
    chance = dice(seed, "story")
    people = list(PEOPLE[: chance.randint(3, 5)])
    labels = people + [f"{name}2" for name in people if chance.random() < 0.2]
    faults = faults or chance.choice(["none", "network", "clients", "relay", "all"])
    rooms = ["hall"] if chance.random() < 0.7 else ["hall", "attic"]
    chosen = [_cast(chance, role, people) for role in roles]
    for each in chosen:
        each |= {"acts": list(acts)} if acts else {}
        each |= {"who": who} if who else {}
    told: list[Operation] = [{"after": 0.0, "do": "come", "who": who} for who in labels]
    told[-1]["after"] = 0.5
    for room in rooms:
        told.append({"after": 2.0, "do": "create", "who": people[0], "room": room})
        told += [
            {"after": 0.6, "do": "invite", "who": people[0], "room": room, "guest": guest}
            for guest in (people[1:2] if links else people[1:])
        ]
        told += [
            {"after": 0.1, "do": "accept", "who": who, "room": room}
            for who in labels[1:]
            if chance.random() < 0.9
        ]
        if links:
            told.append({"after": 0.5, "do": "link", "who": people[0], "room": room, "uses": 8})
            told += [
                {"after": chance.choice([0.1, 0.5, 2.0]), "do": "join", "who": who, "room": room}
                for who in labels
                if who.rstrip("2") in people[2:]
            ]
    told[-1]["after"] += 0.5
    scene = _Scene(people, labels, rooms, faults, chosen)
    for _ in range(length or chance.randint(5, 35)):
        pause = chance.choice([0.0, 0.01, 0.05, 0.2, 1.0, 3.0])
        operate = _link_operation if links and chance.random() < 0.35 else _operation
        if devices and chance.random() < 0.3:
            operate = _device_operation
        told.append({"after": pause, **operate(chance, scene)})
    return Story(seed, told, chosen, real, siblings=links or devices, devices=devices)


def _cast(chance: Random, role: str, people: list[str]) -> dict[str, Any]:
    """Choose who plays or suffers a role: rarely the first person, who is the rooms' only admin."""
    return {"role": role, "who": chance.choice(people if chance.random() < 0.2 else people[1:])}


@dataclass
class _Scene:
    """Who and what there is to choose from; devices come to it as the story goes on."""

    people: list[str]
    devices: list[str]
    rooms: list[str]
    faults: str
    roles: list[dict[str, Any]]


def _operation(chance: Random, scene: _Scene) -> Operation:
    who, room = chance.choice(scene.devices), chance.choice(scene.rooms)
    admin, guest = scene.people[0], chance.choice(scene.people[1:])
    if scene.roles and chance.random() < 0.35:
        number = chance.randrange(len(scene.roles))
        act = chance.choice(scene.roles[number].get("acts") or ROLES[scene.roles[number]["role"]].acts)
        return {"do": "act", "role": number, "act": act, "room": room, "chance": chance.randrange(2**32)}
    if scene.faults != "none" and chance.random() < 0.25:
        return _fault(chance, who, scene.faults)
    what = chance.choices(
        ["post", "invite", "accept", "remove", "leave", "title", "go", "come", "decline"],
        [10, 3, 4, 1.5, 1, 1, 2, 4, 0.3],
    )[0]
    match what:
        case "post":
            return {
                "do": "post",
                "who": who,
                "room": room,
                "count": chance.choice([1] * 24 + [3, 3, 3, 3, 40]),
            }
        case "invite":
            return {"do": "invite", "who": admin, "room": room, "guest": guest}
        case "remove":
            return {"do": "remove", "who": admin, "room": room, "guest": guest}
        case "leave":
            return {"do": "leave", "who": chance.choice(scene.devices[1:]), "room": room}
        case "title":
            return {"do": "title", "who": admin, "room": room, "title": f"title {chance.randrange(100)}"}
        case "go" | "come":
            return {"do": what, "who": who}
        case _:
            return {"do": what, "who": who, "room": room}


def _link_operation(chance: Random, scene: _Scene) -> Operation:
    """Return something about links and roles, or a fault."""
    if scene.faults != "none" and chance.random() < 0.2:
        return _fault(chance, chance.choice(scene.devices), scene.faults)
    who, room, guest = scene.people[0], chance.choice(scene.rooms), chance.choice(scene.people[1:])
    what = chance.choices(["join", "link", "revoke", "role", "topic", "ban", "unban"], [6, 2, 1, 2, 1, 1, 1])[
        0
    ]
    told: Operation = {"do": what, "who": who, "room": room}
    match what:
        case "join":
            return told | {"who": chance.choice(scene.devices)}
        case "link":
            return told | {"uses": chance.choice([1, 2, 8])}
        case "role":
            return told | {"guest": guest, "role": chance.choice(["guest", "member", "admin", "owner"])}
        case "topic":
            return told | {"topic": f"topic {chance.randrange(100)}"}
        case "ban" | "unban":
            return told | {"guest": guest}
        case _:
            return told


def _device_operation(chance: Random, scene: _Scene) -> Operation:
    """Return something about the devices of somebody, who may get another one."""
    name = chance.choice(scene.people)
    what = chance.choices(["add", "unpair", "hand on", "draft"], [3, 2, 2, 3])[0]
    own = [each for each in scene.devices if each.rstrip("23456789") == name]
    if what == "add":
        label = f"{name}{len(own) + 1}"
        if len(own) < 5:
            scene.devices.append(label)
        return {"do": "come", "who": label}
    told: Operation = {"do": what, "who": chance.choice(own)}
    if what == "draft":
        return told | {"room": chance.choice(scene.rooms), "text": f"draft {chance.randrange(100)}"}
    return told | {"device": chance.choice(own)}


def _fault(chance: Random, who: str, faults: str) -> Operation:
    kinds = {
        "network": ["cut", "unreachable"],
        "clients": ["crash"],
        "relay": ["relay crash", "relay stop", "disk full"],
        "backup": ["relay copy", "relay restore"],
        "profiles": ["profile copy", "profile restore"],
    }
    everything = [*kinds["network"], *kinds["clients"], *kinds["relay"]]
    kind = chance.choice(everything if faults == "all" else kinds[faults])
    match kind:
        case "cut":
            late = chance.choice([0.0, 0.1, 5.0, 25.0])
            first, second = chance.choice([(0.05, late), (late, 0.05)])
            return {"do": "cut", "who": who, "client_hears": first, "relay_hears": second}
        case "crash":
            return {"do": "crash", "who": who, "points": chance.choice([1, 2, 3, 5, 8, 13, 21])}
        case "profile copy" | "profile restore":
            return {"do": kind, "who": who}
        case "unreachable":
            return {"do": kind, "who": who, "seconds": chance.choice([1.0, 10.0])}
        case _:
            return {"do": kind, "seconds": chance.choice([0.1, 1.0, 5.0])}
