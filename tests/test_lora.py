"""LoRAs of every kind against the pipeline's own, where their files are looked for, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from rnri import models
from rnri.models.adapter import ModelAdapter
from rnri.models.loading import Loading
from tests import tiny, tiny_families
from tests.hub import REPOSITORY, Hub, hub

__all__ = ["hub"]

PROMPTS = ["a red ball"]
CLOSE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.pipeline(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """A LoRA's file, and what the network says with it."""
    pipe = tiny.pipeline()
    file = trained(pipe, tmp_path_factory.mktemp("lora"), {"unet": ["to_q", "to_v"]})
    return file, output(models.from_pipe(pipe))


def trained(pipe: Any, to: Path, parts: dict[str, list[str]], seed: int = 1) -> Path:
    """The file of a LoRA of these layers of these parts, random, which the pipeline has from now on."""
    layers = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, names in parts.items():
            network = getattr(pipe, part)
            network.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=names, init_lora_weights=False))
            layers[f"{part}_lora_layers"] = get_peft_model_state_dict(network)
    pipe.save_lora_weights(to, **layers)
    return next(to.iterdir())


def load(folder: Path, *lora: object, **how: Any) -> ModelAdapter:
    return models.load(str(folder), device="cpu", loading=Loading(lora=tuple(map(str, lora)), **how))


def output(model: ModelAdapter) -> Tensor:
    """What the network says of noise, told a prompt that its own text encoders read."""
    z = torch.randn(1, *model.latent_shape((32, 32)), generator=torch.Generator().manual_seed(0))
    return model.denoiser(model.embed(PROMPTS))(z, 499.0)


# --- what they do -----------------------------------------------------------------------------------------------


def test_a_lora_is_merged(folder: Path, lora: tuple[Path, Tensor]) -> None:
    path, expected = lora
    plain, model = load(folder), load(folder, path)
    torch.testing.assert_close(output(model), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(output(model), output(plain), rtol=1e-3)
    assert model.fingerprint != plain.fingerprint
    torch.testing.assert_close(output(load(folder, f"{path.parent}@0")), output(plain))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("sdxl", {"unet": ["to_k"], "text_encoder": ["q_proj"], "text_encoder_2": ["v_proj"]}),
        ("sd3", {"transformer": ["to_q", "add_k_proj"]}),
        ("flux-dev", {"transformer": ["to_q", "to_out.0"], "text_encoder": ["q_proj"]}),
        ("sana", {"transformer": ["to_v"]}),
    ],
)
def test_so_are_those_of_other_families_in_all_their_parts(
    name: str, parts: dict[str, list[str]], tmp_path: Path
) -> None:
    pipe = tiny_families.build(name)
    pipe.save_pretrained(tmp_path / "model")
    plain = output(load(tmp_path / "model"))
    for part, names in parts.items():
        alone = tiny_families.build(name)
        file = trained(alone, tmp_path / part, {part: names})
        expected = output(models.from_pipe(alone))
        assert ((expected - plain).norm() / plain.norm()).item() > 1e-3
        torch.testing.assert_close(output(load(tmp_path / "model", file)), expected, **CLOSE)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_two_at_once_add_up(folder: Path, tmp_path: Path) -> None:
    files = [trained(tiny.pipeline(), tmp_path / str(n), {"unet": ["to_q", "to_v"]}, seed=n) for n in (1, 2)]
    pipe = tiny.pipeline()
    for n, file in enumerate(files):
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=str(n))
    pipe.set_adapters(["0", "1"], [0.5, 2.0])
    expected = output(models.from_pipe(pipe))
    torch.testing.assert_close(output(load(folder, f"{files[0]}@0.5", f"{files[1]}@2")), expected, **CLOSE)


def test_the_kohya_format_is_read_with_its_alpha(folder: Path, tmp_path: Path) -> None:
    """Names with underscores, down and up, scaled by alpha over rank: LCM-LoRA and most of what is published."""
    to_q = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
    generator, rank, alpha = torch.Generator().manual_seed(0), 4, 1.0
    pipe = tiny.pipeline()
    weight = pipe.unet.get_submodule(to_q).weight.data
    down, up = (
        torch.randn(*shape, generator=generator) for shape in ((rank, weight.shape[1]), (weight.shape[0], rank))
    )
    layer = f"lora_unet_{to_q.replace('.', '_')}"
    tensors = {
        f"{layer}.lora_down.weight": down,
        f"{layer}.lora_up.weight": up,
        f"{layer}.alpha": torch.tensor(alpha),
    }
    save_file(tensors, tmp_path / "kohya.safetensors")
    weight += 0.5 * alpha / rank * up @ down
    model = load(folder, f"{tmp_path / 'kohya.safetensors'}@0.5")
    torch.testing.assert_close(output(model), output(models.from_pipe(pipe)), **CLOSE)
    assert not torch.allclose(output(model), output(load(folder)), rtol=1e-3)


