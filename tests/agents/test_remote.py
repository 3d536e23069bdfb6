"""Agents on a server, against servers on this machine: small ones that answer as vLLM or llama.cpp do, and transformers' own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents import checkpoint
from agents.agent import Action, History, Turn
from agents.checkpoint import Base
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.remote import RemoteAgent
from agents.sampling import Sampling
from rollouts.collect import collect_log
from rollouts.episodes import collect, episode_keys
from rollouts.resolve import resolve_agent
from rollouts.trajectory import Trajectory, read

openai = pytest.importorskip("openai")

GREEDY = Sampling(temperature=0, max_new_tokens=12)


class Served:
    """A server on loopback whose answers are an agent's; `bodies` are the requests that came."""

    def __init__(self, agent: LMAgent, shape: str = "vllm", faults: Sequence[int] = ()) -> None:
        self.agent, self.shape, self.faults = agent, shape, list(faults)
        self.model = "small"
        self.bodies: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200, {"object": "list", "data": [{"id": owner.model, "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:
                    owner.bodies.append(body)
                    owner.at_once += 1
                    owner.most_at_once = max(owner.most_at_once, owner.at_once)
                    fault = owner.faults.pop(0) if owner.faults else None
                answer = (fault, {"error": {"message": "busy"}}) if fault else owner.complete(body)
                with owner.lock:
                    owner.at_once -= 1  # before the answer is out, which brings the next request
                self.answer(*answer)

            def answer(self, code: int, content: dict[str, Any]) -> None:
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The agent's action after a prompt, in the shape of a kind of server."""
        prompt = body["prompt"]
        if self.shape == "text" and not isinstance(prompt, str):
            return 400, {"error": {"message": "prompt must be a string."}}
        ids = self.agent.tokenizer.encode(prompt, add_special_tokens=False) if isinstance(prompt, str) else prompt
        if len(ids) > 400:
            return 400, {"error": {"message": f"This model's maximum context length is 400 tokens, you gave {len(ids)}"}}
        with self.lock:
            row = self.agent.row(History("", 0, [Turn("")]))
            row.tokens[:] = ids
            self.agent.sampler.extend([row])
            action = self.agent.action(row)
        choice: dict[str, Any] = {"index": 0, "text": action.text, "finish_reason": "stop" if action.closed else "length"}
        assert action.tokens is not None and action.logps is not None
        if self.shape == "vllm":
            tokens = [self.agent.tokenizer.decode([token]) for token in action.tokens]
            choice |= {"token_ids": action.tokens, "logprobs": {"tokens": tokens, "token_logprobs": action.logps}}
        if self.shape == "llama.cpp":
            pairs = zip(action.tokens, action.logps, strict=True)
            choice["logprobs"] = {"content": [{"id": token, "token": "?", "logprob": logp} for token, logp in pairs]}
        return 200, {"id": "1", "object": "text_completion", "created": 1, "model": body["model"], "choices": [choice]}


@pytest.fixture
def local(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LMAgent:
    return LMAgent(ActorCritic(small_lm), tokenizer, GREEDY)


@pytest.fixture
def other(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LMAgent:
    """The same model, with a cache of its own."""
    return LMAgent(ActorCritic(small_lm), tokenizer, GREEDY)


def histories(*texts: str) -> list[History]:
    return [History(f"task {index}", 0, [Turn(text)]) for index, text in enumerate(texts)]


def played(agent: Any, count: int = 6) -> dict[str, Trajectory]:
    found: dict[str, Trajectory] = {}
    keys = episode_keys(envs.make("math", count=40), count)
    collect(lambda: envs.make("math", count=40), agent, keys, lambda t: found.__setitem__(t.task, t), 4)
    return found


@pytest.mark.parametrize("shape", ["vllm", "llama.cpp"])
def test_a_served_model_plays_as_the_local_one(
    local: LMAgent, other: LMAgent, tokenizer: PreTrainedTokenizerFast, shape: str
) -> None:
    """Texts, ids and log-probabilities, over whole episodes."""
    served, here = played(RemoteAgent(Served(other, shape).url, tokenizer, sampling=GREEDY)), played(local)
    assert served.keys() == here.keys()
    for task, episode in served.items():
        assert [(s.action, s.tokens) for s in episode.steps] == [(s.action, s.tokens) for s in here[task].steps]
        assert episode.end == here[task].end
        for step, same in zip(episode.steps, here[task].steps, strict=True):
            assert step.logps == pytest.approx(same.logps, abs=1e-4)


@pytest.mark.parametrize(
    ("named", "lost", "finish", "kept"),
    [
        (3, 0, "length", True),
        (4, 0, "stop", True),
        (3, 1, "stop", True),  # the closing token was sampled and is not named
        (3, 1, "length", False),  # a token in the midst of a character is not named
        (4, 1, "stop", False),
        (3, 2, "stop", False),
    ],
)
def test_ids_that_are_not_all_there_are_not_logged(
    other: LMAgent,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    named: int,
    lost: int,
    finish: str,
    kept: bool,
) -> None:
    """As llama.cpp's answers: 3 tokens and perhaps the closing one are named, `lost` more were sampled."""
    ids = [*tokenizer.encode("one two three")[:3], Prompt(tokenizer).closer][:named]
    content = [{"id": token, "token": "?", "logprob": -0.5} for token in ids]
    choice = {"index": 0, "text": "one", "finish_reason": finish, "logprobs": {"content": content}}
    usage = {"prompt_tokens": 1, "completion_tokens": named + lost, "total_tokens": 1 + named + lost}
    server = Served(other)
    answer = {"id": "1", "object": "text_completion", "created": 1, "model": "small", "choices": [choice], "usage": usage}
    monkeypatch.setattr(server, "complete", lambda body: (200, answer))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (action,) = RemoteAgent(server.url, tokenizer, sampling=GREEDY).act(histories("one"))
    assert (action.tokens, action.logps) == ((tuple(ids), (-0.5,) * named) if kept else (None, None))
    assert any("not all of an action" in str(warning.message) for warning in said) is not kept


def test_a_model_named_by_its_file_is_called_as_that(other: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    """In logs, which other machines read; the server is asked for it by the name that it gave."""
    server = Served(other)
    server.model = "/models/small.gguf"
    agent = RemoteAgent(server.url, tokenizer, sampling=GREEDY)
    agent.act(histories("one"))
    assert (agent.name, server.bodies[0]["model"]) == ("small.gguf served", "/models/small.gguf")


def test_a_server_that_knows_only_text_is_asked_in_text(local: LMAgent, other: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    """It refuses ids once; from then on it is sent text. Nothing of tokens is logged, and it is said."""
    server = Served(other, "text")
    with pytest.warns(UserWarning, match="gives no (log-probabilities|token ids)"):
        served = played(RemoteAgent(server.url, tokenizer, sampling=GREEDY, concurrency=1), 3)
    assert [isinstance(body["prompt"], str) for body in server.bodies[:3]] == [False, True, True]
    here = played(local, 3)
    for task, episode in served.items():
        assert "".join(s.action for s in episode.steps) == "".join(s.action for s in here[task].steps)
        assert episode.end == here[task].end
        assert all(s.tokens is None and s.logps is None for s in episode.steps)


def test_what_is_asked(other: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    """The model's whole distribution, whatever the server's own defaults; a seed of its own for each episode and turn."""
    server = Served(other)
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=7, max_new_tokens=33)
    agent = RemoteAgent(server.url, tokenizer, sampling=sampling, concurrency=1)
    agent.act([*histories("one", "two"), *histories("one")])
    first, second, again = server.bodies
    settings = {"model": "small", "temperature": 0.5, "top_p": 0.9, "top_k": 7, "max_tokens": 33, "logprobs": 1}
    defaults = {"min_p": 0.0, "repetition_penalty": 1.0, "stop_token_ids": [agent.prompt.closer], "return_token_ids": True}
    assert {key: first[key] for key in settings | defaults} == settings | defaults
    assert first["prompt"] == list(agent.prompt.environment([Turn("one")], 0))
    assert first["seed"] == again["seed"] != second["seed"]


def test_an_overloaded_server_is_asked_again(local: LMAgent, other: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    server = Served(other, faults=[503, 429])
    found = RemoteAgent(server.url, tokenizer, sampling=GREEDY).act(histories("What is 2 + 2?"))
    assert found[0].tokens == local.act(histories("What is 2 + 2?"))[0].tokens
    assert len(server.bodies) == 3


def test_so_many_requests_at_once(other: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    server = Served(other)
    RemoteAgent(server.url, tokenizer, sampling=GREEDY, concurrency=3).act(histories(*map(str, range(12))))
    assert len(server.bodies) == 12
    assert 2 <= server.most_at_once <= 3


def test_a_full_context_gives_an_empty_action(other: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    found = RemoteAgent(Served(other).url, tokenizer, sampling=GREEDY).act(histories("1 + " * 500))
    assert found == [Action("", (), (), closed=False)]


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (401, PermissionError, "OPENAI_API_KEY"),
        (404, ValueError, r"has no model 'large'.*lists \['small'\]"),
        (500, OSError, "answered 500: .*busy"),
    ],
)
def test_a_server_that_refuses(
    other: LMAgent, tokenizer: PreTrainedTokenizerFast, code: int, error: type[Exception], said: str
) -> None:
    agent = RemoteAgent(Served(other, faults=[code]).url, tokenizer, model="large", sampling=GREEDY, retries=0)
    with pytest.raises(error, match=said):
        agent.act(histories("one"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_no_server(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConnectionError, match=r"no answer from http://127\.0\.0\.1.*is the server up"):
        RemoteAgent(f"http://127.0.0.1:{free_port()}/v1", tokenizer, retries=0)


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"retries": -1}, {"timeout": 0.0}])
def test_numbers_that_make_no_sense(tokenizer: PreTrainedTokenizerFast, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        RemoteAgent("http://127.0.0.1:1/v1", tokenizer, model="m", **wrong)


def test_without_openai(tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ValueError, match=r"pip install 'reasoning-gym-offline\[remote\]'"):
        RemoteAgent("http://127.0.0.1:1/v1", tokenizer, model="m")


def saved(local: LMAgent, folder: Path) -> Path:
    checkpoint.save(folder, local.sampler.model, local.tokenizer, Base("tiny", checkpoint.fingerprint(local.sampler.model.lm)))
    return folder


def test_by_its_address(local: LMAgent, other: LMAgent, tmp_path: Path) -> None:
    server, folder = Served(other), saved(local, tmp_path / "model")
    agent, header = resolve_agent(server.url, GREEDY, arguments={"tokenizer": str(folder), "concurrency": 2})
    found = collect_log("math", {"count": 40}, agent, header, tmp_path / "log.jsonl", episodes=3)
    assert read(tmp_path / "log.jsonl").headers[0].agent == "small served"
    assert all(step.tokens and step.logps for t in found for step in t.steps)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({}, "give --agent-args tokenizer="), ({"tokenizer": "MODEL", "modle": "x"}, "takes no argument 'modle'.*model")],
)
def test_arguments_that_do_not_fit(local: LMAgent, tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    folder = saved(local, tmp_path / "model")
    arguments = {key: str(folder) if value == "MODEL" else value for key, value in arguments.items()}
    with pytest.raises(ValueError, match=said):
        resolve_agent("http://127.0.0.1:1/v1", GREEDY, arguments=arguments)


@pytest.fixture
def transformers_serve(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> Iterator[tuple[str, Path]]:
    """transformers' own server with the small model: its API and the model's folder."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    small_lm.generation_config.eos_token_id = LMAgent(ActorCritic(small_lm), tokenizer).prompt.closer
    small_lm.save_pretrained(tmp_path / "served")
    tokenizer.save_pretrained(tmp_path / "served")
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--port", str(port), "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with open(tmp_path / "server.txt", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            assert process.poll() is None, (tmp_path / "server.txt").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", tmp_path / "served"
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_transformers_serve(transformers_serve: tuple[str, Path], local: LMAgent, tokenizer: PreTrainedTokenizerFast) -> None:
    """It takes only text and gives no log-probabilities."""
    url, folder = transformers_serve
    agent = RemoteAgent(url, tokenizer, model=str(folder), sampling=GREEDY)
    with pytest.warns(UserWarning, match="gives no"):
        found = agent.act(histories("What is 2 + 2?", "Ann has 3 apples."))
    expected = local.act(histories("What is 2 + 2?", "Ann has 3 apples."))
    assert [a.text for a in found] == [tokenizer.decode(list(a.tokens or ()), skip_special_tokens=True) for a in expected]
    assert all(a.tokens is None and a.logps is None for a in found)
