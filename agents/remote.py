"""An agent that lives on a server: anything that speaks OpenAI's completions (vLLM, SGLang, llama.cpp's, transformers serve).

    vllm serve MODEL
    python -m rollouts.collect --env math --agent http://localhost:8000/v1 --agent-args tokenizer=MODEL

The prompt is made here, with the tokenizer's chat template, and sent as token ids; what comes back is logged as the ids that were
sampled with the log-probabilities that the server gives. A server that takes only text, or gives only text, is used too: then ids
and log-probabilities stay out of the log.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from agents.agent import Action, Engine, History
from agents.lm import TokenAgent
from agents.sampling import Sampling

if TYPE_CHECKING:
    from openai.types import Completion, CompletionChoice

ASKED = {"return_token_ids": True, "min_p": 0.0, "repetition_penalty": 1.0}
"""Beyond OpenAI's own arguments: ids of what was sampled, and nothing cut off or discouraged by a server's own defaults."""


class RemoteAgent(TokenAgent):
    """Asks a server for each action.

    Args:
        url: of the server's API, such as http://localhost:8000/v1.
        tokenizer: of the served model.
        model: its name there; None takes the only one that the server lists.
        sampling: how tokens are drawn. Log-probabilities are what the server gives: vLLM's and llama.cpp's are of the model itself.
        concurrency: most requests at once.
        retries: of a request that gets no answer, or one of an overloaded or broken server (waiting longer each time).
        timeout: seconds that one request may take.

    The key, where the server wants one, is taken from OPENAI_API_KEY.

    Raises:
        ValueError: a number that makes no sense, the package openai is not there, or the server lists no model or several.
        OSError: the server cannot be reached.
    """

    def __init__(
        self,
        url: str,
        tokenizer: PreTrainedTokenizerBase,
        model: str | None = None,
        sampling: Sampling = Sampling(),
        concurrency: int = 64,
        retries: int = 5,
        timeout: float = 600.0,
    ) -> None:
        super().__init__(tokenizer)
        if concurrency < 1 or retries < 0 or not timeout > 0:
            raise ValueError(
                f"concurrency={concurrency}, retries={retries}, timeout={timeout}: wanted at least 1, at least 0, and more than 0"
            )
        try:
            import openai
        except ImportError as error:
            raise ValueError("agents on a server need the package openai: pip install 'reasoning-gym-offline[remote]'") from error
        self.url, self.sampling, self.concurrency = url, sampling, concurrency
        key = os.environ.get("OPENAI_API_KEY") or "none"
        self.client = openai.OpenAI(base_url=url, api_key=key, max_retries=retries, timeout=timeout)
        self.model = model or self._only_model()
        # llama.cpp's names the model by its file, wherever that lies.
        self.name = f"{os.path.basename(self.model) if os.path.isabs(self.model) else self.model} served"
        self._text_only = False

    def act(self, histories: Sequence[History]) -> list[Action]:
        """Ask for the next action of every history; see `agents.agent.Agent.act`."""
        engine, found = self.engine(), dict[int, Action]()
        for history in histories:
            engine.add_request(history)
        while len(found) < len(histories):
            found |= {id(history): action for history, action in engine.step()}
        engine.close()
        return [found[id(history)] for history in histories]

    def engine(self) -> RemoteEngine:
        """Answers in the order in which the server gives them."""
        return RemoteEngine(self)

    def complete(self, history: History) -> Action:
        """Ask for one action.

        Raises:
            OSError, ValueError: no answer, or one that says what is wrong, with what the server said.
        """
        answer = self._ask(history)
        if answer is None:
            return Action("", (), (), closed=False)
        choice = answer.choices[0]
        ids, logps = _sampled(choice, answer.usage.completion_tokens if answer.usage else None, self.prompt.closer)
        if logps is None:
            self._warn("log-probabilities")
        if ids is None:
            self._warn("token ids")
            return Action(choice.text, closed=choice.finish_reason == "stop")
        return Action(self.decode(ids), tuple(ids), None if logps is None else tuple(logps), choice.finish_reason == "stop")

    def _ask(self, history: History) -> Completion | None:
        """The server's answer; None where the context is full."""
        import openai

        try:
            if not self._text_only:
                try:
                    return self._request(history, [token for piece in self.prompt.pieces(history.turns) for token in piece.tokens])
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if _full(error):
                        return None
                    found = self._request(history, self.prompt.text(history.turns))
                    self._text_only = True  # only now: what is wrong with both is no matter of ids
                    return found
            return self._request(history, self.prompt.text(history.turns))
        except openai.APIConnectionError as error:
            raise ConnectionError(f"no answer from {self.url} ({error.__cause__ or error}): is the server up?") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise PermissionError(f"{self.url} wants a key that it knows in OPENAI_API_KEY: {error.message}") from error
        except openai.NotFoundError as error:
            raise ValueError(f"{self.url} has no model {self.model!r} ({error.message}): it lists {self._models()}") from error
        except openai.APIStatusError as error:
            if _full(error):
                return None
            raise OSError(f"{self.url} answered {error.status_code}: {error.message}") from error

    def _request(self, history: History, prompt: list[int] | str) -> Completion:
        sampling = self.sampling
        seed = zlib.crc32(f"{history.task}|{history.seed}|{len(history.turns)}".encode()) >> 1  # servers want 31 bits
        asked: dict[str, Any] = ASKED | {"top_k": sampling.top_k, "stop_token_ids": [self.prompt.closer]}
        return self.client.completions.create(
            model=self.model,
            prompt=prompt,
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=seed,
            logprobs=1,
            extra_body=None if isinstance(prompt, str) else asked,
        )

    def _models(self) -> list[str]:
        return [model.id for model in self.client.models.list()]

    def _only_model(self) -> str:
        import openai

        try:
            listed = self._models()
        except openai.APIConnectionError as error:
            raise ConnectionError(f"no answer from {self.url} ({error.__cause__ or error}): is the server up?") from error
        except openai.APIStatusError as error:
            raise OSError(f"{self.url} lists no models ({error.message}): give --agent-args model=NAME") from error
        if len(listed) != 1:
            raise ValueError(f"{self.url} lists the models {listed}: give --agent-args model=NAME")
        return listed[0]

    def _warn(self, what: str) -> None:
        warnings.warn(
            f"{self.url} gives no {what}, or not all of an action: they stay out of the log (learners take the reference for what "
            "played it)",
            stacklevel=2,
        )


