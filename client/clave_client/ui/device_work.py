"""What the subcommands about devices do. Knows no options."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import termios

import click
import msgspec

from clave_client.errors import ClientError
from clave_client.formats.json_values import dump
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui.device_text import code_lines, device_lines, left_text, offer_lines
from clave_client.ui.json_output import line_json
from clave_client.ui.link_text import qr_lines
from clave_client.ui.warnings import print_out, print_warning
from clave_client.values import DeviceInfo

__all__ = ["add_device", "list_devices", "remove_device", "set_primary"]

_PATIENCE_SECONDS = 20.0
"""How long a command waits for the next room to be done before it ends."""


async def list_devices(session: Session, *, as_json: bool) -> None:
    """Print the devices of the account."""
    devices = await session.ask(m.ListDevices())
    if as_json:
        for each in devices:
            print_out(msgspec.json.encode(dump(each)).decode())
        return
    for line in device_lines(devices):
        print_out(line)


async def add_device(session: Session, *, qr: bool, as_json: bool) -> int:
    """Show a code, then words; add the device if the user says that they are the same. Return the status."""
    info = await session.ask(m.OpenPairing())
    try:
        first, line, last = code_lines(info)
        if as_json:
            print_out(line_json(code=info.code, seconds=info.seconds))
        else:
            print_warning(first)
            for row in qr_lines(info.code) if qr else []:
                print_out(row)
            print_out(line)
            print_warning(last)
        offer = await session.ask(m.GetPairingOffer(pairing=info.pairing))
        if as_json:
            print_out(line_json(name=offer.name, words=list(offer.words)))
        else:
            for row in offer_lines(offer):
                print_warning(row)
        same = await _confirmed("do both devices show these words?")
        added = await session.ask(m.FinishPairing(pairing=info.pairing, same=same))
    except BaseException:
        with contextlib.suppress(ClientError):  # the first error says more
            await asyncio.shield(session.ask(m.StopPairing(pairing=info.pairing)))
        raise
    if added is None:
        print_warning("nothing was added; somebody may have seen the code: make a new one where nobody looks")
        return 1
    _print_device(added, f"{added.name} is your device now", as_json=as_json)
    await _wait(session, "added to")
    return 0


async def remove_device(session: Session, name: str, key: str, *, as_json: bool) -> None:
    """Remove a device, and wait as long as rooms are being done."""
    removed = await session.ask(m.RemoveDevice(name=name, key=key))
    _print_device(removed, f"{removed.name} is removed: the relay refuses it from now on", as_json=as_json)
    await _wait(session, "removed from")


async def set_primary(session: Session, name: str, key: str, *, as_json: bool) -> None:
    """Hand the account's key to another device."""
    heir = await session.ask(m.SetPrimary(name=name, key=key))
    text = f"{heir.name} is your primary device now; backups made here before have the key still"
    _print_device(heir, text, as_json=as_json)


def _print_device(device: DeviceInfo, text: str, *, as_json: bool) -> None:
    print_out(msgspec.json.encode(dump(device)).decode() if as_json else text)


async def _wait(session: Session, what: str) -> None:
    """Wait as long as one room after the other is done, and say what is left."""
    left, first = await session.ask(m.WaitDevices(wait=0.0)), True
    while left:
        if first:
            print_warning(f"it is being {what} your rooms: {left} to go")
            first = False
        before, left = left, await session.ask(m.WaitDevices(wait=_PATIENCE_SECONDS))
        if left >= before:
            break
    if text := left_text(left):
        print_warning(text)


async def _confirmed(question: str) -> bool:
    """Ask, while the connection goes on, until somebody says yes or no; the end of the input is a no.

    What was typed at a terminal before it asks is no answer.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):  # no terminal
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    while True:
        click.echo(f"{question} [yes/no] ", nl=False, err=True)
        await _readable()
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if line.strip().lower() in ("yes", "y"):
            return True
        if not line or line.strip().lower() in ("no", "n"):
            return False


async def _readable() -> None:
    """Wait until a line can be read, in a way that Ctrl-C ends."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(sys.stdin.fileno(), ready.set)
    except (OSError, ValueError, AttributeError):
        return  # a file, or nothing: it can be read at once
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
