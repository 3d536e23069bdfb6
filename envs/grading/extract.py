"""Where the final answer stands in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from envs.grading.notation import plain, tidy, unwrap

Kind = Literal["number", "choice", "math", "text"]
"""What an answer is: a number with or without its unit, a letter A to J, other maths, or words."""

MAX_LINE = 200
"""Characters of the longest bare answer: a longer line is prose."""
MAX_REST = 400
"""Characters that are looked at behind a marker."""
MAX_MARKERS = 20
"""Markers that are looked at, from the end of the text."""

_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>")
_THINKING = re.compile(r"<(?:think|thinking|thought|reasoning)>")
# Markdown's emphasis, and not the power of 2**3.
_EMPHASIS = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w(\\{])|(?<![\w)}])__(?=\w)|__(?!\w)")
_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\boxed\s+(\w)|\\[{}\\]|[{}]", re.ASCII)
_BLANK_BOX = re.compile(r"\s*(?:\?|\.{3}|\\l?dots|answer|\\phantom\{[^{}]*\})?\s*", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s$\\(),;.]*(?:,|;|\band\b|\bor\b)[\s$\\(]*(?:[a-zA-Z]\w?\s*=\s*)?")

# Rule, marker (which ends where the answer begins), and words of which one must be in a text that has the marker.
_MARKERS = (
    ("hash", re.compile(r"####[ \t]*"), ("####",)),
    (
        "final answer",
        re.compile(
            r"\bfinal answer(?: is)?[ \t]*:\s*|\bfinal answer[ \t]*\n+\s*|<answer>\s*"
            r"|^[ \t#>\-\d.]*(?:the )?(?:correct |my )?(?:answer|ans|option|choice)[ \t]*:[ \t]*",
            re.IGNORECASE | re.MULTILINE,
        ),
        ("answer", "ans", "option", "choice"),
    ),
    (
        "answer is",
        re.compile(
            r"\b(?:answers?|correct (?:option|choice|letter)|best (?:option|choice)|appropriate (?:option|choice))"
            r"(?:,? (?:therefore|then|thus|hence),?)? (?:is|are|should be|equals|=)"
            r"(?: (?:therefore|thus|then|simply|equal to|exactly))?(?:[ \t]*:\s*|[ \t]+|\s*\n\s*(?=\$|\\\[|\d))",
            re.IGNORECASE,
        ),
        ("answer", "option", "choice", "letter"),
    ),
)
_HYPOTHESIS = re.compile(r"\b(?:if|suppose|whether|assum\w+|imagine|possible|unless|that)\W+(?:\w+\W+){0,2}$", re.IGNORECASE)
_LEAD = re.compile(r"(?:so |thus |therefore,? )?(?:the |my )?(?:final |correct )?answers? (?:is|are):?\s*", re.IGNORECASE)

NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,33}(?!\d)|\d+)?(?:\.\d+|(?<=\d)\.(?!\d))?"
_FRACTION = r"\\[dt]?frac(?:\{[^{}]*\}\{[^{}]*\}|\d\d)"
_LAST = re.compile(
    r"(?:(?<=[=:] )[-\u2212]\s|(?<![\w)\]}])[-\u2212]|\b(?:negative|minus) )?\\?\$?"
    rf"(?:\d+[ \t]*{_FRACTION}|{_FRACTION}|\d+ \d+/\d+|(?=[\d.]){NUMBER}(?:[eE][-+]?\d+)?(?:/\d+|\^\{{?-?\d+\}}?)?)"
    r"(?: (?:hundred|thousand|million|billion|trillion|dozen)\b)?(?:[ \t]?\\?%)?",
    re.ASCII,
)
_SPAN = re.compile(r"\$([^$\n]+)\$|\\\(([^\n]+?)\\\)")
# What an answer begins with, and prose or a heading ("#### Step 1", "the answer is not known") does not.
_ANSWER_LIKE = re.compile(
    r"(?:[-+\u2212\u2013\u00b1~\u2248]|negative |minus |exactly |about |USD )?\s*[\\$£€√π∞½¼¾|]|[-+\u2212\u2013\u00b1]?\s*\.?\d"
    r"|[(\[{\"'`<]\s*[-+\u2212\\\d$a-zA-Z]|[a-zA-Z]\w?\s*[=(+*/^]|[A-J](?=[.:)!?]?\s*$)|[A-J][.:)](?=\s)|[B-HJ](?=\s)"
    r"|[b-z](?=[.,;]?\s*$)|(?:yes|no|none|true|false|[A-Z][a-z]+)(?:\s[A-Z\d]\w*)?[.!]?\s*$|(?:negative|minus) \d",
)
_PROSE = re.compile(
    r"(?:first|let|to|we|step|now|in|since|because|if|as|here|this|that|there|not|the following)\b|[^\w\\]*\?|\d+[.):]\s*\D"
    r"|\S+ (?:times|more|less|fewer|digits?|if|where)\b",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"(?:Step|Part|Case|Method|Solution|Question)\b|\d+[.):](?:\s|$)|\d+(?:st|nd|rd|th)\b|[A-Z][.)]\s+\S|\([a-z]\)\s|[IVX]+[.)]\s|.*\s-\s+[A-Z]|.*\b(?:case|method|steps?|part|grid|later)\b"
)
_WORD = re.compile(r"[^\W\d_]{2,}")
# Where an answer ends and its reason begins: "5, so ...", "5 because ...", "6 (six)", "6, not 7".
_CLAUSE = re.compile(
    "|".join(
        (
            r"(?<![ .][A-Z][a-z])(?<![ap]\.m)\.(?:\s|$)|\.(?=\$\s)",
            r"[,;]?\s+\(?(?:so|which|because|since|as|when|but|meaning|thus|hence|therefore|where)\b",
            r",\s*(?:making|giving|not|we|the|rounded)\b|,\s*i\.e\.",
            r"\s+and\s+(?:we|so|that|this|it)\b",
            r";\s+(?=[a-z]{2,})|:\s+(?=[a-z]{3,})|\s+[\u2014\u2013]\s*(?=[a-z]+\s)",
            r"(?<=[\d}$a-z])\s+\((?=[^()]*[a-z]{3,}[^()]*\))|\s*</answer>",
        )
    )
)


@dataclass(frozen=True)
class Found:
    """An answer's text, the rule that found it, and the whole line that it was cut from."""

    answer: str
    rule: str
    line: str = ""


