"""Two published checkers, for reproducing tables: what they accept is reported here, not recommended.

Own code after the behaviour of the evaluation scripts of DeepSeekMath (its `extract_answer`, `strip_string`, `math_equal`) and
of Qwen2.5-Math. Both accept answers that are wrong: 0.0005 is 0 to DeepSeekMath's absolute tolerance, 50 is 0.5 to either
(percentages). Two things differ from the scripts: text is never handed to Python's parser (which would run it), and a list is
split by the commas of the reference, not by what the question says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from envs.grading.extract import boxes
from envs.grading.symbolic import Symbolic, compare

_NUMBER = re.compile(r"-?\d*\.?\d+")
_MINERVA = re.compile(r"final answer is \$(.*?)\$\. I hope", re.DOTALL)
_OUTPUT = re.compile(r"```output\s*(.*?)```", re.DOTALL)

_COMMON = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\n", ""),
        (r"\\!|\\left(?![a-z])|\\right(?![a-z])|\^\{?\\circ\}?|\\\$|\$", ""),
        (r"\\[td]frac", r"\\frac"),
        (r"\\math(?:bf|rm)", ""),
        (r"\s*\\(?:text|mbox)\{[^{}]*\}(?:\^\d)?$", ""),
        (r"(\d)\.0+(?!\d)", r"\1"),
        (r"(?<![\d.])\.(\d)", r"0.\1"),
        (r"\\sqrt(\w)", r"\\sqrt{\1}"),
        (r"\\frac(\d)(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac(\d)\{", r"\\frac{\1}{"),
        (r"(\\frac\{[^{}]*\})(\d)", r"\1{\2}"),
        (r"^(-?\d+)/(-?\d+)$", r"\\frac{\1}{\2}"),
    )
)
_QWEN = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\begin\{(?:array|bmatrix)\}(?:\{.*?\})?", r"\\begin{pmatrix}"),
        (r"\\end\{(?:array|bmatrix)\}", r"\\end{pmatrix}"),
        (r"\\text\{([^{}]*)\}", r"\1"),
        (r"\\[()]|\\?%|[\"'] *$", ""),
        (r"^[xyz]\s*=\s*|[xyz]\s*\\in\s*", ""),
        (r"infinity|(?<!\\)\binf\b", r"\\infty"),
        (r"^\w{1,2}\s*=\s*", ""),
    )
)


def deepseek_math(response: str, reference: str) -> bool | None:
    """DeepSeekMath's verdict, None where computer algebra ran out of time. `reference` is a solution or a bare answer."""
    found = [_strip(answer, _COMMON) for answer in _deepseek_answers(response)]
    wanted = [_strip(answer, _COMMON) for answer in (boxes(reference) or [reference.rpartition("####")[2]])]
    wanted = list(dict.fromkeys(part for answer in wanted for part in _split(answer)))
    found = list(dict.fromkeys(part for answer in found for part in _split(answer)))[-len(wanted) :]
    if len(found) != len(wanted):
        return False
    return _each(found, wanted, _deepseek_equal)


def qwen_math(response: str, reference: str) -> bool | None:
    """Qwen2.5-Math's verdict, None where computer algebra ran out of time. `reference` is a solution or a bare answer."""
    wanted = (boxes(reference) or [reference.rpartition("####")[2]])[-1]
    return _qwen_equal(_strip(_qwen_answer(response), _COMMON + _QWEN), _strip(wanted, _COMMON + _QWEN))


def _deepseek_answers(response: str) -> list[str]:
    """The first of these that is there: Minerva's sentence, boxes, "he answer is", program output, the last number."""
    if match := _MINERVA.search(response):
        return [match[1]]
    if boxed := boxes(response):
        return boxed
    if "he answer is" in response:
        return [response.rpartition("he answer is")[2]]
    if outputs := _OUTPUT.findall(response):
        return [outputs[-1]]
    return _NUMBER.findall(response.replace(",", ""))[-1:]


def _qwen_answer(response: str) -> str:
    if match := _MINERVA.search(response):
        return match[1]
    if boxed := boxes(response):
        return boxed[-1]
    for phrase in ("he answer is", "final answer is"):
        if phrase in response:
            return response.rpartition(phrase)[2]
    return "".join(_NUMBER.findall(response.replace(",", ""))[-1:])


def _strip(answer: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str:
    """The first line, without the looks that the scripts take away, and without spaces."""
    text = answer.strip().split("\n", 1)[0].lstrip(":").strip().rstrip("./")
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text.replace(" ", "")


def _split(answer: str) -> list[str]:
    """A list without brackets falls apart at commas, except those that group digits."""
    if any(bracket in answer for bracket in "()[]"):
        return [answer]
    return [part for part in re.split(r"\\text\{and\}|,(?!\d{3}(?!\d))", answer) if part]


def _each(found: Sequence[str], wanted: Sequence[str], equal: Callable[[str, str], bool | None]) -> bool | None:
    verdicts = [equal(a, b) for a, b in zip(found, wanted, strict=True)]
    return False if False in verdicts else None if None in verdicts else True


def _deepseek_equal(found: str, wanted: str) -> bool | None:
    a, b = _float(found), _float(wanted)
    if a is not None and b is not None:
        # The percentages come from `math_equal`, which the script asks after its own comparison of floats.
        return any(abs(a - x) < 1e-3 for x in (b, b / 100, b * 100))
    return found == wanted or _math_equal(found, wanted, _deepseek_equal)


def _qwen_equal(found: str, wanted: str) -> bool | None:
    if found.lower() == wanted.lower():
        return True
    if wanted in tuple("ABCDE"):
        return re.findall(r"\b[A-E]\b", found.upper())[-1:] == [wanted]
    a, b = _float(found), _float(wanted)
    if a is not None and b is not None:
        return any(math.isclose(x, a, rel_tol=1e-4) for x in (b / 100, b, b * 100))
    return _math_equal(found, wanted, _qwen_equal)


def _math_equal(found: str, wanted: str, equal: Callable[[str, str], bool | None]) -> bool | None:
    """What both do with what is no pair of numbers: by element, by equation, then by computer algebra."""
    if not found or not wanted:
        return False
    parts = [_elements(text) for text in (found, wanted)]
    if parts[0] and parts[1]:
        return len(parts[0]) == len(parts[1]) and _each(parts[0], parts[1], equal)
    sides = [text.split("=") for text in (found, wanted)]
    if len(sides[0]) == len(sides[1]) == 2:
        found, wanted = (f"{left.strip()}-({right.strip()})" for left, right in sides)
    elif [len(side) for side in sides] in ([2, 1], [1, 2]) and all(len(side[0]) <= 2 for side in sides if len(side) == 2):
        return equal(sides[0][-1], sides[1][-1])
    answer = compare(found, wanted, "simplifies")
    return None if answer is Symbolic.TIMEOUT else answer is Symbolic.SAME


def _elements(text: str) -> list[str]:
    """The elements of a tuple, an interval or a matrix."""
    if match := re.fullmatch(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", text):
        return [cell for row in match[1].split("\\\\") for cell in row.split("&")]
    if re.fullmatch(r"[(\[].+[)\]]", text) and "," in text:
        return text[1:-1].split(",")
    return []


def _float(text: str) -> float | None:
    text = text.replace(",", "")
    try:
        return float(text.rstrip("%\\")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
