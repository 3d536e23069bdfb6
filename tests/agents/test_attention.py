import pytest
import torch
from torch import nn

from agents.attention import additive, alike, check_arguments


def test_what_is_not_visible_is_weighed_by_nothing() -> None:
    mask = additive(torch.tensor([[[True, False]]]), torch.float32)
    assert mask.shape == (1, 1, 1, 2)
    assert mask.softmax(-1).flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("change", "same"), [(1e-5, True), (1e-2, False)])
def test_rounding_is_told_from_another_result(change: float, same: bool) -> None:
    assert alike(torch.ones(3) * (1 + change), torch.ones(3)) is same


def test_what_a_layer_wants_of_its_attention_and_is_not_there() -> None:
    check_arguments(nn.Linear(1, 1), {"softcap": None, "s_aux": None, "dropout": 0.0}, "softcap")
    with pytest.raises(ValueError, match="Linear takes softcap"):
        check_arguments(nn.Linear(1, 1), {"softcap": 50.0}, "softcap")
