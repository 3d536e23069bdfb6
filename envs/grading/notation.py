"""The looks of an answer: what can be taken away or rewritten without changing what it stands for."""

from __future__ import annotations

import re

_SIGNS = {
    "\u2212": "-", "\u2013": "-", "\u2264": "\\le ", "\u2265": "\\ge ", "\u2260": "\\ne ", "\u2208": "\\in ", "\u2044": "/",
    "\u00bd": " 1/2", "\u00bc": " 1/4", "\u00be": " 3/4", "\u2153": " 1/3", "\u2154": " 2/3",
    "\u2070": "^0", "\u00b9": "^1", "\u00b2": "^2", "\u00b3": "^3", "\u2074": "^4", "\u2075": "^5",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2061": "", "\u200b": "",
}  # fmt: skip
_TRANSLATE = str.maketrans(_SIGNS)

# Order matters: `\left` after `\leftarrow` would be another command.
_LOOKS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*\.?", ""),
        (r"\\(?:displaystyle|textstyle|scriptstyle|limits)(?![A-Za-z])", " "),
        (r"(?<=\d)(?:\{,\}|,\\!|\\,|\\!)\s*(?=\d{3})", ""),  # digits grouped as LaTeX does it
        (r"\{,\}|(?<=[\d,])\{\}(?=[-\d])", ","),  # the second: MATH's answers, as published without their words
        (r"(?<![A-Za-z])([aApP])\.\s?[mM]\b\.?", r"\1m"),
        (r"\\(?:text)?color\s*\{\w+\}|\\underline(?=\s*\{)|\\#", ""),
        (r"(?:\^\s*\{?\s*\\(?:text|mathrm)\{(?:st|nd|rd|th)\}\s*\}?|(?<=\d)(?:st|nd|rd|th)\b)", ""),
        (
            r"\\text\{\s*(?:approximately|about|around|roughly|exactly)\s*\}|^(?:approximately|about|around|roughly|exactly|USD|EUR)\s+",
            " ",
        ),
        (r"\\(?:text|math|bold)\w*\s*\{([^A-Za-z{}\\]*)\}", r"\1"),  # bold numbers
        (r"\\phantom(?![A-Za-z])(?:\{[^{}]*\})?", " "),
        (r"(?<!\\)\\(?:[!,;: ]|q?quad(?![A-Za-z]))|~", " "),
        (r"\\[lr]?vert(?![A-Za-z])|\\mid(?![A-Za-z])", "|"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\[()\[\]]|(?<!\\)\$\$?(?!\s*\d[\d,.]*\s*$)", ""),  # delimiters of maths, and not the sign of "$5"
        (r"\b(?:minus|negative)\s+(?=[\d\\$.])", "-"),
    )
)
_WRAPPER = re.compile(
    r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|operatorname|emph)\s*\*?\{([^{}]*)\}"
)
_END = re.compile(r"(?<!\.)[.,;]\s*$")
_SPACES = re.compile(r"(?<!\d)\s+|\s+(?!\d)")  # white space between digits keeps 3 4 from being 34
_UNSEEN = re.compile(rf"[{{}}$]+|{_SPACES.pattern}|\\(?=[$%])")

SHORT = 2
"""Characters from which upper and lower case are the same word: n is not N, but No is no."""


def tidy(text: str) -> str:
    """Return `text` in one notation: spacing, sizes, delimiters, Unicode signs and Markdown's emphasis are gone."""
    text = text.translate(_TRANSLATE)
    text = text.strip().strip("*_`").strip()
    if text.count("$") == 2 and text[0] == text[-1] == "$":
        text = text[1:-1]
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    return _END.sub("", text.strip())


def squeezed(text: str) -> str:
    """Return the notation without white space that stands between no two digits: what two equal texts have in common."""
    return _SPACES.sub("", tidy(text))


def plain(text: str) -> str:
    """Return what two answers in words have in common: no white space, wrappers, braces, or capitals. Not for maths."""
    text = _UNSEEN.sub("", unwrap(tidy(text))).removesuffix(".")
    return text if len(text) < SHORT else text.casefold()


def unwrap(text: str) -> str:
    """Take the text out of `\\text{...}` and its like, three levels deep: never a loop over hostile input."""
    for _ in range(3):
        text = _WRAPPER.sub(r"\1", text)
    return text
