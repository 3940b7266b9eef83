"""A person's device: a real `Client` on a real store, which can crash at any point. Knows no story."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clave_client import events
from clave_client.client import Client
from clave_client.errors import ClientError, RelayError, RelayUnreachable
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import OnMessages, RelayTransport
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.sync.room_sync import RoomSync
from clave_client.values import Phase
from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.keys import Secret
from clave_wire.messages import ToClient
from simulation.device_checks import note_removed
from simulation.disk import Crash, Device_of, SimStore
from simulation.network import End

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Device", "SimAccount"]

_KEY = Secret(b"k" * 32)


class _Profile:
    """What `Client` needs of a profile."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.store_path = path

    @property
    def has_store(self) -> bool:
        return self.store_path.exists()

    def take_key(self) -> Secret:
        return _KEY


class SimAccount(Account):
    """An account whose devices were given their keys before the story begins."""

    @classmethod
    def load_or_create(cls, store: Store, name: str, device_name: str = "") -> Account:
        device = cast(SimStore, store).device
        if store.get("identity") is None:
            key = DeviceKey.generate()
            with store.transaction():
                store.put("identity", device.account.certify(name, device.label, key.public))
                if not device.world.has_primaries or device.label == name:
                    store.put("account_secret", device.account.secret)
                store.put("device_secret", key.secret)
        return super().load_or_create(store, name)


