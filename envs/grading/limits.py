"""What may be given to the computer algebra system, by the text alone: what is refused is refused on every machine."""

from __future__ import annotations

import re

MAX_SYMBOLIC = 400
"""Characters of the longest answer."""
_LONG_NUMBER = re.compile(r"\d{20}")
_LARGE_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*\d[\d,]{3}|[)}\]]\s*(?:\^|\*\*)\s*[{(]?\s*-?\d{3}|\d[eE][-+]?\d{3}")
_TOWER = re.compile(r"(?:\^|\*\*)[^+=,]{0,40}?(?:\^|\*\*)[^+=,]{0,40}?\d{2}|\d\s*(?:\^|\*\*)\s*[{(]?\s*\d+\s*(?:\^|\*\*)")
_FACTORIAL = re.compile(r"\d{3}\s*!|!\s*\)?\s*!")
_NAMES = re.compile(r"\\(?:begin|end)\{\w*\}|\\[A-Za-z]+|arc(?:sin|cos|tan)|sinh|cosh|tanh|sqrt")
_WORD = re.compile(r"[A-Za-z]{4}")
_MATHS = re.compile(r"[\d\\=^+*/<>|]")


def too_large(text: str) -> bool:
    """Return whether the text is too long, nests too deep, or holds numbers that could take unlimited time or memory."""
    if len(text) > MAX_SYMBOLIC or text.count("{") + text.count("(") > 60:
        return True
    return any(pattern.search(text) for pattern in (_LONG_NUMBER, _LARGE_EXPONENT, _TOWER, _FACTORIAL))


def looks_like_maths(text: str) -> bool:
    """Return whether there is anything in the text that computer algebra could read, and no words beside it."""
    if _WORD.search(_NAMES.sub(" ", text)):
        return False
    return bool(_MATHS.search(text)) or (len(text) == 1 and text.isalpha())