def has_final_answer(text: str) -> bool:
    """Return whether an explicit final answer stands in `text`.

    It is a closed `\\boxed{}`, `#### x`, "Final Answer: x" or "the answer is x". It ends an episode, so a heading such
    as "#### Step 1", "if the answer is 5" or "the answer is not known yet" do not count, nor does what is said in thought
    (between `<think>` and `</think>`). `text` is taken to end where a step ends: "#### 1" may be the beginning of "#### 12".
    """
    return explicit(text) is not None


def spoken(text: str) -> str:
    """Return the text behind the last thought; "" where a thought is not closed."""
    if "</" in text and (closed := [match.end() for match in _THOUGHT.finditer(text)]):
        text = text[closed[-1] :]
    return "" if "<t" in text and _THINKING.search(text) else text


def explicit(text: str) -> Found | None:
    """Return the answer of an explicit marker: the last box, else the last of the other markers that an answer follows."""
    text = spoken(text)
    if boxed := boxes(text):
        return Found(boxed[-1], "boxed")
    return next((Found(_clause(rest), rule, rest) for rule, rest in _marked(text) if _is_answer(rest, rule)), None)


def _marked(text: str) -> Iterator[tuple[str, str]]:
    """The rule and the rest of the line of each marker, the last in the text first."""
    if "**" in text or "__" in text:
        text = _EMPHASIS.sub("", text)
    lower = text.lower()
    patterns = [(rule, pattern) for rule, pattern, words in _MARKERS if any(word in lower for word in words)]
    places = [(match.end(), match.start(), rule) for rule, pattern in patterns for match in pattern.finditer(text)]
    for end, start, rule in sorted(places, reverse=True)[:MAX_MARKERS]:
        if rule != "answer is" or not _HYPOTHESIS.search(text[max(0, start - 40) : start]):
            yield rule, text[end : end + MAX_REST].split("\n", 1)[0].strip()


