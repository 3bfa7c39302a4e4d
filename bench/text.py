"""Text as word error rates compare it."""

from __future__ import annotations

import re

from num2words import num2words

_HESITATIONS = {"um", "uh"}
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def normalised(text: str) -> str:
    """Lower case, numbers and % spelled out, no punctuation, no um and uh.

    >>> normalised("Hello, 35% of 40 -- uh, equals 14!")
    'hello thirty five percent of forty equals fourteen'
    """
    text = text.lower().replace("%", " percent ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = _NUMBER.sub(lambda number: f" {num2words(number[0].replace(',', ''))} ", text)
    words = re.sub(r"[^a-z0-9' ]", " ", text).replace("'", "").split()
    return " ".join(word for word in words if word not in _HESITATIONS)
