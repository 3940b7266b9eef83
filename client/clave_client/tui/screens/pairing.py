"""The screen that adds a device: a code for it, then the words that both have to show."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Button, Static

from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.rpc.session import STALL_SECONDS
from clave_client.tui.keymap import bindings
from clave_client.tui.screens.side import SideScreen
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.widgets.qr_code import QrCode
from clave_client.ui.device_text import code_lines, offer_lines
from clave_client.values import DeviceOffer, PairingInfo

__all__ = ["PairingScreen"]


class PairingScreen(SideScreen[str | None]):
    """Makes a code when it opens; closes with the name of the added device.

    Closed before, it ends the pairing. A yes is about the pairing whose words were shown: another code, made
    elsewhere, ends this one.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["side.tcss", "pairing.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = bindings("pairing")
    HEADING = "Add a device"

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__(talk)
        self._text, self._picture = Static(Content("making a code ...")), QrCode()
        self._answers = Horizontal(
            Button(Content("The same"), "primary", action="screen.same", compact=True),
            Button(Content("They differ"), action="screen.differ", compact=True),
            id="answers",
        )
        self._pairing = ""
        self._offer: DeviceOffer | None = None

    def compose_body(self) -> ComposeResult:
        """Yield the code or the words, and below them the answers."""
        with VerticalScroll(id="body"):
            yield self._text
            yield self._picture
        yield self._answers

    def on_mount(self) -> None:
        """Make a code."""
        super().on_mount()
        self._answers.display = False
        self.body.focus()
        self.run_worker(self._pair())

    async def _pair(self) -> None:
        if not await self.do(m.OpenPairing(), self._show_code):
            self._text.update("")
            return
        if await self.do(m.GetPairingOffer(pairing=self._pairing), self._show_offer):
            return
        self._pairing = ""
        self._text.update("")
        self._picture.show("")

    def _show_code(self, info: PairingInfo) -> None:
        self._pairing = info.pairing
        self._text.update(Content("\n".join(code_lines(info))))
        self._picture.show(info.code)

    def _show_offer(self, offer: DeviceOffer) -> None:
        self._offer = offer
        first, words = offer_lines(offer)
        question = "Does it show the same? If not, somebody else has the code: add nothing."
        self._text.update(Content.assemble(first, "\n\n", (words, "bold"), "\n\n", question))
        self._picture.show("")
        self._answers.display = True
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer an answer once there is a question."""
        return action not in ("same", "differ") or self._offer is not None

    def action_same(self) -> None:
        """Add the device whose words were shown."""
        self._answer(same=True)

    def action_differ(self) -> None:
        """Add nothing."""
        self._answer(same=False)

    def _answer(self, *, same: bool) -> None:
        """Finish the pairing, once; from then on closing the screen does not end it."""
        if self._offer is None:
            return
        offer, self._offer, self._pairing = self._offer, None, ""
        self._answers.display = False
        self._text.update(Content("one moment ..."))
        self.refresh_bindings()
        self.begin(self._finish(offer, same=same))

    async def _finish(self, offer: DeviceOffer, *, same: bool) -> None:
        done = await self.do(m.FinishPairing(pairing=offer.pairing, same=same))
        self._text.update("")
        if done and same:
            self.dismiss(offer.name)
        elif done:
            self.say("Nothing was added. Make sure that nobody else sees the next code.")

    async def on_unmount(self) -> None:
        """End a pairing that is not finished."""
        if self._pairing:
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(STALL_SECONDS):
                    await self.talk.session.ask(m.StopPairing(pairing=self._pairing))
