"""The methods of the RPC about the account and its profile: their parameters and results."""

from __future__ import annotations

from clave_client.rpc.method_base import Method, Seconds
from clave_client.rpc.values import AccountInfo, Health, ProfileInfo

__all__ = [
    "AddTypedLine",
    "CheckHealth",
    "DeleteAccount",
    "GetAccount",
    "GetProfile",
    "GetTypedLines",
    "SetLastRoom",
    "WaitFlushed",
    "WaitSettled",
]


class GetAccount(Method[AccountInfo], frozen=True, kw_only=True):
    """Return who this is, with the devices that the relay knows; without a connection only this one."""

    NAME = "account.get"
    RESULT = AccountInfo


class DeleteAccount(Method[list[str]], frozen=True, kw_only=True):
    """Leave all rooms, each within `wait` seconds, and have the relay delete the account and free its name.

    Returns the titles of rooms that could not be left: their members have to remove this device. The profile
    is of no use then.
    """

    NAME = "account.delete"
    RESULT = list[str]

    wait: Seconds = 20.0


class CheckHealth(Method[Health], frozen=True, kw_only=True):
    """Connect to the relay once more, without a login, and return what of this profile's state matters."""

    NAME = "profile.check"
    RESULT = Health


class GetProfile(Method[ProfileInfo], frozen=True, kw_only=True):
    """Return who this is, and its relay."""

    NAME = "profile.get"
    RESULT = ProfileInfo


class SetLastRoom(Method[None], frozen=True, kw_only=True):
    """Note the room to begin in the next time; "" for none."""

    NAME = "profile.set_last_room"

    room: str


class GetTypedLines(Method[list[str]], frozen=True, kw_only=True):
    """Return the lines typed at the prompt, oldest first."""

    NAME = "profile.typed_lines"
    RESULT = list[str]


class AddTypedLine(Method[None], frozen=True, kw_only=True):
    """Add a line typed at the prompt; the last 1,000 are kept."""

    NAME = "profile.add_typed_line"

    line: str


class WaitFlushed(Method[bool], frozen=True, kw_only=True):
    """Wait until nothing waits to be sent; return whether that is so within `wait` seconds."""

    NAME = "profile.wait_flushed"
    RESULT = bool

    wait: Seconds = 5.0


class WaitSettled(Method[bool], frozen=True, kw_only=True):
    """Wait while an attempt to connect to the relay is being made; return whether there is a connection."""

    NAME = "profile.wait_settled"
    RESULT = bool