def fallback(text: str, kind: Kind, choices: Sequence[str] = ()) -> Found | None:
    """Return the answer of a text without an explicit marker, by the kind that is wanted."""
    text = spoken(text)
    if kind in ("text", "math") and (rest := next(((rule, rest) for rule, rest in _marked(text) if _clause(rest)), None)):
        return Found(_clause(rest[1]), rest[0], rest[1])
    bare = text.strip()
    short = bool(bare) and "\\boxed" not in bare and "\n" not in bare and len(bare) <= MAX_LINE
    if kind == "choice":
        letter = letter_of(text, choices)
        return Found(letter, "last letter") if letter else None
    if kind == "math" and (spans := _SPAN.findall(text)):
        return Found("".join(spans[-1]), "last span")
    if short and (kind != "number" or _is_number(bare)):
        return Found(bare, "bare")
    if kind == "number" and (number := _last_number(text)):
        return Found(number, "last number")
    return None


# Choices.

_OPENING = re.compile(r"\W*([A-J])(?:[).:]\W*(?=\s|$|\d)|\W*(?:\n|$))")
_CHOSEN = re.compile(
    r"\b(?i:option|choice|answer|choose|pick|select|go with|letter is|so|is)\s+"
    r"[\"'`(\[{]*([A-J])(?=[\"'`)\]}.,!:]*(?:\s*$|\s*\n|[).,!]))"
    r"|[\"'`(\[]*\b([A-J])[\"'`)\]]*\s+is\s+(?:the\s+)?(?:correct|right|best|most)",
    re.MULTILINE,
)
_BRACKETED = re.compile(r"(?<![\w)])(?<![Nn]ot )\(([A-J])\)(?!\s*(?:=|is (?:wrong|not|incorrect|false)|or\b|and\b))")
_LEADING_WORDS = re.compile(
    r"(?:the\s+)?(?:most appropriate\s+|best\s+|correct\s+)?(?:option|choice|letter|answer)(?:\s+is)?\s*:?\s*", re.IGNORECASE
)
_QUOTES = "\"'`*()[]{}<>.!?,: "
# "B", "B. a bank", "B because ...", and not the article of "A dog" or the pronoun "I think".
_CHOICE = re.compile(r"([A-J])(?:[).:!?\]}>\"'`]+.*|\s*$)|([B-HJ])\s", re.DOTALL)


def is_choice(answer: str) -> bool:
    """Return whether the answer is a letter A to J and nothing else."""
    return bool(re.fullmatch(r"\(?[A-J]\)?[.:]?", unwrap(tidy(answer)).strip("{} ")))


def choice_of(answer: str) -> str | None:
    """Return the letter of "B", "(b)", "\\text{Option B}" or "B. a bank", None where it is no choice."""
    text = unwrap(tidy(answer)).strip()
    text = _LEADING_WORDS.sub("", text, count=1) if _LEADING_WORDS.match(text) else text
    alone = text.strip(_QUOTES)
    if len(alone) == 1 and alone.upper() in "ABCDEFGHIJ":
        return alone.upper()
    match = _CHOICE.match(text.lstrip("\"'`*([{< "))
    return next(filter(None, match.groups())) if match else None


