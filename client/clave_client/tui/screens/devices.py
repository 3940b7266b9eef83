"""The screen with the devices of one's account."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.pairing import PairingScreen
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.device_text import device_lines
from clave_client.values import DeviceInfo

__all__ = ["DevicesScreen"]

_YES: Final = "yes"


class DevicesScreen(SideScreen[None]):
    """The devices; one can be added, and the highlighted one removed or made the primary one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("devices")
    HEADING = "Your devices"

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__(talk)
        self._list = OptionList(id="body")
        self._devices: list[DeviceInfo] = []

    def compose_body(self) -> ComposeResult:
        """Yield the devices."""
        yield self._list

    def on_mount(self) -> None:
        """Begin with the list."""
        super().on_mount()
        self._list.focus()
        self.run_worker(self._show())

    async def _show(self) -> None:
        devices = await self.ask(m.ListDevices())
        if devices:
            place = self._list.highlighted or 0
            self._devices = devices
            self._list.set_options(Option(Content(line)) for line in device_lines(devices))
            self._list.highlighted = min(place, len(devices) - 1)

    def _chosen(self) -> DeviceInfo | None:
        place = self._list.highlighted
        return None if place is None else self._devices[place]

    async def _is_sure(self, question: str, yes: str) -> bool:
        answers = {"": "no, change nothing", _YES: yes}
        return await self.app.push_screen_wait(ChoiceScreen(question, answers)) == _YES

    # --- changes ---

    def action_add(self) -> None:
        """Add a device, on a screen of its own."""
        self.begin(self._add())

    async def _add(self) -> None:
        added = await self.app.push_screen_wait(PairingScreen(self.talk))
        await self._show()
        if added:
            self.say(f"{added} is your device now, and is being added to your rooms.")

    def action_remove(self) -> None:
        """Remove the highlighted device, after a question."""
        device = self._chosen()
        if device is not None:
            self.begin(self._remove(device))

    async def _remove(self, device: DeviceInfo) -> None:
        name = device.name
        question = (
            f"Remove {name}? It is taken out of all your rooms for good, and reads nothing that is said"
            " later. What it has by then stays on it."
        )
        if await self._is_sure(question, f"yes, remove {name}") and await self.do(
            m.RemoveDevice(name=name, key=new_key())
        ):
            await self._show()
            self.say(f"{name} is removed, and is being taken out of your rooms.")

    def action_make_primary(self) -> None:
        """Give the highlighted device the account's key, after a question."""
        device = self._chosen()
        if device is not None:
            self.begin(self._make_primary(device))

    async def _make_primary(self, device: DeviceInfo) -> None:
        name = device.name
        question = (
            f"Make {name} the primary device? It gets the account's key: only it adds and removes devices"
            " from then on, and this one does not."
        )
        if await self._is_sure(question, f"yes, make {name} primary") and await self.do(
            m.SetPrimary(name=name, key=new_key())
        ):
            await self._show()
            self.say(f"{name} has the account's key now; backups made here before have it still.")
