"""The training loop: Muon's step is orthogonal, and an interrupted run ends where an uninterrupted one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.loop import fit
from training.muon import Muon, orthogonal, split


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 16, 16)])
def test_orthogonal_levels_the_singular_values(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = torch.linalg.svdvals(matrices), torch.linalg.svdvals(orthogonal(matrices))
    assert after.max() < 1.3
    # Five iterations lift a value of a hundredth of the norm to the plateau; what is smaller may stay behind.
    assert (after > 0.5)[before > 0.05 * before.norm(dim=-1, keepdim=True)].all()


def test_orthogonal_keeps_the_singular_vectors() -> None:
    matrix = torch.randn(1, 6, 20, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.mT @ orthogonal(matrix) @ v.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)), atol=1e-5, rtol=0)
    assert (inner.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_a_convolution_steps_as_its_matrix_does_and_equal_shapes_do_not_mix() -> None:
    draw = torch.Generator().manual_seed(0)
    weights, gradients = torch.randn(2, 20, 18, 3, 3, generator=draw), torch.randn(2, 20, 18, 3, 3, generator=draw)
    together = [nn.Parameter(weight.clone(memory_format=torch.channels_last)) for weight in weights]
    alone = [nn.Parameter(weight.flatten(1).clone()) for weight in weights]
    for parameters, optimisers in ((together, [Muon(together, lr=0.1)]), (alone, [Muon([p], lr=0.1) for p in alone])):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.reshape(parameter.shape)
        for optimiser in optimisers:
            optimiser.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.flatten(1), other)


def test_split_gives_every_trained_weight_to_one_optimiser() -> None:
    model = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 32), nn.Conv2d(32, 4, 3), nn.LayerNorm(32))
    model[3].weight.requires_grad_(False)
    inner, outer = split(model)
    assert [*map(id, inner)] == [id(model[1].weight)]
    assert {*map(id, inner + outer)} == {id(p) for p in model.parameters() if p.requires_grad}


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(folder: str, stop: int | None = None) -> Tensor:
        draws = 0

        def loss(model: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
            nonlocal draws
            draws += 1
            if draws == stop:
                raise KeyboardInterrupt
            x = torch.randn(8, 20, generator=generator)
            return (model(x) - x).square().mean(), {}

        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(20, 24), nn.Tanh(), nn.Linear(24, 20))
        trained = fit("toy", network, loss, tmp_path / folder, steps=8, rate=0.01, seed=5, warmup=2, save_every=3)
        return torch.cat([p.flatten() for p in trained.parameters()])

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", stop=6)
    torch.testing.assert_close(run("cut"), whole, atol=0, rtol=0)
    assert '"step": 8' in capsys.readouterr().out
