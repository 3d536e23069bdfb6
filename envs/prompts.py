"""How a problem is put: templates by name, each with the rule that cuts its responses into steps.

The format guides of OREO and DQO are theirs to the letter, since checkpoints were trained with them (GSM8K: arXiv 2412.16145 and
2410.09302; MATH: Qwen's). DVO's prompt (appendix B) is in our words: the same four instructions, the same markers. The worked
examples of the few-shot templates are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from envs.hints import choose

QUESTION = "{question}"


@dataclass(frozen=True)
class Example:
    """A worked problem, for few-shot templates."""

    question: str
    steps: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Prompt:
    """A template with `{question}` in it, and the shape of the responses that it asks for."""

    template: str
    segment: str = "lines"
    """rule by which a response is cut into steps, a key of `envs.problem_env.DELIMITERS`"""
    delimiter: str = "\n"
    """what stands between the steps of a worked solution"""
    final: str = "#### {answer}"
    """the last step of a worked solution"""
    shots: int = 0
    """worked examples before the question, the first of EXAMPLES"""
    rules: str = ""
    """what is said once, before all"""

    def ask(self, question: str) -> str:
        """Return the text that is shown for a question."""
        shown = [self._put(example.question) + self.work(example) for example in EXAMPLES[: self.shots]]
        return self.rules + "\n\n".join([*shown, self._put(question)])

    def work(self, example: Example) -> str:
        """Return a worked solution in this template's shape."""
        return self.delimiter.join([*example.steps, self.final.replace("{answer}", example.answer)])

    def _put(self, question: str) -> str:
        return self.template.replace(QUESTION, question)


EXAMPLES = (
    Example(
        "A baker fills 6 trays with 12 rolls each and sells 50 of the rolls. How many rolls are left?",
        ("6 trays of 12 rolls hold 6 * 12 = 72 rolls.", "After 50 are sold, 72 - 50 = 22 rolls are left."),
        "22",
    ),
    Example(
        "Mara reads 15 pages on Monday and twice as many on Tuesday. Her book has 80 pages. How many pages has she still to read?",
        (
            "On Tuesday she reads 2 * 15 = 30 pages.",
            "In both days she reads 15 + 30 = 45 pages.",
            "There are 80 - 45 = 35 pages still to read.",
        ),
        "35",
    ),
    Example(
        "Three friends share the 48 dollars that a ride costs equally. One of them gives the driver 4 dollars more. How much does "
        "this friend pay?",
        ("Each share is 48 / 3 = 16 dollars.", "With the 4 dollars more it is 16 + 4 = 20 dollars."),
        "20",
    ),
    Example(
        "A tank holds 90 litres. A pump takes out 8 litres a minute for 5 minutes, then 20 litres are poured in. How many litres "
        "does the tank hold now?",
        (
            "The pump takes out 8 * 5 = 40 litres.",
            "That leaves 90 - 40 = 50 litres.",
            "With what is poured in it holds 50 + 20 = 70 litres.",
        ),
        "70",
    ),
)

_HASHES = f"{QUESTION}\nPlease reason step by step, and produce a final answer following 4 '#', like '#### 0'."
_BOXED = f"{QUESTION}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
_CHOICE = (
    f"{QUESTION}\nThink step by step, one line for each step, and end with: So the answer is X. Here X is the letter of the choice."
)
_DVO_RULES = """\
Solve the problem below and keep to these rules:
1. Set up equations and solve them with algebra; write every equation in LaTeX.
2. Write each step down clearly. Put a blank line between two steps, and none within a step.
3. Take at most 8 steps.
4. End with the answer behind the phrase "Final Answer:".

"""
_DVO_PROBLEM = f"<|Begin Question|>\n{QUESTION}\n<|End Question|>\n\n<|Begin Answer|>\n"
_TURNS = f"Question: {QUESTION}\nAnswer: "

PROMPTS: dict[str, Prompt] = {
    "plain": Prompt(QUESTION),
    "gsm8k": Prompt(_HASHES),
    "gsm8k-few-shot": Prompt(_TURNS, shots=4),
    "math": Prompt(_BOXED, "sentences", final="\\boxed{{answer}}"),
    "math-few-shot": Prompt(_TURNS, "sentences", final="So it is $\\boxed{{answer}}$.", shots=4),
    "dvo": Prompt(_DVO_PROBLEM, "blank", "\n\n", "Final Answer: {answer}\n<|End Answer|>", rules=_DVO_RULES),
    "dvo-few-shot": Prompt(_DVO_PROBLEM, "blank", "\n\n", "Final Answer: {answer}\n<|End Answer|>", shots=4, rules=_DVO_RULES),
    "choice": Prompt(_CHOICE, final="So the answer is {answer}."),
}
"""Template name -> template."""


def prompt_of(prompt: str) -> Prompt:
    """Return the template of that name, or one made of a text with `{question}` in it.

    Raises ValueError for any other text, with the near match.
    """
    if QUESTION in prompt:
        return Prompt(prompt)
    return PROMPTS[choose("prompt", prompt, PROMPTS)]
