"""Policy, frozen reference and value head around any causal language model of transformers.

Three critics, and full or LoRA training (`rank`) of the policy:

| critic     | trunk of the value head                                  | extra memory            |
|------------|----------------------------------------------------------|-------------------------|
| `separate` | a second copy of the policy's trunk, trained (the papers') | one model               |
| `lora`     | the frozen base with an adapter of its own               | one adapter             |
| `shared`   | the policy's own trunk, its gradient scaled              | none                    |

The reference is the model that training starts from (the frozen base with its adapters off under LoRA, a frozen copy otherwise),
unless another one is given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from agents.attention import attending
from agents.logprob import token_log_probs, token_log_probs_and_kl
from agents.packing import Packing, feed

Role = Literal["policy", "reference", "critic"]
CriticKind = Literal["separate", "lora", "shared"]
Recomputed = Literal["none", "selective", "full"]

KEPT: list[Any] = [
    getattr(torch.ops.aten, name).default
    for name in (
        "mm",
        "addmm",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
    )
]
"""What is dear to compute again: products of states and weights, and attention by one kernel."""


class Scores(NamedTuple):
    """What one forward pass says of a batch: N agent tokens in row-major order, B rows, S decisions."""

    logp: Tensor
    """log pi of each agent token, float [N]."""
    ref_logp: Tensor | None
    """The reference's, float [N]."""
    kl: Tensor | None
    """Exact KL(pi || ref) at each agent token's state, float [N]."""
    value: Tensor | None
    """V at the state of each decision, float [B, S]."""


class ValueHead(nn.Linear):
    """Hidden state [..., D] -> value [...], in float32, zero at the start (so that V = 0 before training)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden [..., D] of any float type -> float32 [...] (float64 where the head was cast to it), under autocast too."""
        with torch.autocast(hidden.device.type, enabled=False):
            return super().forward(hidden.to(self.weight.dtype))[..., 0]


