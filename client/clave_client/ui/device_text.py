"""Words for the devices of one's account. Knows no terminal."""

from __future__ import annotations

import datetime as dt

from clave_client.values import DeviceInfo, DeviceOffer, PairingInfo

__all__ = ["code_lines", "device_lines", "joined_text", "left_text", "offer_lines"]


def code_lines(info: PairingInfo) -> list[str]:
    """Return the lines for a new code, the command with it among them."""
    return [
        f"on the new device, within {info.seconds // 60} minutes:",
        f"clave device join {info.code}",
        "let nobody else see it; then compare the words that both devices show",
    ]


def offer_lines(offer: DeviceOffer) -> list[str]:
    """Return the lines that show the words of a new device."""
    return [f"{offer.name} is there; it has to show these words, too:", f"    {' '.join(offer.words)}"]


def device_lines(devices: list[DeviceInfo]) -> list[str]:
    """Return a line for each device."""
    width = max(len(each.name) for each in devices)
    return [f"{each.name:<{width}}  {_what(each)}" for each in devices]


def _what(device: DeviceInfo) -> str:
    parts = [
        *(["this one"] if device.is_own else []),
        *(["primary"] if device.is_primary else []),
        "online" if device.is_online else "away",
        *([f"since {_day(device.since)}"] if device.since else []),
        "in 1 room" if device.rooms == 1 else f"in {device.rooms} rooms",
    ]
    return ", ".join(parts)


def joined_text(name: str, device_name: str, rooms: int) -> str:
    """Return what a new device is told once it is one."""
    where = "in 1 room" if rooms == 1 else f"in {rooms} rooms"
    more = "" if rooms else "; its rooms come once clave is open on both"
    return f"this is {device_name}, a device of {name} now, {where}{more}"


def left_text(left: int) -> str:
    """Return what is said of rooms in which something is left to be done, if there are any."""
    if not left:
        return ""
    rooms = "1 room" if left == 1 else f"{left} rooms"
    return f"{rooms} to go: that goes on whenever clave is open on one of your devices"


def _day(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")
