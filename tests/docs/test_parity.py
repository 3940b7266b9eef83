"""What people do in a conversation is a method, a subcommand, a chat command and a call of the library."""

from __future__ import annotations

from typing import Any, NamedTuple

import click
import pytest

from clave_client.cli import (
    device_commands,
    inspection_commands,
    link_commands,
    main,
    message_commands,
    role_commands,
    room_commands,
)
from clave_client.client import Client
from clave_client.rpc import methods as m
from clave_client.rpc.device_methods import DEVICE_METHODS
from clave_client.rpc.inspection_methods import INSPECTION_METHODS
from clave_client.rpc.link_methods import LINK_METHODS
from clave_client.rpc.message_methods import MESSAGE_METHODS
from clave_client.rpc.role_methods import ROLE_METHODS
from clave_client.ui.chat_commands import COMMANDS


class Ways(NamedTuple):
    """How one thing is done: a subcommand with an option if it takes one, a chat command, and of `Client`.

    A way that is none is said to be so: by "no: " and why.
    """

    subcommand: str
    chat: str
    library: str


_OF_WINDOWS = "no: windows do it by themselves"

WAYS: dict[type[m.Method[Any]], Ways] = {
    m.GetHistory: Ways("tail --after", "history", "history"),
    m.GetUnread: Ways("rooms", "room", "unshown"),
    m.MarkShown: Ways("no: tail does it with what it prints", _OF_WINDOWS, "mark_shown"),
    m.ListPending: Ways(
        "rooms", "no: a line above the prompt shows it", "no: an event tells of each message"
    ),
    m.GetMessage: Ways("show", "show", "find_message"),
    m.Search: Ways("search", "search", "search"),
    m.Post: Ways("send --wait", "no: whatever is typed", "post"),
    m.Send: Ways("send", "reply", "send"),
    m.Edit: Ways("edit", "edit", "edit"),
    m.DeleteMessage: Ways("delete --here-only", "delete", "delete"),
    m.React: Ways("react", "react", "react"),
    m.Unreact: Ways("unreact", "unreact", "unreact"),
    m.OpenDirect: Ways("dm", "dm", "open_direct"),
    m.SetExpiry: Ways("disappear", "disappear", "set_expiry"),
    m.SetReadReceipts: Ways("receipts", "receipts", "set_read_receipts"),
    m.Archive: Ways("archive --undo", "archive", "set_archived"),
    m.GetDraft: Ways("draft", "no: the prompt shows it", "draft"),
    m.SetDraft: Ways("draft", "no: the prompt keeps it", "set_draft"),
    m.SetRole: Ways("role", "role", "set_role"),
    m.SetPolicy: Ways("policy", "policy", "set_policy"),
    m.SetTopic: Ways("topic", "topic", "set_topic"),
    m.PinMessage: Ways("pin", "pin", "pin_message"),
    m.UnpinMessage: Ways("unpin", "unpin", "unpin_message"),
    m.ListPinned: Ways("pin", "pin", "pinned"),
    m.Ban: Ways("ban", "ban", "ban"),
    m.Unban: Ways("unban", "unban", "unban"),
    m.MakeLink: Ways("invite --expires --uses --qr", "invite", "make_link"),
    m.ListLinks: Ways("links", "links", "links"),
    m.RevokeLinks: Ways("revoke", "revoke", "revoke_links"),
    m.JoinLink: Ways("join --proxy", "join", "join_link"),
    m.Block: Ways("block", "block", "block"),
    m.Unblock: Ways("unblock", "unblock", "unblock"),
    m.ListBlocked: Ways("block", "block", "blocked"),
    m.AuditRoom: Ways("audit", "audit", "audit"),
    m.ListDevices: Ways("devices", "devices", "devices"),
    m.OpenPairing: Ways("device add --qr", "device", "open_pairing"),
    m.GetPairingOffer: Ways("device add", "no: a notice shows the words", "pairing_offer"),
    m.FinishPairing: Ways("device add", "device", "finish_pairing"),
    m.StopPairing: Ways("no: Ctrl-C ends device add", "device", "stop_pairing"),
    m.WaitDevices: Ways("device remove", "no: it is done in the background", "wait_devices"),
    m.RemoveDevice: Ways("device remove", "device", "remove_device"),
    m.SetPrimary: Ways("device primary", "device", "set_primary"),
    m.GetRelayView: Ways("receipt", "receipt", "relay_view"),
}

METHODS = [*MESSAGE_METHODS, *ROLE_METHODS, *LINK_METHODS, *INSPECTION_METHODS, *DEVICE_METHODS]


def test_every_method_about_messages_and_roles_is_in_the_table() -> None:
    assert WAYS.keys() == {*METHODS}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.NAME)
def test_a_method_is_done_by_a_subcommand_a_chat_command_and_the_library(
    method: type[m.Method[Any]],
) -> None:
    ways = WAYS[method]
    if not ways.subcommand.startswith("no: "):
        name, *words = ways.subcommand.split()
        command = main.commands[name]
        if isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        known = {option for each in command.params for option in each.opts}
        assert set(words) <= known
    if not ways.chat.startswith("no: "):
        assert ways.chat in COMMANDS
    if not ways.library.startswith("no: "):
        assert callable(getattr(Client, ways.library))


_ALL = (
    *link_commands.ALL,
    *message_commands.ALL,
    *room_commands.ALL,
    *role_commands.ALL,
    *inspection_commands.ALL,
    *device_commands.ALL,
)


def test_every_subcommand_serves_a_method() -> None:
    serving = {ways.subcommand.split()[0] for ways in WAYS.values()}
    of_several = {"reply", "export"}  # an answer is sent like any message, and the export is a history
    assert {command.name for command in _ALL} - of_several <= serving


@pytest.mark.parametrize("name", main.commands)
def test_help_shows_an_example_and_no_name_is_used_twice(name: str) -> None:
    command = main.commands[name]
    shown = command.get_help(click.Context(command, info_name=name))
    assert any(
        line.strip().startswith("Example: ") and f"clave {name}" in line for line in shown.splitlines()
    )
    names = [each.name for each in command.params]
    assert len(set(names)) == len(names), "an argument and an option have one name"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_chat_command_says_how_it_is_typed(name: str) -> None:
    command = COMMANDS[name]
    assert command.usage.removeprefix("/").split()[0] == name
    assert command.help
