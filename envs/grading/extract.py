"""Where the final answer stands in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envs.grading.compare import CHOICE, NUMBER, Kind, value_of

MAX_LINE = 200  # a line longer than this is prose, not a bare answer

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\boxed\s+(\d)|\\[{}\\]|[{}]", re.ASCII)
_HASH = re.compile(r"####[ \t]*(\S[^\n]*)")
_PHRASE = re.compile(r"(?:\bfinal answer(?: is)?[ \t]*:|^answer:)[ \t]*(\S[^\n]*)", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(r"\banswer is:?[ \t]*(\S[^\n]*)", re.IGNORECASE)
_LAST = re.compile(rf"(?:(?<![\w)])[-\u2212])?\$?(?=[\d.])(?:{NUMBER})(?:/\d+)?", re.ASCII)
_LETTER = re.compile(r"\(([A-J])\)")
# What an answer begins with, and prose or a heading ("#### Step 1", "the answer is not known") does not.
_ANSWER_LIKE = re.compile(rf"[-+\u2212]?[\\$]|[-+\u2212]?\.?\d|\(\s*[-+\\\d]|{CHOICE.pattern}")
_HEADING = re.compile(r"\d+[.):]\s+\S")


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
    if (box := _last_box(text)) is not None and box.strip():
        return Found(box, "boxed")
    for rule, pattern in (("hash", _HASH), ("final answer", _PHRASE), ("answer is", _SENTENCE)):
        likely = [rest for rest in pattern.findall(text) if _is_answer(rest, rule)]
        if likely:
            return Found(_clause(likely[-1]), rule)
    return None


def fallback(text: str, kind: Kind) -> Found | None:
    """Return the answer of a text without an explicit marker, by the kind that is wanted."""
    if kind == "text" and (loose := _SENTENCE.findall(text)):
        return Found(_clause(loose[-1]), "answer is")
    if kind == "choice" and (letters := _LETTER.findall(text)):
        return Found(letters[-1], "last letter")
    bare = text.strip()
    if bare and "\n" not in bare and len(bare) <= MAX_LINE and (kind == "text" or value_of(bare, kind).kind == kind):
        return Found(bare, "bare")
    if kind == "number" and (number := _last_number(text)):
        return Found(number, "last number")
    return None


def _is_answer(rest: str, rule: str) -> bool:
    if rule == "hash" and _HEADING.match(rest):
        return False
    return bool(_clause(rest)) and (rule == "final answer" or bool(_ANSWER_LIKE.match(rest)))


def _clause(text: str) -> str:
    """Cut "5. So that is it." to "5": an answer ends with its sentence."""
    return text.split(". ", 1)[0].strip().removesuffix(".").rstrip()


def _last_number(text: str) -> str | None:
    found = None
    for match in _LAST.finditer(text):
        if any(c.isdigit() for c in match[0]):
            found = match[0]
    return found


def _last_box(text: str) -> str | None:
    """Return what stands in the closed box that opens last, in one pass; `\\{` and `\\}` are not braces."""
    opened: list[tuple[bool, int]] = []
    best = (-1, -1)
    for token in _BRACE.finditer(text):
        if token[1]:  # without braces, TeX boxes the next sign alone
            best = max(best, token.span(1))
        elif len(token[0]) > 2 or token[0] == "{":
            opened.append((token[0] != "{", token.end()))
        elif token[0] == "}" and opened:
            is_box, start = opened.pop()
            if is_box:
                best = max(best, (start, token.start()))
    return None if best[0] < 0 else text[best[0] : best[1]]
