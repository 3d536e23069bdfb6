"""Where the final answer stands in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from envs.grading.notation import tidy, unwrap

Kind = Literal["number", "choice", "math", "text"]
"""What an answer is: a number with or without its unit, a letter A to J, other maths, or words."""

MAX_LINE = 200  # a line longer than this is prose, not a bare answer

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\boxed\s+(\w)|\\[{}\\]|[{}]", re.ASCII)
_HASH = re.compile(r"####[ \t]*(\S[^\n]*)")
_PHRASE = re.compile(r"(?:\bfinal answer(?: is)?[ \t]*:|^[ \t]*answer[ \t]*:)\s*(\S[^\n]*)", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(
    r"\banswers? (?:is|are|should be|would be|must be)(?: (?:therefore|thus|then|simply|equal to))?:?[ \t]*(\S[^\n]*)",
    re.IGNORECASE,
)
_LEAD = re.compile(r"(?:so |thus |therefore,? )?(?:the |my )?(?:final |correct )?answers? (?:is|are):?\s*", re.IGNORECASE)
# Markdown's emphasis, and not the power of 2**3.
_EMPHASIS = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w(\\{])|(?<![\w)}])__(?=\w)|__(?!\w)")
NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,33}(?!\d)|\d+)?(?:\.\d+|(?<=\d)\.(?!\d))?"
_LAST = re.compile(
    rf"-?\\[dt]?frac\{{[^{{}}]*\}}\{{[^{{}}]*\}}|(?:(?<![\w)])[-\u2212])?\$?(?=[\d.])(?:{NUMBER})(?:/\d+)?(?:[ \t]?\\?%)?", re.ASCII
)
# "B", "(B)", "B. a bank", "B because ...", and not the article of "A dog" or the pronoun "I think".
CHOICE = re.compile(r"\(([A-J])\)|([A-J])(?=[.:)]?\s*$)|([A-J])[.:)](?=\s)|([B-HJ])(?=\s)")
_LETTER = re.compile(r"\(([A-J])\)|\b(?:option|choice|answer)\s+\(?([A-J])\b", re.IGNORECASE)
# What an answer begins with, and prose or a heading ("#### Step 1", "the answer is not known") does not.
_ANSWER_LIKE = re.compile(
    rf"[-+\u2212\u00b1]?\s*[\\$£€√π]|[-+\u2212]?\.?\d|[(\[]\s*[-+\\\d$a-z]|[a-zA-Z]\s*[=(+*/^]|{CHOICE.pattern}|[a-z](?=[.,;]?\s*$)"
)
_HEADING = re.compile(r"\d+[.):]\s+\S")
# Where an answer ends and its reason begins: "5, so ...", "5 because ...".
_CLAUSE = re.compile(
    r"\.(?:\s|$)|\.(?=\$\s)|[,;]?\s+\(?(?:so|which|because|since|as|when|but|meaning|thus|hence|therefore|where|making|giving)\b"
)


@dataclass(frozen=True)
class Found:
    """An answer's text and the rule that found it."""

    answer: str
    rule: str


def has_final_answer(text: str) -> bool:
    """Return whether an explicit final answer stands in `text`.

    It is a closed `\\boxed{}`, `#### x`, "Final Answer: x" or "the answer is x". It ends an episode, so a heading such
    as "#### Step 1" or "the answer is not known yet" does not count. `text` is taken to end where a step ends: "#### 1"
    may be the beginning of "#### 12".
    """
    return explicit(text) is not None


def explicit(text: str) -> Found | None:
    """Return the answer of the strongest explicit marker in `text`, the last one where it comes more than once."""
    if boxed := boxes(text):
        return Found(boxed[-1], "boxed")
    if "**" in text or "__" in text:
        text = _EMPHASIS.sub("", text)
    for rule, pattern in (("hash", _HASH), ("final answer", _PHRASE), ("answer is", _SENTENCE)):
        likely = [rest for rest in pattern.findall(text) if _is_answer(rest, rule)]
        if likely:
            return Found(_clause(likely[-1]), rule)
    return None


def fallback(text: str, kind: Kind) -> Found | None:
    """Return the answer of a text without an explicit marker, by the kind that is wanted."""
    if kind in ("text", "math") and (loose := _SENTENCE.findall(text)):
        return Found(_clause(loose[-1]), "answer is")
    if kind == "choice" and (letters := _LETTER.findall(text)):
        return Found("".join(letters[-1]).upper(), "last letter")
    bare = text.strip()
    if bare and "\\boxed" not in bare and "\n" not in bare and len(bare) <= MAX_LINE and _is_bare(bare, kind):
        return Found(bare, "bare")
    if kind == "number" and (number := _last_number(text)):
        return Found(number, "last number")
    return None


def is_choice(answer: str) -> bool:
    """Return whether the answer is a letter A to J and nothing else."""
    return bool(re.fullmatch(r"\(?[A-J]\)?[.:]?", unwrap(tidy(answer)).strip("{} ")))


def choice_of(answer: str) -> str | None:
    """Return the letter of "B", "(B)", "\\text{B}" or "B. a bank", None where it is no choice."""
    text = unwrap(tidy(answer)).strip("{} ")
    match = CHOICE.match(text if len(text) > 1 else f"({text})")
    return next(filter(None, match.groups())) if match else None


def boxes(text: str) -> list[str]:
    """Return what stands in each closed box, in the order in which the boxes open; `\\{` and `\\}` are not braces.

    One pass. A box within a box counts for itself, and blank ones do not count.
    """
    if "boxed" not in text and "\\fbox" not in text:
        return []
    opened: list[tuple[bool, int]] = []
    closed: list[tuple[int, int]] = []
    for token in _BRACE.finditer(text):
        if token[1]:  # without braces, TeX boxes the next sign alone
            closed.append(token.span(1))
        elif len(token[0]) > 2 or token[0] == "{":
            opened.append((token[0] != "{", token.end()))
        elif token[0] == "}" and opened:
            is_box, start = opened.pop()
            if is_box and text[start : token.start()].strip():
                closed.append((start, token.start()))
    return [text[start:end] for start, end in sorted(closed)]


def _is_bare(line: str, kind: Kind) -> bool:
    """Whether a single line is the answer itself: for numbers and choices it must look like one."""
    if kind == "number":
        return bool(re.fullmatch(rf"\s*(?:[-+\u2212]\s*)?\\?\$?\s*(?:{_LAST.pattern})\s*[^\d=+]*", line))
    return choice_of(line) is not None if kind == "choice" else True


def _is_answer(rest: str, rule: str) -> bool:
    if rule == "hash" and _HEADING.match(rest):
        return False
    return bool(_clause(rest)) and (rule == "final answer" or bool(_ANSWER_LIKE.match(_clause(rest))))


def _clause(text: str) -> str:
    """Cut "The final answer is $5$. I hope it is correct." to "$5$": an answer ends with its sentence."""
    text = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
    return _CLAUSE.split(text, maxsplit=1)[0].strip()


def _last_number(text: str) -> str | None:
    found = None
    for match in _LAST.finditer(text):
        if any(c.isdigit() for c in match[0]):
            found = match[0]
    return found
