"""What `clave info` and `clave rooms` print. Knows no options."""

from __future__ import annotations

import msgspec

from clave_client.errors import UsageError
from clave_client.formats.json_values import dump
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import AccountDevice
from clave_client.ui.display import plain, room_info_lines, room_line
from clave_client.ui.hints import notice_text
from clave_client.ui.json_output import details_json, info_json, room_json
from clave_client.ui.message_lines import copied_text, detail_lines
from clave_client.ui.warnings import print_out
from clave_wire.text import sanitize

__all__ = ["print_account", "print_info", "print_message", "print_rooms"]


async def print_info(session: Session, room: str | None, *, as_json: bool) -> None:
    """Print the summary of `room`, or this profile's and that of every room."""
    profile = await session.ask(m.GetProfile())
    rooms = [room] if room is not None else [each.id.hex() for each in await session.ask(m.ListRooms())]
    found = [await session.ask(m.GetRoomInfo(room=each)) for each in rooms]
    if as_json:
        print_out(info_json(profile, found))
        return
    lines: list[str] = []
    if room is None:
        lines += [f"{profile.name}: {profile.fingerprint}", f"relay: {profile.relay}"]
        lines += [f"relay fingerprint {profile.relay_fingerprint}"]
    for each in found:
        lines += ["", *room_info_lines(each)]
        mismatches = await session.ask(m.ListMismatches(room=each.id.hex()))
        lines += [notice_text(notice) for notice in mismatches]
    if room is None:
        lines += [line for reason in profile.unusable for line in ("", reason)]
    print_out("\n".join(lines).lstrip("\n"))


async def print_message(session: Session, room: str, message: str, *, bare: bool, as_json: bool) -> None:
    """Print all there is to know of a message, or with `bare` only its text."""
    found = await session.ask(m.FindRoom(room=room))
    details = await session.ask(m.GetMessage(room=found.id.hex(), message=message))
    if as_json:
        print_out(details_json(details, found.title))
        return
    if bare:
        print_out(copied_text(details.message))
        return
    profile = await session.ask(m.GetProfile())
    print_out("\n".join(plain(line) for line in detail_lines(details, me=profile.account)))


async def print_account(session: Session, *, as_json: bool) -> None:
    """Print who this is, its devices and its relay."""
    account = await session.ask(m.GetAccount())
    if as_json:
        print_out(msgspec.json.encode(dump(account)).decode())
        return
    lines = [f"name         {account.name}", f"fingerprint  {account.fingerprint}"]
    lines += [f"device       {sanitize(device.name)}{_device_words(device)}" for device in account.devices]
    away = "" if account.is_online else ", away: its devices are not known"
    lines.append(f"relay        {account.relay}{away}")
    lines.append(f"             {account.relay_fingerprint}")
    if account.other_owner:
        lines.append(f"the relay gave your name to another key, {account.other_owner}; ask its operator")
    print_out("\n".join(lines))


def _device_words(device: AccountDevice) -> str:
    words = [*(["this one"] if device.own else []), *(["primary"] if device.primary else [])]
    return f" ({', '.join(words)})" if words else ""


async def print_rooms(session: Session, *, archived: bool, as_json: bool) -> None:
    """Print a line for each room, with how much is new there; with `archived` also for archived ones."""
    rooms = await session.ask(m.ListRooms())
    if not rooms and not as_json:
        raise UsageError("you are in no room; clave chat, then /new TITLE opens one")
    for each in rooms:
        if archived or not each.archived:
            print_out(room_json(each) if as_json else room_line(each))
