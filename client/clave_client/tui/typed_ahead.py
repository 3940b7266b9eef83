"""Keys that were typed ahead: they wait at a widget that has not got the focus any more. Knows no action."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Key
from textual.widget import Widget
from textual.widgets import Input

from clave_client.tui.base_app import program_of

__all__ = ["Field", "pass_on", "run_own_binding"]


async def run_own_binding(widget: Widget, event: Key) -> bool:
    """Run a widget's own binding of a key in turn with what is typed; return whether it has one.

    Textual would run it later, after the key has gone up to the app: a letter that is typed quickly behind
    Backspace would be there first.
    """
    for binding in widget._bindings.key_to_bindings.get(event.key, ()):
        if await widget.app.run_action(binding.action, widget):
            event.prevent_default().stop()
            return True
    return False


def pass_on(widget: Widget, event: Key) -> bool:
    """Give a key to what has the focus, if that is another than where it waited; return whether."""
    app = program_of(widget)
    if app.is_holding:
        event.prevent_default().stop()
        app.hold(event)
        return True
    focused = widget.screen.focused
    if focused is None or focused is widget:
        return False
    event.prevent_default().stop()
    focused._forward_event(Key(event.key, event.character))
    return True


class Field(Input):
    """A field that takes all its keys in turn.

    `entered` is called at Enter, before what is typed next; without it Enter is handled as in any `Input`.
    """

    entered: Callable[[], None] | None = None

    async def _on_key(self, event: Key) -> None:
        if pass_on(self, event):
            return
        if event.key in ("tab", "shift+tab"):
            event.prevent_default().stop()
            (self.screen.focus_next if event.key == "tab" else self.screen.focus_previous)()
        elif event.key == "enter" and self.entered is not None:
            event.prevent_default().stop()
            self.entered()
        else:
            await run_own_binding(self, event)
