from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms.batch import Level, Row, collate, gather_decisions, row_mean

# Two turns of an agent (steps 0 and 1) between texts of the environment, and a shorter row of one turn.
#   position   0   1   2   3   4   5   6   7
#   tokens    10  11  12  13  20  21  14  15
#   step      -1  -1   0   0  -1  -1   1   1
LONG = Row(
    (10, 11, 12, 13, 20, 21, 14, 15), (-1, -1, 0, 0, -1, -1, 1, 1), (0.25, 1.0), (0.5, -0.5), (0, 0, -1, -2, 0, 0, -3, -4), True
)
SHORT = Row((10, 12), (-1, 0), (0.0,), (0.1,), None)


def test_token_level() -> None:
    batch = collate([LONG, SHORT], "token")
    assert batch.decision.tolist() == [[-1, -1, 0, 1, -1, -1, 2, 3], [-1, 0, -1, -1, -1, -1, -1, -1]]
    assert batch.start.tolist() == [[1, 2, 5, 6], [0, 0, 0, 0]]
    assert batch.mask.tolist() == [[True] * 4, [True, False, False, False]]
    assert batch.reward.tolist() == [[0, 0.25, 0, 1], [0, 0, 0, 0]]
    assert batch.target.tolist()[0] == [0, 0.5, 0, -0.5]  # type: ignore[union-attr]
    assert batch.old_logp[0].tolist() == [-1, -2, -3, -4]  # type: ignore[index]
    assert batch.old_logp[1, 0].isnan()  # type: ignore[index]


def test_step_level() -> None:
    batch = collate([LONG, SHORT], "step")
    assert batch.decision.tolist()[0] == [-1, -1, 0, 0, -1, -1, 1, 1]
    assert batch.start.tolist() == [[1, 5], [0, 0]]
    assert batch.reward.tolist() == [[0.25, 1.0], [0.0, 0.0]]
    assert batch.target is not None and batch.target.tolist()[0] == [0.5, -0.5]
    assert batch.old_logp[0].tolist() == [-3, -7]  # type: ignore[index]


def test_response_level() -> None:
    batch = collate([LONG, SHORT], "response")
    assert batch.decision.tolist()[0] == [-1, -1, 0, 0, -1, -1, 0, 0]
    assert batch.start.tolist() == [[1], [0]]
    assert batch.reward.tolist() == [[1.25], [0.0]]
    assert batch.target is not None and batch.target.tolist()[0] == [0.0]


@pytest.mark.parametrize(("level", "step"), [("token", [0, 0, 1, 1]), ("step", [0, 1]), ("response", [0])])
def test_decisions_know_their_step(level: Level, step: list[int]) -> None:
    batch = collate([LONG, SHORT], level)
    assert batch.step is not None
    assert batch.step[0].tolist() == step


def test_dtypes() -> None:
    batch = collate([LONG], "step")
    assert batch.tokens.dtype == batch.decision.dtype == batch.start.dtype == torch.long
    assert batch.mask.dtype == torch.bool
    assert batch.reward.dtype == torch.float


def test_scores_of_tokens_go_to_their_decisions() -> None:
    """Agent tokens in row-major order: 1 2 (step 0) 3 4 (step 1) of the long row, 5 of the short one."""
    batch = collate([LONG, SHORT], "step")
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert gather_decisions(scores, batch).tolist() == [[3.0, 7.0], [5.0, 0.0]]
    assert row_mean(scores, batch).tolist() == [2.5, 5.0]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="unknown level 'turn'"):
        collate([LONG], "turn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty list of rows"):
        collate([], "token")
    with pytest.raises(ValueError, match="token of the agent"):
        collate([Row((1, 2), (-1, -1), ())], "token")


SCORED = replace(LONG, process_score=(0.5, 0.125))


@pytest.mark.parametrize(
    ("level", "reward"), [("token", [0, 0.25 + 0.5, 0, 1 + 0.125]), ("step", [0.75, 1.125]), ("response", [1.875])]
)
def test_process_scores_are_added_where_their_step_ends(level: Level, reward: list[float]) -> None:
    """LONG has rewards 0.25 and 1.0; all else of the batch, and the other row, stay as they are."""
    plain, scored = collate([LONG, SHORT], level), collate([SCORED, SHORT], level)
    assert scored.reward.tolist() == [reward, [0.0] * len(reward)]
    for name in ("tokens", "decision", "start", "mask", "target", "old_logp"):
        torch.testing.assert_close(getattr(scored, name), getattr(plain, name), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize(("level", "reward"), [("token", [1.5, 0.5]), ("step", [1.5, 0.5]), ("response", [2.0])])
def test_what_a_step_without_tokens_earned_is_not_lost(level: Level, reward: list[float]) -> None:
    """Steps 0 and 2 said nothing: step 0's 0.25 goes to the first step with tokens, step 2's 0.75 to the one before it."""
    row = Row((9, 1, 3), (-1, 1, 3), (0.25, 0.5, 0.75, 0.5), (0.25, 0.5, 0.75, 0.5))
    batch = collate([row], level)
    assert batch.reward.tolist() == [reward]
    assert batch.target is not None
    assert torch.equal(batch.target, batch.reward)
