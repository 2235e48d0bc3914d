"""What is downloaded, what is found in the cache, and what is said where the Hub gives nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import huggingface_hub.constants
import pytest
import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors.torch import load_file

from rnri import models
from rnri.models.captioner import Captioner
from rnri.models.loading import Loading
from rnri.models.quiet import quiet
from tests import tiny
from tests.conftest import SOURCE, Run
from tests.hub import COMMIT, REPOSITORY, Hub, hub
from tests.test_cli_controls import blip

__all__ = ["blip", "hub"]

NETWORKS = ("vae", "unet", "text_encoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny.save(tiny.pipeline(), tmp_path_factory.mktemp("tiny"))
    (made / "rnri.json").write_text('{"steps": 7, "guidance": 1.5}')
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def load(**how: Any) -> Any:
    return models.load(REPOSITORY, device="cpu", loading=Loading(**how))


def output(model: Any) -> torch.Tensor:
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    result: torch.Tensor = model.denoiser(model.embed(["a red ball"]))(z, 499.0)
    return result


def pickle(folder: Path, *parts: str) -> None:
    """The weights of these parts as pickles too."""
    for part in parts:
        (path,) = (folder / part).glob("*model.safetensors")
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(path), path.with_name(name))


def refused(**how: Any) -> str:
    """The one line that is said of a checkpoint on the Hub."""
    with pytest.raises(ValueError, match=f"^{REPOSITORY}") as raised:
        load(**how)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def cached(hub: Hub, folder: Path, *, without: str = "") -> Path:
    """A checkpoint in the cache, as the Hub's client lays it out, where it asks for nothing."""
    home = hub.cache / f"models--{REPOSITORY.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    for path in snapshot.rglob(without) if without else ():
        path.unlink()
    return snapshot


# --- downloads --------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_downloaded_once_and_progress_is_shown(
    hub: Hub, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.folder = folder
    model = load()
    assert torch.equal(output(model), output(models.load(str(folder), device="cpu")))
    assert (model.defaults.steps, model.defaults.guidance) == (7, 1.5)  # what stands beside the index comes too
    shown = capfd.readouterr().err
    assert "Fetching" in shown
    assert "100%" in shown
    asked = len(hub.asked)
    assert load(local_files_only=True).fingerprint == model.fingerprint
    assert len(hub.asked) == asked
    load()
    assert not [path for path in hub.asked[asked:] if "/resolve/" in path and "model_index" not in path]
    assert "%" not in capfd.readouterr().err


def test_of_several_copies_one_is_downloaded(hub: Hub, folder: Path, copy: Path) -> None:
    pickle(copy, *NETWORKS)
    for path in [*copy.rglob("*model.*")]:
        shutil.copy(path, path.with_suffix(f".fp16{path.suffix}"))
    hub.folder = copy
    assert torch.equal(output(load()), output(models.load(str(folder), device="cpu")))
    snapshot = hub.cache / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / COMMIT
    found, whole = (
        {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()} for home in (snapshot, folder)
    )
    assert found == whole


@pytest.mark.parametrize("parts", [("unet",), ("vae", "unet", "text_encoder")])
def test_pickles_are_downloaded_beside_safetensors(hub: Hub, folder: Path, copy: Path, parts: tuple[str, ...]) -> None:
    pickle(copy, *parts)
    for part in parts:
        (path,) = (copy / part).glob("*.safetensors")
        path.unlink()
    hub.folder = copy
    expected = output(models.load(str(folder), device="cpu"))
    assert torch.equal(output(load(allow_pickle=parts)), expected)
    assert torch.equal(output(load(allow_pickle=parts, local_files_only=True)), expected)


