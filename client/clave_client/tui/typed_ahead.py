"""Keys that were typed ahead: they wait at a widget that has not got the focus any more. Knows no action."""

from __future__ import annotations

from textual.events import Key
from textual.widget import Widget

__all__ = ["pass_on"]


def pass_on(widget: Widget, event: Key) -> bool:
    """Give a key to what has the focus, if that is another than where it waited; return whether."""
    focused = widget.screen.focused
    if focused is None or focused is widget:
        return False
    event.prevent_default().stop()
    focused._forward_event(Key(event.key, event.character))
    return True