def text_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Return the letter of the choice whose text this is, None where it is none, or a letter that could be meant as such."""
    texts = [plain(choice).casefold() for choice in choices[:10]]
    said = plain(answer).casefold()
    if len(said) == 1 and said in "abcdefghij"[: len(texts)]:
        return None
    return "ABCDEFGHIJ"[texts.index(said)] if texts.count(said) == 1 else None


def letter_of(text: str, choices: Sequence[str]) -> str | None:
    """Return the letter that a text means: what it opens with, what it calls right, the text of a choice, the one in brackets."""
    text = _EMPHASIS.sub("", text) if "**" in text else text
    alone = text.strip().strip(_QUOTES)
    if len(alone) == 1 and alone.upper() in "ABCDEFGHIJ":
        return alone.upper()
    if match := _OPENING.match(text):
        return match[1]
    if chosen := [next(filter(None, match)) for match in _CHOSEN.findall(text)]:
        return chosen[-1]
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if lines and choices:
        if named := text_choice(_clause(lines[-1].strip()), choices):
            return named
        said = [
            i for i, choice in enumerate(choices[:10]) if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", lines[-1], re.IGNORECASE)
        ]
        if len(said) == 1:
            return "ABCDEFGHIJ"[said[0]]
    bracketed = set(_BRACKETED.findall(text))
    return bracketed.pop() if len(bracketed) == 1 else None


# Boxes.


def boxes(text: str) -> list[str]:
    """Return what stands in each closed box, in the order in which the boxes open; `\\{` and `\\}` are not braces.

    One pass. A box within a box counts for itself, and blank ones (empty, `?`, `\\phantom{0}`) do not count.
    """
    return [text[start:end] for start, end in _spans(text)]


def has_blank_box(text: str) -> bool:
    """Return whether the only answer of a text is a box without anything in it."""
    return ("\\boxed" in text or "\\fbox" in text) and not _spans(text)


def joined_boxes(text: str) -> list[str]:
    """Return the contents of the last box and of those right before it, as far as only "and", "or" or a comma stands between."""
    spans = _spans(text)
    kept = spans[-1:]
    for span in reversed(spans[:-1]):
        between = text[span[1] + 1 : kept[0][0]].removesuffix("{").rstrip().removesuffix("\\boxed").removesuffix("\\fbox")
        if len(between) > 40 or not _BETWEEN.fullmatch(between):
            break
        kept.insert(0, span)
    return [text[start:end] for start, end in kept]


def _spans(text: str) -> list[tuple[int, int]]:
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
            if is_box and not _BLANK_BOX.fullmatch(text, start, token.start()):
                closed.append((start, token.start()))
    return sorted(closed)


# Lines.


def _is_number(line: str) -> bool:
    """Whether a single line is a number, with a unit at most."""
    return bool(re.fullmatch(rf"\s*{_LAST.pattern}\s*[^\d=+]*", line, re.ASCII)) and any(c.isdigit() for c in line)


def _is_answer(rest: str, rule: str) -> bool:
    """Whether what follows a marker is an answer, and no prose, heading, or half-written formula."""
    clause = _clause(rest)
    if not any(c.isalnum() or c in "∞½¼¾" for c in clause) or (clause.count("$") % 2 and not re.match(r"\$\s*\d", clause)):
        return False
    if rule == "hash":
        words = len(_WORD.findall(unwrap(re.sub(r"\\[A-Za-z]+", "", clause))))
        most = 3 if re.match(r"[-+\u2212$£€.\d\\]", clause) else 0 if "(" in clause else 2
        return bool(_ANSWER_LIKE.match(clause)) and not _HEADING.match(rest) and words <= most
    if _PROSE.match(clause):
        return False
    return bool(_ANSWER_LIKE.match(clause)) or (rule == "final answer" and len(clause.split()) <= 6)


def _clause(text: str) -> str:
    """Cut "The final answer is $5$. I hope it is correct." to "$5$": an answer ends with its sentence."""
    text = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
    text = _CLAUSE.split(text, maxsplit=1)[0].strip()
    return re.sub(r"(?<=[\d}$])!$", "", text)  # an exclamation, and no factorial, ends a sentence


def _last_number(text: str) -> str | None:
    found = None
    for match in _LAST.finditer(text):
        if any(c.isdigit() for c in match[0]):
            found = match[0]
    return found
