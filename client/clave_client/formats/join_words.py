"""What to tell somebody who joined a room by a link, until it is certain where that led."""

from __future__ import annotations

__all__ = ["joining_text"]


def joining_text(title: str, inviter: str, *, waits: bool) -> str:
    """Return the warning; with `waits`, no member has let this device in yet."""
    if waits:
        return f"nobody of {title} has let you in yet; what you say is read once somebody is there"
    return (
        f"{inviter}, whose link led you here, has not spoken in {title} yet: until then somebody who was"
        " removed, together with the relay, may have led you elsewhere"
    )
