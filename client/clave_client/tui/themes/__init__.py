"""The two themes of clave, dark and light, in colours that colour-blind people can tell apart.

The hues are those of Okabe and Ito ("Color Universal Design", 2008), lightened or darkened for contrast.
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

__all__ = ["DARK", "LIGHT", "THEMES"]

DARK: Final = Theme(
    name="clave-dark",
    primary="#56B4E9",
    secondary="#CC79A7",
    accent="#56B4E9",
    success="#2BBF94",
    warning="#E69F00",
    error="#FF8A4C",
    foreground="#DCE1E6",
    background="#111519",
    surface="#1A2027",
    panel="#222A33",
    dark=True,
    variables={"text-muted": "#9AA5B1"},
)

LIGHT: Final = Theme(
    name="clave-light",
    primary="#005A8C",
    secondary="#8C3A68",
    accent="#005A8C",
    success="#00664A",
    warning="#7A5300",
    error="#A33D00",
    foreground="#16202A",
    background="#FBFCFD",
    surface="#EEF2F5",
    panel="#E1E7EC",
    dark=False,
    variables={"text-muted": "#4E5B68"},
)

THEMES: Final = (DARK, LIGHT)
