"""Networks that are offloaded: which lie where they run, and what reads them while they do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import CpuOffload

from rnri import models
from rnri.editing.editor import Editor
from rnri.models.loading import Loading
from rnri.models.networks import weights
from tests import tiny_families

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPT = "a red ball"
CPU = torch.device("cpu")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[set[torch.nn.Module]]:
    """The networks that lie where they run, each time one is called: a CPU moves none, but hooks are called as ever."""
    here: set[torch.nn.Module] = set()
    found: list[set[torch.nn.Module]] = []
    arrive, leave = CpuOffload.pre_forward, CpuOffload.init_hook

    def arrives(hook: Any, module: torch.nn.Module, *args: Any, **more: Any) -> Any:
        if hook.prev_module_hook is not None:  # what accelerate does where that one is not on the CPU
            hook.prev_module_hook.offload()
        here.add(module)
        found.append(set(here))
        return arrive(hook, module, *args, **more)

    def leaves(hook: Any, module: torch.nn.Module) -> Any:
        here.discard(module)
        return leave(hook, module)

    monkeypatch.setattr(CpuOffload, "pre_forward", arrives)
    monkeypatch.setattr(CpuOffload, "init_hook", leaves)
    return found


def placed(name: str, **how: Any) -> Any:
    model: Any = models.from_pipe(tiny_families.build(name))
    model.place(CPU, Loading(**how))
    return model


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux-dev"])
def test_one_network_at_a_time_lies_where_it_runs(name: str, seen: list[set[torch.nn.Module]]) -> None:
    editor = Editor(placed(name, offload="model"))
    found = editor.invert(torch.zeros(1, 3, 32, 32), PROMPT, steps=1, resolution=(32, 32))
    editor.edit(found, "a blue ball", guidance=2.0, negative="" if name == "flux-dev" else "green")
    editor.reconstruct(found)
    editor.generate(PROMPT, steps=1, size=(32, 32))
    assert all(len(each) == 1 for each in seen)
    assert set().union(*seen) == set(editor.model.networks)  # type: ignore[attr-defined]


def test_it_is_one_in_any_order(seen: list[set[torch.nn.Module]]) -> None:
    model = placed("sdxl", offload="model")
    condition = model.embed([PROMPT])
    latents = model.encode(torch.zeros(1, 3, 32, 32))
    m = model.denoiser(condition)
    model.decode(m(model.decode(latents).new_zeros(latents.shape), 499.0))
    m(latents, 250.0)
    assert all(len(each) == 1 for each in seen)


def test_encoders_that_are_called_again_stay(seen: list[set[torch.nn.Module]], monkeypatch: pytest.MonkeyPatch) -> None:
    model = placed("sd", offload="model")
    model.embed([PROMPT])
    moved: list[torch.nn.Module] = []
    monkeypatch.setattr(CpuOffload, "init_hook", lambda hook, module: moved.append(module))
    model.embed([PROMPT])
    assert model.pipe.text_encoder not in moved
    assert model.network in moved


def test_what_is_fused_is_offloaded_layer_by_layer_with_the_rest() -> None:
    networks = [placed("sd", fuse_qkv=True, offload=how).network for how in ("none", "sequential")]
    fused = [module.to_qkv for module in networks[1].modules() if hasattr(module, "to_qkv")]
    assert fused
    assert all(each.weight.is_meta for each in fused)
    for whole, kept in zip(*map(weights, networks), strict=True):
        assert torch.equal(whole, kept)


def test_latents_are_scaled_where_they_are_not_where_the_autoencoder_waits() -> None:
    """On the meta device, where nothing is computed, but tensors of two devices do not mix either."""
    pipe = tiny_families.build("flux2-klein")
    meta = torch.device("meta")
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            cpu_offload_with_hook(part, meta)
    model = models.from_pipe(pipe)
    latents = torch.zeros(1, *model.latent_shape((64, 64)), device=meta)
    assert model.device == meta
    assert pipe.vae.bn.running_mean.device == CPU
    assert model.decode(latents).shape == (1, 3, 64, 64)
    assert model.encode(torch.zeros(1, 3, 64, 64)).shape == latents.shape
