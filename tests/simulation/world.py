"""One simulated world: a relay, a network and people's devices, all from one seed. Knows no story."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import structlog

from clave_client import client_setup
from clave_client.net import transport
from clave_client.people import key_lookup
from clave_client.rooms import policy
from clave_client.store import account
from clave_client.sync import key_packages
from clave_client.values import Phase
from clave_crypto.identity import AccountKey
from clave_crypto.mls import MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 as SUITE_1
from clave_crypto.mls.suites import CipherSuite
from clave_server.rooms import sequencer
from clave_wire import connection
from clave_wire.connection import VERSIONS
from clave_wire.framing import FrameBuffer, to_relay
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import ClaimKeyPackages, Submit
from simulation.attacks import phantoms
from simulation.checks import Checks
from simulation.clock import VirtualLoop, VirtualTime
from simulation.device import Device, SimAccount
from simulation.disk import Crash, Device_of, SimStore
from simulation.fast_suite import FAST, fast_suite_known
from simulation.network import Network, Timing, Wire
from simulation.randomness import clave_modules, dice, seeded
from simulation.relay_host import CERTIFICATE, RelayHost, ordered_batch

__all__ = ["World", "world_of"]

_KEY_PACKAGES = 2, 4
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (a folder of its own is made there)


class World:
    """What is there. `trace` tells all that happened, in order; two runs of one seed have the same."""

    def __init__(self, seed: int | str, loop: VirtualLoop, folder: Path, suite: CipherSuite) -> None:
        self.seed = seed
        self.loop = loop
        self.time = VirtualTime(loop)
        self.folder = folder
        self.suite = suite
        self.people_dice = dice(seed, "people")
        self.trace: list[str] = []
        self.stopped = asyncio.Event()
        self.network = Network(dice(seed, "network"), Timing(), CERTIFICATE, self.note)
        self.network.prepare = self._watch
        self.relay = RelayHost(folder, self.network, dice(seed, "disk"))
        self.devices: dict[str, Device] = {}
        self.checks = Checks(self)
        self.watchers: list[Any] = []
        self.possessing: list[Any] = []
        self.siblings = False
        self.has_primaries = False
        """Whether only the first device of each account has its key."""

        self._accounts: dict[str, AccountKey] = {}

    def note(self, what: str, *details: Any) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.loop.time():10.4f} {what} {' '.join(map(str, details))}")

    @property
    def digest(self) -> str:
        """A hash of the trace."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]

    def stop(self) -> None:
        """Have the story end here."""
        self.stopped.set()

    def defect(self, what: str, error: BaseException | None) -> None:
        """Take an exception that nobody expected."""
        self.checks.fail("defect", f"{what}: {error!r}")

    def exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Be the loop's exception handler."""
        error = context.get("exception")
        if not isinstance(error, Crash):
            self.defect(str(context.get("message")), error)

    def device(self, label: str) -> Device:
        """Return the device called `label`: a name, and a number if it is not the first of its account."""
        if label not in self.devices:
            name = label.rstrip("0123456789")
            key = self._accounts.setdefault(name, AccountKey.generate())
            device = self.devices[label] = Device(self, name, label, key)
            for possess in self.possessing:
                possess(device)
        return self.devices[label]

    def honest(self) -> list[Device]:
        """Return the devices of honest people, without those that their account has removed."""
        return [device for device in self.devices.values() if device.is_honest and not device.is_removed]

    def members(self, room: bytes) -> list[Device]:
        """Return the honest devices that are in a room and on.

        Whoever cannot follow does not see that it is removed: the others' word counts, and what it was told
        when the relay lost the removal.
        """
        here = [
            device
            for device in self.honest()
            if room in device.rooms
            and device.rooms[room].record.phase is Phase.JOINED
            and not self.checks.knows_to_be_out(device, room)
        ]
        follow = [device.rooms[room].roster for device in here if not device.rooms[room].cannot_follow]
        return [
            device
            for device in here
            if not device.rooms[room].cannot_follow or not follow or any(r.has(device.public) for r in follow)
        ]

    def _watch(self, wire: Wire) -> None:
        """Look at all that a client submits, before anyone changes it."""
        buffer = FrameBuffer(MAX_FRAME)

        def see(data: bytes) -> bytes:
            for body in buffer.cut(data):
                message = to_relay.decode(body)
                if isinstance(message, Submit):
                    self.checks.submitted(wire.host, message.payload)
            return data

        wire.client.change = see
        for watcher in self.watchers:
            watcher(wire)


def _collect() -> None:
    """Collect what is left of the world before, as open files hang on it."""
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()  # what was there before the first world is not looked at again


async def _none_revoked(*_: object) -> set[bytes]:
    return set()


@contextmanager
def world_of(seed: int | str, *, real: bool = False, siblings: bool = False) -> Iterator[World]:
    """Make a world, with everything of the program that looks outside turned towards it.

    With `real` the cipher suite is suite 1, else one that is fast and not secure. Without `siblings` devices
    ask the relay neither for others nor for removed ones: that would use up dice of archived stories.
    """
    suite = SUITE_1 if real else FAST
    loop = VirtualLoop()
    place = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    base = Path(tempfile.gettempdir() if place is None else place) / "clave-simulation"
    base.mkdir(mode=0o700, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=base))
    with ExitStack() as stack:
        gc.disable()  # when it runs is nothing that a seed decides
        stack.callback(gc.enable)
        _collect()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(Device_of.clear)
        stack.callback(phantoms.clear)
        stack.enter_context(fast_suite_known())
        stack.enter_context(seeded(seed, suite))
        time = VirtualTime(loop)
        for module in clave_modules():
            if getattr(getattr(module, "time", None), "__name__", "") == "time":
                stack.enter_context(mock.patch.object(module, "time", time))
        for owner, name, value in (
            (key_packages, "OFFERED", (suite,)),
            (sequencer, "WriteBatch", ordered_batch),
            (client_setup, "Store", SimStore),
            (client_setup, "Account", SimAccount),
            (policy, "_identity", lru_cache(policy._identity)),
            (transport, "SILENCE_SECONDS", 1e6),  # pings would use up dice of archived stories
            (account, "POOL_LOW", _KEY_PACKAGES[0]),
            (account, "POOL_FULL", _KEY_PACKAGES[1]),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        if not siblings:
            stack.enter_context(mock.patch.object(key_lookup, "_find_revoked", _none_revoked))
            # A frame's length decides about its way: that of a claim without a device is as it was.
            fields = {**vars(connection)["_FIELDS_BEFORE"], ClaimKeyPackages: (max(VERSIONS) + 1, 3)}
            stack.enter_context(mock.patch.object(connection, "_FIELDS_BEFORE", fields))
        former = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        stack.callback(lambda: structlog.configure(**former))
        world = World(seed, loop, folder, suite)
        world.siblings = siblings
        loop.set_exception_handler(world.exception)
        world.checks.watch_keys(suite, stack, mock.patch.object)
        yield world