class RemoteEngine(Engine):
    """Requests in threads, as many at once as the agent's concurrency."""

    def __init__(self, agent: RemoteAgent) -> None:
        self._agent: RemoteAgent = agent
        self._pool = ThreadPoolExecutor(agent.concurrency, "request")
        self._asked: dict[Future[Action], History] = {}

    def add_request(self, history: History) -> None:
        """As `Engine.add_request`."""
        self._asked[self._pool.submit(self._agent.complete, history)] = history

    def step(self) -> list[tuple[History, Action]]:
        """Wait for an answer. Raises as `RemoteAgent.complete`."""
        done, _ = wait(self._asked, return_when=FIRST_COMPLETED)
        return [(self._asked.pop(future), future.result()) for future in done]

    def close(self) -> None:
        """Drop the requests that were not sent yet, and do not wait for the others."""
        self._asked = {}
        self._pool.shutdown(wait=False, cancel_futures=True)


def _sampled(choice: CompletionChoice, count: int | None, closer: int) -> tuple[list[int] | None, list[float] | None]:
    """The sampled ids and their log-probabilities, as far as a server gives them.

    vLLM: `token_ids` beside `logprobs.token_logprobs`; SGLang: `response_token_ids`. llama.cpp: a list of objects with `id` and
    `logprob` under `logprobs.content`, without the tokens that end within a character: those of an action that has one are
    fewer than the `count` that it has sampled, and do not say the text. (Versions that leave out the `closer` have one less, too.)
    """
    found, extra = choice.logprobs, choice.model_extra or {}
    given: list[int] | None = extra.get("token_ids") or extra.get("response_token_ids")
    if found is None:
        return given, None
    if content := (found.model_extra or {}).get("content"):
        ids = [entry["id"] for entry in content]
        silent = choice.finish_reason == "stop" and ids[-1] != closer
        if count is not None and count - len(ids) > silent:
            return None, None
        return ids, [entry["logprob"] for entry in content]
    logps = found.token_logprobs
    return given, logps if given and logps and len(given) == len(logps) else None


def _full(error: Any) -> bool:
    """Whether a server refuses a prompt because it is too long."""
    return "context" in error.message.lower() and any(word in error.message.lower() for word in ("length", "exceed", "size"))
