"""Calls that are captured once and run again, here as a recording on the CPU."""

from __future__ import annotations

import pytest
import torch
from recorder import OnCPU

from t2ikit.core.batch import Condition, TextEmbedding
from t2ikit.core.tensors import HostValueRead, Withheld, map_tensors, tensors_of, without_strings
from t2ikit.nn.cuda_graphs import WARM_UP, CudaGraphs


def condition(value: float, batch: int = 2) -> Condition:
    text = TextEmbedding(torch.full((batch, 3, 4), value), torch.ones(batch, 3).bool(), torch.ones(batch, 4))
    return Condition(("a cat", "a dog")[:batch], text, text[:1])


def test_a_replayed_call_sees_new_contents_and_moves_weights():
    weight, moved = torch.zeros(()), torch.zeros(())
    times = []

    def function(inputs, captured=False):
        times.append(1)
        weight.add_(inputs.text.tokens.sum())
        return {"sum": weight * 1}

    graphs = CudaGraphs(OnCPU())
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        moved += 24 * value
        found = graphs("key", function, condition(value))
        assert float(found["sum"]) == float(moved) == float(weight)
    assert len(times) == WARM_UP + 1  # the last two calls ran no Python
    assert len(graphs) == 1
    assert graphs.state_of("key", condition(1.0)) == "captured"
    assert (
        graphs.state_of("other", condition(1.0)) == graphs.state_of("key", condition(1.0, 1)) == "warming up"
    )


def test_gradients_and_an_optimiser_are_replayed():
    def trained(steps, graphs):
        weights = torch.nn.Parameter(torch.ones(4))
        optimizer = torch.optim.AdamW([weights], lr=torch.tensor(0.1), fused=True)

        def function(inputs, captured=False):
            loss = (inputs.text.tokens * weights - 1).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return {"loss": loss.detach()}

        losses = []
        for step in range(steps):
            inputs = condition(0.5 + 0.1 * step)
            losses.append(graphs("key", function, inputs)["loss"] if graphs else function(inputs)["loss"])
        return torch.stack(losses), weights.detach()

    plain, replayed = trained(6, None), trained(6, CudaGraphs(OnCPU()))
    assert torch.equal(plain[0], replayed[0])
    assert torch.equal(plain[1], replayed[1])


def test_every_shape_has_a_graph_of_its_own():
    graphs = CudaGraphs(OnCPU())
    for batch in (2, 1) * (WARM_UP + 1):
        graphs("key", lambda inputs, captured: {"sum": inputs.text.tokens.sum()}, condition(1.0, batch))
    assert len(graphs) == 2
    graphs.clear()
    assert len(graphs) == 0


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda inputs, captured: {"length": inputs.text.pooled * len(inputs.captions[0])}, HostValueRead),
        (
            lambda inputs, captured: {"sum": inputs.text.tokens * inputs.text.tokens.sum().item()},
            RuntimeError,
        ),
        (lambda inputs, captured: {"made": inputs.text.pooled * torch.tensor(2.0)}, RuntimeError),
    ],
)
def test_what_cannot_be_captured_is_an_error(read, error):
    graphs = CudaGraphs(OnCPU())
    for _ in range(WARM_UP):
        graphs("key", read, condition(1.0))
    with pytest.raises(error):
        graphs("key", read, condition(1.0))
    assert graphs.state_of("key", condition(1.0)) == "to be captured"


def test_strings_are_withheld_but_not_counted_out():
    withheld = without_strings(condition(1.0))
    assert len(withheld) == 2
    assert len(withheld[:1].captions) == 1
    for read in (lambda c: c[0], list, lambda c: "a cat" in c):
        with pytest.raises(HostValueRead):
            read(withheld.captions)
    assert isinstance(withheld.captions, Withheld)
    assert torch.equal(withheld.text.tokens, condition(1.0).text.tokens)


def test_tensors_are_found_and_replaced_wherever_they_are():
    given = {"a": [condition(1.0), None], "b": ("word", torch.zeros(1), 3)}
    assert [tuple(one.shape) for one in tensors_of(given)][-1] == (1,)
    changed = map_tensors(given, lambda tensor: tensor + 1 if tensor.is_floating_point() else tensor)
    assert float(changed["b"][1]) == 1
    assert changed["b"][::2] == ("word", 3)
    assert float(changed["a"][0].text.tokens[0, 0, 0]) == 2
