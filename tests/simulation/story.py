"""Runs a story, tells it, and stores it as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from clave_client.client import Client
from clave_client.formats.agreed_state import parse_role
from clave_client.values import Phase
from simulation.checks import Violation
from simulation.clock import Idle, Livelock, run
from simulation.device import Device
from simulation.device_checks import judge_devices, judge_stores
from simulation.disk import Crash
from simulation.making import Operation, Story, make_story
from simulation.role import Role
from simulation.roles import ROLES
from simulation.sizes import oversized
from simulation.world import World, world_of

__all__ = ["Operation", "Outcome", "Story", "from_json", "make_story", "play", "tell", "to_json"]

SETTLE_SECONDS = 60


@dataclass
class Outcome:
    """How a story ended: the violations, a hash of the trace, and the trace."""

    violations: list[str]
    digest: str
    trace: list[str]
    virtual_seconds: float
    alarms: list[str]


class _Stage:
    """A story on its way."""

    def __init__(self, world: World, story: Story) -> None:
        self.world = world
        self.story = story
        self.rooms: dict[str, bytes] = {}
        self.links: dict[bytes, str] = {}
        self.roles: list[Role] = [
            ROLES[each["role"]](world, each["who"], number) for number, each in enumerate(story.roles)
        ]
        self._words = 0
        self._later: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tell the story to its end, or to the first violation."""
        world = self.world
        ending = asyncio.ensure_future(world.stopped.wait())
        telling = asyncio.ensure_future(self._tell())
        await asyncio.wait((telling, ending), return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()

    async def _tell(self) -> None:
        self.world.relay.start()
        for role in self.roles:
            role.begin()
        for number, operation in enumerate(self.story.operations):
            await asyncio.sleep(operation["after"])
            self.world.note("---", number, *(f"{k}={v}" for k, v in operation.items() if k != "after"))
            try:
                await self._do(operation)
            except Crash:
                pass  # the device is down by now
            if self.world.relay.up:
                self._look_at_sizes()
        await self._end()

    async def _do(self, operation: Operation) -> None:
        match operation["do"]:
            case "relay crash" | "relay stop" | "disk full" | "relay copy" | "relay restore":
                self._begin_fault(operation)
            case "act":
                role = self.roles[operation["role"]] if operation["role"] < len(self.roles) else None
                room = self.rooms.get(operation["room"])
                if role is not None and room is not None:
                    await role.act(operation["act"], room, Random(operation["chance"]))  # noqa: S311
            case _:
                await self._of_somebody(self.world.device(operation["who"]), operation)

    async def _of_somebody(self, device: Device, operation: Operation) -> None:
        what, room = operation["do"], self.rooms.get(operation.get("room", ""), b"")
        match what:
            case "come":
                device.come()
            case "go":
                await device.go()
            case "crash":
                device.points_left = operation["points"]
            case "profile copy":
                device.copy_profile()
            case "profile restore":
                device.put_profile_back()
            case "cut":
                for wire in self.world.network.wires_of(device.label):
                    wire.cut(client_hears=operation["client_hears"], relay_hears=operation["relay_hears"])
            case "unreachable":
                network = self.world.network
                network.unreachable.add(device.label)
                for wire in network.wires_of(device.label):
                    wire.cut(client_hears=0.1, relay_hears=20.0)
                self._after(operation["seconds"], lambda: network.unreachable.discard(device.label))
            case "create":
                device.do(lambda client: self._create(client, operation["room"]), "create")
            case "unpair":
                self.world.device(operation["device"]).is_unwanted = True
                device.do(lambda client: client.remove_device(operation["device"]), "unpair")
            case "hand on":
                device.do(lambda client: client.set_primary(operation["device"]), "hand on")
            case "draft" if room in device.rooms and device.client is not None:
                device.client.set_draft(room, operation["text"])
            case "join" if room in self.links:
                link = self.links[room]
                device.do(lambda client: client.join_link(link), "join")
            case _ if room and room in device.rooms:
                self._in_room(device, room, operation)

    def _in_room(self, device: Device, room: bytes, operation: Operation) -> None:
        phase = device.rooms[room].record.phase
        match operation["do"]:
            case "post":
                for _ in range(operation["count"]):
                    self._words += 1
                    if device.post(room, f"{device} says {self._words}") is None:
                        break
            case "invite" if phase is Phase.JOINED:
                device.do(
                    lambda client: client.invite(room, operation["guest"]), f"invite {operation['guest']}"
                )
            case "remove" if phase is Phase.JOINED:
                device.do(
                    lambda client: client.remove(room, operation["guest"]), f"remove {operation['guest']}"
                )
            case "title" if phase is Phase.JOINED:
                device.do(lambda client: client.set_title(room, operation["title"]), "title")
            case "link" if phase is Phase.JOINED:
                device.do(lambda client: self._link(client, room, operation["uses"]), "link")
            case "revoke" if phase is Phase.JOINED:
                device.do(lambda client: client.revoke_links(room, "all"), "revoke")
            case "role" if phase is Phase.JOINED:
                role = parse_role(operation["role"])
                device.do(lambda client: client.set_role(room, operation["guest"], role), "role")
            case "topic" if phase is Phase.JOINED:
                device.do(lambda client: client.set_topic(room, operation["topic"]), "topic")
            case "ban" if phase is Phase.JOINED:
                device.do(lambda client: client.ban(room, operation["guest"]), "ban")
            case "unban" if phase is Phase.JOINED:
                device.do(lambda client: client.unban(room, operation["guest"]), "unban")
            case "leave" if phase is Phase.JOINED:
                device.do(lambda client: client.leave(room), "leave")
            case "accept" if phase is Phase.INVITED:
                device.do(lambda client: client.accept(room), "accept")
            case "decline" if phase is Phase.INVITED:
                device.do(lambda client: client.decline(room), "decline")

    async def _create(self, client: Any, title: str) -> None:
        self.rooms[title] = (await client.create_room(title, suite=self.world.suite)).id

    async def _link(self, client: Client, room: bytes, uses: int) -> None:
        self.links[room] = (await client.make_link(room, seconds=86_400, uses=uses)).text

    def _begin_fault(self, operation: Operation) -> None:
        relay = self.world.relay
        if not relay.up:
            return
        match operation["do"]:
            case "relay crash":
                relay.crash()
                self._after(operation["seconds"], relay.start)
            case "relay stop":
                self._spawn(self._restart(operation["seconds"]))
            case "relay copy":
                relay.copy()
            case "relay restore":
                relay.crash()
                if relay.put_back():
                    self.world.checks.relay_restored()
                self._after(operation["seconds"], relay.start)
            case "disk full":
                writer = relay.writer
                writer.failing = True
                self._after(operation["seconds"], lambda: setattr(writer, "failing", False))

    async def _restart(self, seconds: float) -> None:
        await self.world.relay.stop()
        await asyncio.sleep(seconds)
        self.world.relay.start()

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            then()

        self._spawn(wait())

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    # --- the end ---

    def _look_at_sizes(self) -> None:
        for text in oversized(self.world):
            self.world.checks.fail("I7", text)

    async def _end(self) -> None:
        """Have all faults stop and everyone come; then everyone talks, and it all has to fit."""
        world = self.world
        await asyncio.sleep(2)
        if self._later:
            await asyncio.wait(tuple(self._later))
        world.note("--- faults stop")
        for role in self.roles:
            role.stop()
        world.network.unreachable.clear()
        for device in world.honest():
            device.points_left = -1
            device.come()
        await asyncio.sleep(SETTLE_SECONDS)
        for device in world.honest():
            if device.label in world.checks.lied_to and (
                device.client is None or not device.client.is_online
            ):
                continue
            if device.client is None or not device.client.is_online:
                world.checks.fail("I8", f"{device} is not online after {SETTLE_SECONDS} s without faults")
                return
            for room in tuple(device.rooms):
                if device.rooms[room].record.phase is Phase.INVITED:
                    device.do(partial(Client.accept, room=room), "accept at last")
        await asyncio.sleep(30)  # what the newcomers confirm may lose others, who come back
        for room in self.rooms.values():
            await self._everyone_talks(room)
        await asyncio.sleep(10)
        if any(getattr(role, "shows_late", False) for role in self.roles) and not world.checks.noticed():
            for room in self.rooms.values():  # those who spoke may not have seen the lie before they did
                await self._everyone_talks(room, "is still here")
        world.checks.judge_rooms()
        world.checks.judge_posts()
        judge_stores(world)
        world.checks.judge_history()
        world.checks.judge_restores()
        if self.story.devices:
            judge_devices(world)
        self._look_at_sizes()
        for role in self.roles:
            role.judge()

    async def _everyone_talks(self, room: bytes, says: str = "was here", *, again: bool = False) -> None:
        words: dict[str, str] = {}
        members = self.world.members(room)
        if self.world.checks.is_alone(members):
            return
        for device in members:
            word = f"{device} {says}"
            if device.post(room, word) is not None and device.label not in self.world.checks.lied_to:
                words[device.label] = word
        lacking: list[str] = []
        for _ in range(SETTLE_SECONDS):
            await asyncio.sleep(1)
            lacking, unread = self.world.checks.heard(room, words)
            if not lacking and not unread:
                return
            if not lacking and self.world.checks.restored and not again:
                # By these words somebody came back from a lost epoch, and was told that it lacks them.
                await self._everyone_talks(room, f"{says} again", again=True)
                return
        self.world.checks.fail("P1", f"after {SETTLE_SECONDS} s " + ", ".join(lacking or unread))


def play(story: Story) -> Outcome:
    """Run a story."""
    with world_of(story.seed, real=story.real, siblings=story.siblings) as world:
        world.has_primaries = story.devices
        try:
            run(world.loop, _Stage(world, story).run())
        except (Idle, Livelock, Violation) as error:
            world.checks.violations.append(f"{type(error).__name__}: {error}")
        alarms = [f"{device}: {event}" for device, event in world.checks.alarms]
        return Outcome(world.checks.violations, world.digest, world.trace, world.loop.time(), alarms)


def to_json(story: Story, fails: str = "") -> str:
    """Return a story as it is archived; `fails` is the invariant it is known to break."""
    head = {"seed": story.seed, "real": story.real, "roles": story.roles, "fails": fails}
    head |= {"siblings": True} if story.siblings else {}
    head |= {"devices": True} if story.devices else {}
    lines = ",\n  ".join(json.dumps(operation) for operation in story.operations)
    return json.dumps(head)[:-1] + f', "operations": [\n  {lines}\n]}}\n'


def from_json(text: str) -> tuple[Story, str]:
    """Read back what `to_json` gave."""
    told = json.loads(text)
    known = told.get("siblings", False), told.get("devices", False)
    return Story(told["seed"], told["operations"], told["roles"], told["real"], *known), told["fails"]


def tell(story: Story) -> str:
    """Return a story as a few lines to read."""
    lines = [f"seed {story.seed}" + (" (suite 1)" if story.real else "")]
    lines += [f"{each['role']}: {each['who']}" for each in story.roles]
    at = 0.0
    for operation in story.operations:
        at += operation["after"]
        rest = ", ".join(f"{k} {v}" for k, v in operation.items() if k not in ("after", "do", "who"))
        lines.append(
            f"{at:7.2f} s  {operation.get('who', 'relay' if 'seconds' in operation else 'role'):7}"
            f" {operation['do']}  {rest}".rstrip()
        )
    return "\n".join(lines)
