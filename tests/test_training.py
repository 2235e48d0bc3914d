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


def test_a_run_of_minutes_ends_and_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[float] = []

    def loss(model: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(8, 20, generator=generator)
        steps.append(0.0)
        return (model(x) - x).square().mean(), {}

    def run(**how: float) -> int:
        before = len(steps)
        fit("toy", nn.Linear(20, 20), loss, tmp_path, steps=10**6, rate=0.01, seed=5, warmup=2, **how)  # type: ignore[arg-type]
        return len(steps) - before

    assert run(minutes=0.01) > 0
    done = torch.load(tmp_path / "toy.pt", weights_only=True)["step"]
    assert done == len(steps)
    assert run(minutes=0.01) > 0
    assert torch.load(tmp_path / "toy.pt", weights_only=True)["step"] == len(steps) > done
    assert f'"step": {len(steps) // 50 * 50}' in capsys.readouterr().out


def test_networks_with_fewer_latent_channels_go_on_as_they_are() -> None:
    from diffusers import AutoencoderTiny

    from training import autoencoder, diffusion
    from training.text import WIDTH

    old = AutoencoderTiny.from_config({**autoencoder.new().config, "latent_channels": 12})
    new, x = autoencoder.widened(old), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        latents = new.encode(x).latents
        torch.testing.assert_close(latents[:, :12], old.encode(x).latents)
        torch.testing.assert_close(new.decode(latents).sample, old.decode(latents[:, :12]).sample)

    narrow = diffusion.new().from_config({**diffusion.new().config, "in_channels": 12, "out_channels": 12})
    wide, z, text = diffusion.widened(narrow), torch.randn(1, 16, 16, 16), torch.randn(1, 8, WIDTH)
    with torch.no_grad():
        output = wide(z, 500, text).sample
        torch.testing.assert_close(output[:, :12], narrow(z[:, :12], 500, text).sample, atol=1e-5, rtol=1e-5)
    assert not output[:, 12:].any()