class ActorCritic(nn.Module):
    """A policy with its frozen reference and its critic.

    Args:
        lm: the causal language model that training starts from; it becomes the policy (and is changed in place).
        critic: which critic to add, or None for a policy alone.
        reference: keep a frozen copy of `lm` as the reference (free under LoRA), or this other model.
        rank: LoRA rank of the policy, and of the `lora` critic, at scale 2; 0 trains all weights.
        trunk_gradient: with the `shared` critic, the share of the value loss's gradient that reaches the policy's trunk.
    """

    def __init__(
        self,
        lm: PreTrainedModel,
        critic: CriticKind | None = None,
        reference: bool | PreTrainedModel = False,
        rank: int = 0,
        trunk_gradient: float = 0.1,
    ) -> None:
        super().__init__()
        if critic == "lora" and rank < 1:
            raise ValueError(f"critic='lora' puts an adapter on the base and needs rank >= 1, got rank={rank}")
        _check_head(lm)
        self.critic_kind, self.rank, self.trunk_gradient = critic, rank, trunk_gradient
        if reference is True:
            reference = False if rank else copy.deepcopy(lm)
        self.reference = reference.requires_grad_(False) if isinstance(reference, PreTrainedModel) else None
        self.critic = copy.deepcopy(lm.base_model).requires_grad_(True) if critic == "separate" else None
        width = cast(nn.Embedding, lm.get_input_embeddings()).weight.shape[-1]
        self.value_head = ValueHead(width) if critic else None
        self.policy = _with_adapters(lm, rank, critic == "lora") if rank else lm
        for name, parameter in self.policy.named_parameters():
            parameter.requires_grad_(not rank or "lora_" in name)

    @property
    def lm(self) -> PreTrainedModel:
        """The policy as a transformers model (with LoRA layers inside where there are adapters)."""
        return self.policy.get_base_model() if isinstance(self.policy, PeftModel) else self.policy  # type: ignore[return-value]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parameters by owner: `policy` and, where there is one, `critic`."""
        critic = [p for n, p in self.named_parameters() if _is_critic(n) and p.requires_grad]
        policy = [p for n, p in self.named_parameters() if not _is_critic(n) and p.requires_grad]
        return {"policy": policy, "critic": critic} if critic else {"policy": policy}

    def take_critic(self, other: ActorCritic) -> None:
        """Start from another model's critic: a copy of its trunk or adapter and of its value head.

        Raises:
            ValueError: one of the two has no critic, or they are of different kinds or sizes.
        """
        mine, theirs = ({n: p for n, p in model.named_parameters() if _is_critic(n)} for model in (self, other))
        shapes, found = ({n: tuple(p.shape) for n, p in parameters.items()} for parameters in (mine, theirs))
        if not mine or self.critic_kind != other.critic_kind or shapes != found:
            sizes = [sum(map(Tensor.numel, parameters.values())) for parameters in (mine, theirs)]
            raise ValueError(
                f"a critic of kind {self.critic_kind} with {sizes[0]} parameters cannot start from one of kind {other.critic_kind} "
                f"with {sizes[1]}: give one of the same kind and size"
            )
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(theirs[name])

    def checkpoint_layers(self, keep: bool = False) -> None:
        """From now on keep only what stands between layers for the gradient, and compute the rest again.

        `keep`: keep what matrix products and fused attention give as well, so that what is computed again is cheap.
        """
        for layer in self.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.forward = partial(self._checkpointed, layer.forward, keep)

    def hidden(self, role: Role, tokens: Tensor, packing: Packing | None = None) -> Tensor:
        """Final hidden states [B, T, D] of tokens [B, T], right-padded (causal, so that padding is never seen), or packed."""
        with self.trunk(role) as trunk:
            return _states(trunk, tokens, packing)

    @contextmanager
    def trunk(self, role: Role) -> Iterator[nn.Module]:
        """The transformer without output layer that computes a role's states, with the role's adapter on as long as this lasts."""
        if role == "reference" and self.reference is not None:
            trunk: nn.Module = self.reference.base_model
        else:
            trunk = self.critic if role == "critic" and self.critic is not None else self.lm.base_model
        self._running: tuple[Role, nn.Module] = role, trunk
        with self._adapter(role):
            yield trunk

    @property
    def valued_role(self) -> Role:
        """Whose states the value head reads."""
        return "policy" if self.critic_kind == "shared" else "critic"

    def logits(self, hidden: Tensor, role: Role = "policy") -> Tensor:
        """Final hidden states [..., D] -> logits [..., V]."""
        lm = self.reference if role == "reference" and self.reference is not None else self.lm
        return project(lm, hidden)

    def values(self, tokens: Tensor, hidden: Tensor | None = None, packing: Packing | None = None) -> Tensor:
        """V at every position, float [B, T]; `hidden` are the policy's states [B, T, D], which the shared critic reuses.

        Raises:
            ValueError: the model has no critic.
        """
        if self.value_head is None:
            raise ValueError("this model has no value head: load a checkpoint that was trained with a critic (such as OREO's)")
        if self.valued_role == "critic":
            return self.value_head(self.hidden("critic", tokens, packing))
        hidden = self.hidden("policy", tokens, packing) if hidden is None else hidden
        return self.value_head(hidden.detach() + self.trunk_gradient * (hidden - hidden.detach()))

    def forward(
        self,
        tokens: Tensor,
        agent: Tensor,
        start: Tensor,
        reference: bool = False,
        kl: bool = False,
        value: bool = False,
        packing: Packing | None = None,
        ref_states: Tensor | None = None,
    ) -> Scores:
        """Score a batch.

        Args:
            tokens: ids [B, T], right-padded.
            agent: bool [B, T], True at the N tokens that the agent emitted (never at position 0).
            start: long [B, S], the position before each decision's first token.
            reference, kl, value: which of the optional scores to compute.
            packing: the tokens' layout, to be computed on in place of the padded rows.
            ref_states: the reference's final hidden states before the agent's tokens, float [N, D], where they are known.
        """
        hidden = self.hidden("policy", tokens, packing)
        emitted = agent[:, 1:]
        states, targets = hidden[:, :-1][emitted], tokens[:, 1:][emitted]
        ref_logp = kl_at = None
        if kl:
            ref_states = self.reference_states(tokens, agent, packing) if ref_states is None else ref_states
            logp, ref_logp, kl_at = token_log_probs_and_kl(
                states, ref_states, targets, self.logits, lambda h: self.logits(h, "reference")
            )
        else:
            logp = token_log_probs(states, targets, self.logits)
            if reference:
                ref_logp = self.reference_logp(tokens, agent, packing)
        found = self.values(tokens, hidden, packing).gather(1, start) if value else None
        return Scores(logp, ref_logp, kl_at, found)

    @torch.no_grad()
    def reference_logp(self, tokens: Tensor, agent: Tensor, packing: Packing | None = None) -> Tensor:
        """The reference's log-probability of each token that the agent emitted, float [N]; arguments as `forward`'s."""
        states = self.reference_states(tokens, agent, packing)
        return token_log_probs(states, tokens[:, 1:][agent[:, 1:]], lambda h: self.logits(h, "reference"))

    @torch.no_grad()
    def reference_states(self, tokens: Tensor, agent: Tensor, packing: Packing | None = None) -> Tensor:
        """The reference's final hidden state before each token that the agent emitted, float [N, D]; arguments as `forward`'s."""
        return self.hidden("reference", tokens, packing)[:, :-1][agent[:, 1:]]

    def _checkpointed(self, forward: Callable[..., Any], keep: bool, *given: Any, **named: Any) -> Any:
        """A layer whose inside is not kept; what is computed again is so in the same role, by the same attention."""
        if not torch.is_grad_enabled():
            return forward(*given, **named)
        role, trunk = self._running
        attention = str(cast(Any, trunk.config)._attn_implementation)

        @contextmanager
        def again(kept: AbstractContextManager[Any]) -> Iterator[None]:
            with self._adapter(role), attending(trunk, attention), kept:
                yield

        def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
            first, second = create_selective_checkpoint_contexts(KEPT) if keep else (nullcontext(), nullcontext())
            return first, again(second)

        return checkpoint(forward, *given, use_reentrant=False, context_fn=contexts, **named)

    @contextmanager
    def _adapter(self, role: Role) -> Iterator[None]:
        """Run as `role`: the policy's adapter is on by default, the reference has none, the `lora` critic its own."""
        if not self.rank or role == "policy" or (role == "critic" and self.critic_kind != "lora"):
            yield
            return
        layers = [layer for layer in self.lm.modules() if isinstance(layer, BaseTunerLayer)]
        trained = [p for p in self.lm.parameters() if p.requires_grad]
        for layer in layers:
            layer.enable_adapters(role != "reference")
            layer.set_adapter(role if role == "critic" else "policy")
        try:
            yield
        finally:  # what is computed again is stopped by an exception where it has all that it was for
            for layer in layers:
                layer.enable_adapters(True)
                layer.set_adapter("policy")
            # peft freezes what it switches off, but one step trains both adapters.
            for parameter in trained:
                parameter.requires_grad_(True)


