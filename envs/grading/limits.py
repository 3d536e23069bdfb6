"""What may be given to the computer algebra system, by the text alone: what is refused is refused on every machine."""

from __future__ import annotations

import re

from envs.grading.tree import names

MAX_SYMBOLIC = 400
"""Characters of the longest answer."""
_LONG_NUMBER = re.compile(r"\d{20}")
_LARGE_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*\d[\d,]{3}|[)}\]]\s*(?:\^|\*\*)\s*[{(]?\s*-?\d{3}|\d[eE][-+]?\d{3}")
_TOWER = re.compile(r"(?:\^|\*\*)[^+=,]{0,40}?(?:\^|\*\*)[^+=,]{0,40}?\d{2}|\d\s*(?:\^|\*\*)\s*[{(]?\s*\d+\s*(?:\^|\*\*)")
_FACTORIAL = re.compile(r"\d{3}\s*!|!\s*\)?\s*!")
_BEYOND = re.compile(r"\\(?:int|iint|sum(?=\s*_)|prod(?=\s*_)|lim(?=\s*_))(?![A-Za-z])")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_KNOWN = names(
    """int iint sum prod lim to infty frac sqrt binom pi cdot times div pm mp left right sin cos tan cot sec csc
    arcsin arccos arctan sinh cosh tanh ln log exp alpha beta gamma delta epsilon theta lambda mu nu rho sigma tau phi psi
    omega text mathrm quad"""
)
_WORDS = re.compile(r"[^\W\d_]{2,}")
_SIGNS = re.compile(r"[\\^_=+*/<>|\u00b1]")


def too_large(text: str) -> bool:
    """Return whether the text is too long, nests too deep, or holds numbers that could take unlimited time or memory."""
    if len(text) > MAX_SYMBOLIC or text.count("{") + text.count("(") > 60:
        return True
    return any(pattern.search(text) for pattern in (_LONG_NUMBER, _LARGE_EXPONENT, _TOWER, _FACTORIAL))


def is_beyond(text: str) -> bool:
    """Return whether the text is what computer algebra reads and this package's parser does not: integrals, sums, limits.

    All its commands must be known: of what it does not know, math-verify reads the part that it does.
    """
    return bool(_BEYOND.search(text)) and all(name in _KNOWN for name in _COMMAND.findall(text))


def is_words(text: str) -> bool:
    """Return whether a text (without wrappers) is words, with numbers among them, and no formula."""
    return bool(_WORDS.search(text)) and not _SIGNS.search(text)