class Device:
    """One device of an honest person, or of an insider.

    `wanted` says whether its person wants it on. `shown` is what went onto its screen, in order, as
    (room, seq, message id, text).
    """

    def __init__(self, world: World, name: str, label: str, account: AccountKey) -> None:
        self.world = world
        self.name = name
        self.label = label
        self.account = account
        self.path = world.folder / f"{label}.db"
        self.wanted = False
        self.client: Client | None = None
        self.public = b""
        self.shown: list[tuple[bytes, int, bytes, str]] = []
        self.happened: list[events.Event] = []
        self.points_left = -1
        self.is_honest = True
        self.is_unwanted = self.is_removed = False
        """Whether its person wants to remove it; whether it was told that it is removed."""

        self.restored = False
        """Whether its profile was put back from a backup."""

        self.store: SimStore | None = None
        self.never_shown: set[bytes] = set()
        """Messages that were marked as shown just before a crash: at most once is what is promised."""

        self._marking = b""
        self.hears: Callable[[list[ToClient]], list[ToClient]] = lambda messages: messages
        """What its client gets of what the relay says: an insider's hears otherwise."""

        self._copy: list[tuple[Path, bytes]] = []
        self._end: End | None = None
        self._ends: list[End] = []
        self._alive = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._life: asyncio.Task[None] | None = None
        self._main: asyncio.Task[None] | None = None
        self._draft: list[Callable[[], None]] = []
        Device_of[self.path] = self

    def __repr__(self) -> str:
        return self.label

    # --- its process ---

    @property
    def session(self) -> RoomSync:
        """The session that runs; `client` has to be there."""
        assert self.client is not None
        return self.client.sync

    @property
    def rooms(self) -> dict[bytes, Any]:
        """The rooms it has open now."""
        return {} if self.client is None else self.session.rooms

    def come(self) -> None:
        """Have the process run, and start again whenever it ends, until `go`."""
        self.wanted = True
        if self._life is None or self._life.done():
            self._life = asyncio.get_running_loop().create_task(self._live())

    async def _live(self) -> None:
        while self.wanted:
            self._main = asyncio.get_running_loop().create_task(self._run())
            await asyncio.wait([self._main])
            error = None if self._main.cancelled() else self._main.exception()
            if error is not None and not isinstance(error, Crash):
                self.world.defect(f"{self.label} failed", error)
                self.crash("a defect")
            if self.wanted:
                await asyncio.sleep(self.world.people_dice.uniform(0.2, 2.0))

    async def _run(self) -> None:
        """Be one process, from its start to its end."""
        life = self._alive
        client = Client(
            cast(Any, _Profile(self.name, self.path)),
            f"{self.label}:7878",
            clock=self.world.time.time,
            connect=self._connect,
        )
        client.open()
        if not self.world.siblings:
            client.sync.devices.siblings.is_asked = True
            vars(client.sync.devices).update(connected=lambda: None, disconnected=lambda: None)
        own = client.sync.account.verified.account
        client.sync.devices.settings.open_room = (
            (lambda: client.create_room("own", suite=self.world.suite, direct=[own]))
            if self.world.has_primaries
            else None
        )
        self.client = client
        self.public = self.session.account.device.public
        self.world.note("starts", self.label)
        try:
            try:
                await client.connect()
            except RelayError as error:
                self.world.note("not connected", self.label, str(error))
                note_removed(self, error)
                await client.close()
                self._gone()
                return
            self._show_unseen(client)
            async for event in client.events():
                self.take(event)
        except ClientError as error:
            if self._alive == life:
                self.world.note("ended", self.label, str(error))
                if not note_removed(self, error):
                    self.world.checks.ended(self, error)
                self.crash("its session failed")

    async def _connect(
        self, address: RelayAddress, trust: CertificateTrust, on_messages: OnMessages
    ) -> RelayTransport:
        """Connect through the simulated network, without TLS."""
        try:
            end, protocol = await self.world.network.connect(
                self.label, lambda: RelayTransport(address, self.guarded(on_messages))
            )
        except OSError:
            raise RelayUnreachable(f"no relay at {address}") from None
        link = cast(RelayTransport, protocol)
        self.take_end(end)
        try:
            link.check_certificate(end, trust, vouched=False)
        except ClientError:
            link.abort()
            raise
        return link

    def take(self, event: events.Event) -> None:
        """Do what a program does with an event: show it."""
        self.happened.append(event)
        self.world.checks.happened(self, event)
        if isinstance(event, events.Message) and self.client is not None:
            self.point("before show")
            self._marking = event.id
            if self.client.mark_shown(event.room, event.seq):
                self._show(event.room, event.seq, event.sender.account, event.id, event.text)
            self._marking = b""

    def _show_unseen(self, client: Client) -> None:
        for room in tuple(client.rooms):
            for line in client.unshown(room, 1_000_000):
                self.point("before show")
                self._marking = line.id
                if client.mark_shown(room, line.seq):
                    self._show(room, line.seq, line.account, line.id, line.text)
                self._marking = b""

    def _show(self, room: bytes, seq: int, account: bytes, message: bytes, text: str) -> None:
        self.point("mark, not shown")
        self.shown.append((room, seq, message, text))
        self.world.note("shows", self.label, seq, text)
        self.world.checks.shows(self, room, account, message, text)
        self.point("shown")

    async def go(self) -> None:
        """Close the program as a person does."""
        self.wanted = False
        client = self.client
        if client is not None:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self.client is client:
                try:
                    await client.close()
                except Crash:
                    pass
                except ClientError as error:
                    self.world.defect(f"{self.label} cannot close", error)
                    self.crash("closing")
        self._gone()
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        if self._main is not None:  # the last one, which the life can have begun meanwhile
            self._main.cancel()
            await asyncio.wait([self._main])
            self._gone()
        self.world.note("left", self.label)

    def _gone(self) -> None:
        self.client = None
        self._alive += 1

    def crash(self, where: str = "now") -> None:
        """End the process as `kill -9` does, in the middle of whatever it does."""
        client = self.client
        if client is None:
            return
        self.world.note("crashes", self.label, where)
        self.points_left = -1
        self.never_shown.add(self._marking)
        self._marking = b""
        self._gone()
        self._draft.clear()
        cast(SimStore, client.sync.store).crash()
        for end in self._ends:
            end.before_write = end.after_write = None
            end.dead = end.lost = end.closing = True
            end.other.hear_of_reset(0.01)
        self._ends.clear()
        session, current = client.sync, asyncio.current_task()
        session._inbox.clear()
        for task in (*session.tasks, session.connection.task, *self._tasks, self._main):
            if task is not None and task is not current:
                task.cancel()

    def copy_profile(self) -> None:
        """Copy the profile's file, of what is on disk now."""
        if self.store is not None and not self.store.dead:
            self._copy = self.store.copy()

    def put_profile_back(self) -> None:
        """End the process, and have the copy for a profile when it comes back."""
        if self._copy and self.store is not None:
            self.crash("its profile is put back")
            self.store.crash()
            for each in self.path.parent.glob(self.path.name + "-*"):
                each.unlink()
            for path, data in self._copy:
                path.write_bytes(data)
            self.restored = True

    # --- points at which it may crash ---

    def point(self, where: str) -> None:
        """Crash here, if this is the point that was chosen."""
        if self.points_left > 0:
            self.points_left -= 1
            if self.points_left == 0:
                self.crash(where)
                raise Crash

    def take_end(self, end: End) -> None:
        """Watch what this device sends."""
        end.before_write, end.after_write = (lambda: self.point("before send")), lambda: self.point("sent")
        self._ends.append(end)
        self._ends = [each for each in self._ends if not each.lost]

    def guarded(self, on_messages: Callable[[list[ToClient]], None]) -> Callable[[list[ToClient]], None]:
        """Return what takes messages for the process of now, not for one that came after it."""
        life = self._alive

        def take(messages: list[ToClient]) -> None:
            if self._alive == life:
                on_messages(self.hears(messages))

        return take

    # --- what the store tells ---

    def enqueued(self, room: bytes, message: bytes, text: str) -> None:
        self._draft.append(lambda: self.world.checks.enqueued(self, room, message, text))

    def let_in(self, room: bytes, after: int) -> None:
        self._draft.append(lambda: self.world.checks.let_in(self, room, after))

    def sealed(self, payload: bytes) -> None:
        self._draft.append(lambda: self.world.checks.sealed(self, payload))

    def kept(self, room: bytes, line: HistoryLine) -> None:
        self._draft.append(lambda: self.world.checks.kept(self, room, line))

    def rolled_back(self) -> None:
        """Forget what a transaction did that came to nothing."""
        self._draft.clear()

    def committed(self) -> None:
        """Hand on what a transaction did, now that it is on disk."""
        draft, self._draft = self._draft, []
        if self.client is not None:
            for each in draft:
                each()
            self.world.checks.step(self)

    # --- what its person does ---

    def do(self, work: Callable[[Client], Coroutine[Any, Any, Any]], what: str) -> None:
        """Begin something; what fails is noted, as a person would read it."""
        client = self.client
        if client is None or not client.is_online:
            self.world.note("offline", self.label, what)
            return

        async def run() -> None:
            try:
                await work(client)
                self.world.note("did", self.label, what)
            except Crash:
                pass
            except ClientError as error:
                self.world.note("could not", self.label, what, str(error))
            except Exception as error:  # noqa: BLE001  (a defect: the story ends with it)
                self.world.defect(f"{self.label}: {what}", error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def post(self, room: bytes, text: str) -> bytes | None:
        """Write a message, online or not; return its id."""
        if self.client is None or room not in self.client.rooms:
            return None
        if self.client.rooms[room].phase is not Phase.JOINED:
            return None
        try:
            message = self.client.post(room, text)
        except Crash:
            return None
        except ClientError as error:
            self.world.note("could not", self.label, f"post {text}", str(error))
            return None
        self.world.note("posts", self.label, text)
        return message
