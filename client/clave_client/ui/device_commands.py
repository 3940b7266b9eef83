"""The chat commands about the devices of the account. Knows the conversation."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from clave_client.errors import ClientError, UsageError
from clave_client.rpc import methods as m
from clave_client.ui.command import Command
from clave_client.ui.conversation import Conversation
from clave_client.ui.device_text import code_lines, device_lines, offer_lines
from clave_client.ui.display import note
from clave_client.ui.link_text import qr_lines

__all__ = ["DEVICE_COMMANDS"]

_USAGE: Final = "/device add, yes, no, remove NAME or primary NAME"


async def _devices(talk: Conversation, _: str) -> None:
    for line in device_lines(await talk.session.ask(m.ListDevices())):
        talk.show(note(line))


async def _device(talk: Conversation, words: str) -> None:
    what, _, name = words.partition(" ")
    name, key = name.strip(), secrets.token_hex(16)
    if (what in ("remove", "primary")) is not bool(name):
        raise UsageError(f"say what to do: {_USAGE}")
    match what:
        case "add":
            info = await talk.session.ask(m.OpenPairing())
            first, line, last = code_lines(info)
            talk.show(note(first))
            for row in qr_lines(info.code):
                talk.show([("", row)])
            talk.show([("", line)])
            talk.show(note(last))
            if talk.offer is not None:
                talk.offer.cancel()
            talk.offer = asyncio.create_task(_show_offer(talk, info.pairing))
        case "yes":
            added = await talk.session.ask(m.FinishPairing(pairing=_shown(talk), same=True))
            if added is not None:
                talk.show(note(f"{added.name} is your device now, and is being added to your rooms"))
        case "no":
            await talk.session.ask(m.FinishPairing(pairing=_shown(talk), same=False))
            talk.show(note("nothing was added"))
        case "remove":
            removed = await talk.session.ask(m.RemoveDevice(name=name, key=key))
            talk.show(note(f"{removed.name} is removed, and is being taken out of your rooms"))
        case "primary":
            heir = await talk.session.ask(m.SetPrimary(name=name, key=key))
            talk.show(note(f"{heir.name} has the account's key now; backups made here before have it still"))
        case _:
            raise UsageError(f"say what to do: {_USAGE}")


async def _show_offer(talk: Conversation, pairing: str) -> str:
    """Show the words of the new device that has this window's code; return the pairing, "" if it ended."""
    try:
        offer = await talk.session.ask(m.GetPairingOffer(pairing=pairing))
    except ClientError as error:
        talk.show(note(str(error), "alarm"))
        return ""
    for row in offer_lines(offer):
        talk.show(note(row))
    talk.show(note("say /device yes if it does, else /device no"))
    return offer.pairing


def _shown(talk: Conversation) -> str:
    """Return the pairing whose words this window has shown last. Raises `UsageError`."""
    offer = talk.offer
    if offer is None or not offer.done() or offer.cancelled() or not offer.result():
        raise UsageError("this window has shown no words of a new device; begin with /device add")
    return offer.result()


DEVICE_COMMANDS: Final = {
    "devices": Command("/devices", "list your devices", "", _devices),
    "device": Command(
        "/device add|remove NAME|primary NAME", "add or remove a device, or hand its role on", "", _device
    ),
}
"""The commands by name, in the order of the help."""
