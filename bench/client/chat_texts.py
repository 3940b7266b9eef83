"""Texts as people write them to each other: words by Zipf's law, some Chinese and Japanese, some emoji.

The same ones in every run. Knows no store.
"""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Final

__all__ = ["ChatTexts"]

_WORDS: Final = 50_000
_HAN: Final = 3_000
_HAN_SHARE: Final = 0.05
_EMOJI_SHARE: Final = 0.15
_EMOJI: Final = (
    "\U0001f44d",
    "\U0001f602",
    "\u2764\ufe0f",
    "\U0001f389",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
)
_LETTERS: Final = "etaoinshrdlucmfwypvbgkqjxz"


class ChatTexts:
    """Makes texts of 12 words on average, one in 20 in Chinese; `words` and `han` are by frequency."""

    def __init__(self) -> None:
        self._random = random.Random(1)  # noqa: S311 (no secret)
        weights = [1 / (len(_LETTERS) / 4 + place) for place in range(len(_LETTERS))]
        lengths = [min(2 + number.bit_length() // 2, 12) for number in range(_WORDS)]
        made: dict[str, None] = {}
        for length in lengths:
            word = ""
            while not word or word in made:
                word = "".join(
                    self._random.choices(_LETTERS, weights, k=max(1, length + self._random.randint(-1, 2)))
                )
            made[word] = None
        self.words = list(made)
        self.han = [chr(0x4E00 + 5 * number) for number in range(_HAN)]
        self._by_frequency = list(accumulate(1 / (number + 2) for number in range(_WORDS)))
        self._han_by_frequency = list(accumulate(1 / (number + 8) for number in range(_HAN)))

    def text(self) -> str:
        """Return the next text."""
        length = max(1, round(self._random.lognormvariate(2.2, 0.8)))
        if self._random.random() < _HAN_SHARE:
            return "".join(self._random.choices(self.han, cum_weights=self._han_by_frequency, k=2 * length))
        text = " ".join(self._random.choices(self.words, cum_weights=self._by_frequency, k=length))
        return f"{text} {self._random.choice(_EMOJI)}" if self._random.random() < _EMOJI_SHARE else text