def project(lm: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Final hidden states [..., D] -> logits [..., V], with the scaling that some families apply after the head."""
    logits, config = cast(nn.Linear, lm.get_output_embeddings())(hidden), lm.config
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    return logits if scale == 1 else logits * scale  # a product with 1 would be one more tensor of their size


def _states(trunk: nn.Module, tokens: Tensor, packing: Packing | None) -> Tensor:
    """Final hidden states [B, T, D] of a transformer without its output layer."""
    if packing is None:
        return trunk(input_ids=tokens, use_cache=False).last_hidden_state
    return feed(trunk, packing)


def _check_head(lm: PreTrainedModel) -> None:
    """Log-probabilities are computed from hidden states; make sure that they are the model's own."""
    probe = torch.arange(4, device=lm.device)[None] % lm.config.vocab_size
    with torch.no_grad():
        ours = project(lm, lm.base_model(input_ids=probe, use_cache=False).last_hidden_state)
        theirs = lm(input_ids=probe, use_cache=False).logits
    if not torch.allclose(ours.float(), theirs.float(), atol=1e-2, rtol=1e-2):
        raise ValueError(
            f"{type(lm).__name__} changes its logits after the output layer in a way that is not known here; "
            "its log-probabilities would be wrong, so it is refused"
        )


def _is_critic(name: str) -> bool:
    return name.startswith(("critic.", "value_head.")) or ".critic." in name


def _with_adapters(lm: PreTrainedModel, rank: int, critic: bool) -> PeftModel:
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(lm, config, adapter_name="policy")
    if critic:
        adapted.add_adapter("critic", config)
    return adapted  # type: ignore[return-value]