# --- where they are ---------------------------------------------------------------------------------------------


def test_they_are_found_in_a_repository_and_in_the_cache(
    folder: Path,
    lora: tuple[Path, Tensor],
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars are shown where there is no terminal, too
    path, expected = lora
    hub.folder = hub.cache.parent / "repository"
    (hub.folder / "steps").mkdir(parents=True)
    for name in ("pytorch_lora_weights.safetensors", "steps/style.safetensors"):
        (hub.folder / name).write_bytes(path.read_bytes())
    names = (REPOSITORY, f"{REPOSITORY}/steps/style.safetensors")
    for name in names:
        with pytest.raises(ValueError, match="LoRA: owner/name is not downloaded and the Hub is out of reach"):
            load(folder, name, local_files_only=True)
        assert not hub.asked
        capfd.readouterr()
        torch.testing.assert_close(output(load(folder, name)), expected, **CLOSE)
        assert "100%" in capfd.readouterr().err
        hub.asked.clear()
    for name in names:
        torch.testing.assert_close(output(load(folder, name, local_files_only=True)), expected, **CLOSE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    torch.testing.assert_close(output(load(folder, f"{REPOSITORY}@1")), expected, **CLOSE)
    assert not hub.asked


def test_one_of_several_is_said(folder: Path, lora: tuple[Path, Tensor], hub: Hub) -> None:
    path, expected = lora
    hub.folder = hub.cache.parent / "repository"
    hub.folder.mkdir()
    with pytest.raises(ValueError, match=r"LoRA owner/name has no \.safetensors file"):
        load(folder, REPOSITORY)
    for name in ("b.safetensors", "a.safetensors"):
        (hub.folder / name).write_bytes(path.read_bytes())
    for place in (REPOSITORY, hub.folder):
        complaint = rf"{place} has a\.safetensors, b\.safetensors: say which, like {place}/a\.safetensors$"
        with pytest.raises(ValueError, match=complaint):
            load(folder, place)
    torch.testing.assert_close(output(load(folder, hub.folder / "b.safetensors")), expected, **CLOSE)


# --- what is refused --------------------------------------------------------------------------------------------


def test_what_is_no_lora_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "style.safetensors").write_bytes(b"nothing")
    (tmp_path / "style.bin").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"LoRA .*style\.safetensors cannot be added to .* \("):
        load(folder, tmp_path / "style.safetensors")
    with pytest.raises(ValueError, match=r"style\.bin is not read: only \.safetensors files are"):
        load(folder, tmp_path / "style.bin")
    for scale in ("much", "nan"):
        with pytest.raises(ValueError, match="has no scale after its @: give a number, like style@"):
            load(folder, f"style@{scale}")
    for name in ("style", "style.safetensors", "./no/style.safetensors", "owner/style.safetensors", "a/b/style"):
        with pytest.raises(ValueError, match="does not exist: check the path, or give owner/name of one on the Hub"):
            load(folder, name)


def test_what_the_hub_lacks_is_refused(folder: Path, hub: Hub) -> None:
    for name in (REPOSITORY, f"{REPOSITORY}/style.safetensors"):
        with pytest.raises(ValueError, match="LoRA: the Hub has no owner/name, or it is private"):
            load(folder, name)
    hub.folder = hub.cache.parent
    with pytest.raises(ValueError, match=r"LoRA: owner/name has no file style\.safetensors: check its path"):
        load(folder, f"{REPOSITORY}/style.safetensors")


@pytest.mark.parametrize("where", [0, 1])
def test_one_for_another_kind_of_model_is_refused(
    folder: Path, lora: tuple[Path, Tensor], tmp_path: Path, where: int
) -> None:
    """It would change nothing, and diffusers only logs so."""
    sd3 = tiny_families.build("sd3")
    file = trained(sd3, tmp_path / "lora", {"transformer": ["to_q"]})
    if where:
        tiny_families.build("sd3").save_pretrained(tmp_path / "sd3")
        folder, file = tmp_path / "sd3", lora[0]
    with pytest.raises(ValueError, match=r"LoRA .*\.safetensors changes nothing in .*: it was made for another kind"):
        load(folder, file)