def test_so_is_a_variant_in_pieces(hub: Hub, folder: Path, tmp_path: Path) -> None:
    hub.folder = tmp_path / "variant"
    tiny.pipeline().save_pretrained(hub.folder, variant="fp16", max_shard_size="300KB")
    assert len([*(hub.folder / "unet").glob("*.fp16-*-of-*.safetensors")]) > 1
    assert torch.equal(output(load(variant="fp16")), output(models.load(str(folder), device="cpu")))


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`:UserWarning")  # diffusers' own
def test_so_is_a_tiny_autoencoder(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars are shown where there is no terminal, too
    hub.folder = hub.cache / "taesd"
    tiny.autoencoder("tiny").save_pretrained(hub.folder)
    capfd.readouterr()
    for only, shows in ((False, True), (True, False)):
        model = models.load(str(folder), device="cpu", loading=Loading(preview=REPOSITORY, local_files_only=only))
        assert model.tiny is not None
        assert ("%" in capfd.readouterr().err) is shows


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`:UserWarning")
def test_so_is_a_captioner(hub: Hub, blip: Path, run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")
    how = ("--prompt", "auto", "--captioner", REPOSITORY, "--model", model, "-o", "way.safetensors")
    code, _, err = run("invert", "picture.png", *how, "--local-files-only")
    assert code == 2
    assert err.splitlines()[-1].startswith("rnri: no captioner 'owner/name': ")
    assert not hub.asked
    hub.folder = blip
    code, _, err = run("invert", "picture.png", *how)
    assert (code, "100%" in err) == (0, True), err
    hub.asked.clear()
    code, _, err = run("invert", "picture.png", *how, "--local-files-only", "--force")
    assert (code, "100%" in err, hub.asked) == (0, False, [])


def test_progress_is_shown_as_it_was_afterwards() -> None:
    for before, switch in ((True, disable_progress_bars), (False, enable_progress_bars)):
        switch()
        with quiet():
            assert are_progress_bars_disabled()
        with quiet(bars=True):
            assert are_progress_bars_disabled() is before  # who wants none is shown none
        assert are_progress_bars_disabled() is before


def test_progress_is_as_it_was_after_two_threads() -> None:
    """The second is within when the first leaves, as two prompts that are read at once are."""
    enable_progress_bars()
    first, second = quiet(), quiet()
    for step in (first.__enter__, second.__enter__):
        step()
    first.__exit__(None, None, None)
    assert are_progress_bars_disabled()
    with quiet(bars=True):
        assert not are_progress_bars_disabled()
    second.__exit__(None, None, None)
    assert not are_progress_bars_disabled()


# --- the cache --------------------------------------------------------------------------------------------------


def test_what_is_in_the_cache_needs_no_network(hub: Hub, folder: Path) -> None:
    cached(hub, folder)
    assert torch.equal(output(load(local_files_only=True)), output(models.load(str(folder), device="cpu")))
    assert not hub.asked


def test_nor_does_it_where_the_hub_is_switched_off(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.folder = folder
    expected = output(load())
    hub.asked.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(output(load()), expected)
    assert not hub.asked


LOST = ("unet/*.safetensors", "vae/config.json", "tokenizer/*.json", "tokenizer/tokenizer.json")


@pytest.mark.parametrize("lost", LOST)
def test_a_part_of_a_checkpoint_in_the_cache_is_refused(hub: Hub, folder: Path, lost: str) -> None:
    cached(hub, folder, without=lost)
    with pytest.raises(ValueError, match=rf"^owner/name: its {lost.partition('/')[0]} cannot be loaded \(") as raised:
        load(local_files_only=True)
    assert "\n" not in str(raised.value)


def test_a_checkpoint_in_pieces_is_whole_or_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tiny.pipeline().unet.save_pretrained(copy / "unet", max_shard_size="300KB")
    pieces = sorted((copy / "unet").glob("*-of-*.safetensors"))
    assert len(pieces) > 1
    whole = models.load(str(copy), device="cpu")
    assert torch.equal(output(whole), output(models.load(str(folder), device="cpu")))
    pieces[1].unlink()
    with pytest.raises(ValueError, match="copy: its unet cannot be loaded") as raised:
        models.load(str(copy), device="cpu")
    assert "\n" not in str(raised.value)


# --- what the Hub does not give ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (
            "GatedRepo",
            r"owner/name is gated: accept its terms at https://huggingface\.co/owner/name, then run 'hf auth",
        ),
        ("RepoNotFound", "the Hub has no owner/name, or it is private: check the name"),
        ("EntryNotFound", "owner/name is not in the diffusers layout"),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_one_line(hub: Hub, code: str, complaint: str) -> None:
    hub.code = code
    with pytest.raises(ValueError, match=complaint) as raised:
        load()
    assert "\n" not in str(raised.value)


def test_what_a_checkpoint_has_instead_is_said_before_it_is_downloaded(hub: Hub, copy: Path) -> None:
    hub.folder = copy
    assert refused(allow_pickle=("unet",)) == "owner/name: its unet is no pickle: leave --allow-pickle unet out"
    assert refused(allow_pickle=("net",)).startswith("owner/name has no component 'net': it has ")
    complaint = "owner/name: its text_encoder cannot be loaded (it has no weights of variant fp16): leave --variant out"
    assert refused(variant="fp16") == complaint
    pickle(copy, *NETWORKS)
    for part in ("unet", "vae"):
        (path,) = (copy / part).glob("*.safetensors")
        path.unlink()
    assert refused(allow_pickle=("vae",)) == (
        "owner/name: its unet cannot be loaded (pickles may run code): if you trust them, "
        "use --allow-pickle vae --allow-pickle unet, in Python Loading(allow_pickle=('vae', 'unet'))"
    )
    for path in [*copy.rglob("*.bin")]:
        path.rename(path.with_suffix(".fp16.bin"))
    only, asked = "(its only weights are of variant fp16)", "use --variant fp16, in Python Loading(variant='fp16')"
    assert refused(allow_pickle=NETWORKS) == f"owner/name: its text_encoder cannot be loaded {only}: {asked}"
    assert refused(allow_pickle=NETWORKS, variant="bf16").endswith(f"(it has no weights of variant bf16): {asked}")
    assert refused(allow_pickle=("unet", "vae")) == f"owner/name: its unet cannot be loaded {only}: use another model"
    shutil.rmtree(copy / "vae")
    assert refused() == "owner/name: its vae cannot be loaded (it has no folder vae): use a whole copy"
    assert not [path for path in hub.asked if path.endswith((".bin", ".safetensors"))]


def test_what_is_no_preview_is_said_too(hub: Hub, folder: Path) -> None:
    def preview(name: str = REPOSITORY, **how: Any) -> str:
        with pytest.raises(ValueError, match=f"{name} is|no {name}") as raised:
            models.load(str(folder), device="cpu", loading=Loading(preview=name, **how))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert preview(local_files_only=True).startswith("owner/name is not downloaded and the Hub is out of reach")
    assert preview().startswith("the Hub has no owner/name, or it is private: check the name")
    assert preview("./taesd/none") == "./taesd/none is no folder, and no name on the Hub such as owner/name"
    hub.folder = folder
    assert preview() == "owner/name is no tiny autoencoder such as madebyollin/taesd"


def test_without_a_network_nothing_is_asked_for(hub: Hub) -> None:
    with pytest.raises(ValueError, match="owner/name is not downloaded and the Hub is out of reach"):
        load(local_files_only=True)
    with pytest.raises(ValueError, match="no captioner 'owner/name'"):
        Captioner.load(REPOSITORY, local_files_only=True)
    assert not hub.asked


class Broken(Exception):
    """What an HTTP library raises: neither an OSError nor a ValueError."""


@pytest.mark.parametrize("part", ["huggingface_hub.hf_hub_download", "huggingface_hub.snapshot_download"])
def test_a_connection_that_breaks_is_one_line(
    hub: Hub, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise Broken("peer closed the connection\nwithout a word")

    hub.folder = folder
    monkeypatch.setattr(part, broken)
    how = ("--prompt", SOURCE, "--model", REPOSITORY, "-o", "found.safetensors")
    code, out, err = run("invert", "picture.png", *how)
    complaint = "the Hub does not give owner/name (Broken: peer closed the connection): try again, or give a folder"
    assert (code, out, err.splitlines()[-1]) == (2, "", f"rnri: {complaint}")
    assert "Traceback" not in err


def test_so_is_one_that_breaks_anywhere_else_and_a_full_device(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {
        "the network failed (ReadError: peer closed the connection): try again": httpx.ReadError(
            "peer closed the connection"
        ),
        "the device is out of memory: try --dtype bfloat16, --offload model": torch.OutOfMemoryError("CUDA: 2 GiB"),
    }
    for complaint, error in errors.items():
        monkeypatch.setattr("rnri.images.read", Mock(side_effect=error))
        code, out, err = run("invert", "picture.png", "--prompt", SOURCE, "-o", "found.safetensors")
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"rnri: {complaint}")
        assert "Traceback" not in err
    monkeypatch.setattr("rnri.images.read", Mock(side_effect=ZeroDivisionError))
    code, out, err = run("invert", "picture.png", "--prompt", SOURCE, "-o", "found.safetensors")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("rnri: a fault of rnri, not of your input (ZeroDivisionError")
    monkeypatch.setenv("RNRI_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("invert", "picture.png", "--prompt", SOURCE, "-o", "found.safetensors")
