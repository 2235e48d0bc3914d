"""Files of inversions: read back to the same bits, of the present format and of 0.1, and refused where damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.inversion import Inversion, sample
from rnri_core.inversion.presets import invert
from rnri_core.sampling.steps import Schedule
from rnri_core.solvers import solver
from rnri_core.solvers.solve import Status

from tests.test_inversion import CLEAN, STEPS, ancestral, curved, same


@pytest.mark.parametrize("noise_maps", [False, True])
@pytest.mark.parametrize("schedule", [STEPS, ancestral()])
def test_a_file_comes_back_to_the_same_bits(tmp_path: Path, schedule: Schedule, noise_maps: bool) -> None:
    made = invert(curved, schedule, CLEAN, solver("gnri"), iterations=(3, 2), noise_maps=noise_maps)
    described = made.described(
        prompt="a ‘red’ ball", model="9f3a", size=(640, 480), guidance=1.5, seed=7, inverter="gnri", dtype="bfloat16"
    )
    for inversion in (made, described):
        inversion.save(tmp_path / "x.safetensors")
        loaded = Inversion.load(tmp_path / "x.safetensors")
        same(inversion, loaded)
        assert torch.equal(sample(curved, loaded.schedule, loaded.noise), sample(curved, schedule, made.noise))
        first = (tmp_path / "x.safetensors").read_bytes()
        loaded.save(tmp_path / "y.safetensors")
        assert (tmp_path / "y.safetensors").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors", "y.safetensors"]


def stored(tmp_path: Path) -> Path:
    path = tmp_path / "whole.safetensors"
    invert(curved, STEPS, CLEAN, solver("explicit")).described(prompt="a ball").save(path)
    return path


def in_format_1(inversion: Inversion, status: Status | None = None) -> bytes:
    """The file that ``Inversion.save`` of 0.1 wrote: noise maps are "corrections", and what was drawn has solutions."""
    tensors = {f"{k}.latents": z for k, z in enumerate(inversion.latents)}
    steps = []
    for k, step in enumerate(inversion.schedule):
        names = ("t", "a", "b", "scale", "levels", "effective", "dense", "lowest")
        numbers = {name: getattr(step, name) for name in names}
        if inversion.solutions:
            solution = inversion.solutions[k]
            numbers |= {"nfe": solution.nfe, "njvp": solution.njvp, "nvjp": solution.nvjp}
            tensors |= {f"{k}.{name}": getattr(solution, name) for name in ("residual", "residuals", "codes")}
        else:
            assert status is not None
            numbers |= {"nfe": 0, "njvp": 0, "nvjp": 0}
            codes = torch.full((len(inversion.noise),), list(Status).index(status), dtype=torch.uint8)
            tensors |= {f"{k}.residual": inversion.residual[k], f"{k}.residuals": inversion.residual[k][None]}
            tensors |= {f"{k}.codes": codes}
        steps.append(numbers)
        if step.c is not None:
            tensors[f"{k}.c"] = step.c
        if inversion.noise_maps is not None:
            tensors[f"{k}.correction"] = inversion.noise_maps[k]
    header = {"format": "rnri inversion 1", "steps": steps}
    header |= {name: getattr(inversion, name) for name in ("prompt", "model", "size", "guidance", "seed")}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(contiguous, {"rnri": json.dumps(header)})


@pytest.mark.parametrize("noise_maps", [False, True])
@pytest.mark.parametrize("schedule", [STEPS, ancestral()])
def test_a_file_of_format_1_is_read_to_the_same_bits(tmp_path: Path, schedule: Schedule, noise_maps: bool) -> None:
    made = invert(curved, schedule, CLEAN, solver("gnri"), iterations=(3, 2), noise_maps=noise_maps)
    made = made.described(prompt="a ‘red’ ball", model="9f3a", size=(640, 480), guidance=1.5, seed=7)
    path = tmp_path / "old.safetensors"
    path.write_bytes(in_format_1(made))
    with pytest.warns(UserWarning, match=r"old.safetensors is of rnri 0.1, without a checksum: save it again"):
        loaded = Inversion.load(path)
    same(made, loaded)
    loaded.save(path)
    same(made, Inversion.load(path))


def test_what_was_drawn_in_a_file_of_format_1_has_no_solutions(tmp_path: Path) -> None:
    made = EditFriendly().invert(curved, STEPS, CLEAN, seed=3)
    path = tmp_path / "old.safetensors"
    path.write_bytes(in_format_1(made, Status.NOT_SOLVED))
    with pytest.warns(UserWarning, match="without a checksum"):
        loaded = Inversion.load(path)
    same(made, loaded)
    assert not loaded.solved
    assert (loaded.nfe, loaded.status) == (made.nfe, Status.NOT_SOLVED)


def damaged(tmp_path: Path) -> dict[str, bytes]:
    path = stored(tmp_path)
    whole, old = path.read_bytes(), in_format_1(Inversion.load(path))
    tensors = safetensors.torch.load(whole)
    missing, exchanged, other = dict(tensors), dict(tensors), dict(tensors)
    del missing["2.latents"]
    exchanged["1.latents"], exchanged["2.latents"] = tensors["2.latents"], tensors["1.latents"]
    other["1.latents"] = tensors["1.latents"].double()
    old_missing = {name: tensor for name, tensor in safetensors.torch.load(old).items() if name != "2.latents"}
    header = json.loads(_header(whole))
    cut = '{"format": "rnri inversion 1", "steps": [{"t": 1}]'
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "header cut": whole[:20],
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "another safetensors file": safetensors.torch.save({"weight": torch.ones(2)}),
        "a later format": safetensors.torch.save(tensors, {"rnri": '{"format": "rnri inversion 3"}'}),
        "not json": safetensors.torch.save(tensors, {"rnri": cut}),
        "not a record": safetensors.torch.save(tensors, {"rnri": "[]"}),
        "no checksum": safetensors.torch.save(tensors, {"rnri": '{"format": "rnri inversion 2", "steps": []}'}),
        "half a step of format 1": safetensors.torch.save(tensors, {"rnri": cut + ', "x": 1}'}),
        "tensor missing": safetensors.torch.save(missing, {"rnri": _header(whole)}),
        "tensor missing of format 1": safetensors.torch.save(old_missing, {"rnri": _header(old)}),
        "tensors exchanged": safetensors.torch.save(exchanged, {"rnri": _header(whole)}),
        "another dtype": safetensors.torch.save(other, {"rnri": _header(whole)}),
        "another prompt": safetensors.torch.save(
            tensors, {"rnri": json.dumps(header | {"provenance": header["provenance"] | {"prompt": "a bell"}})}
        ),
    }


def _header(whole: bytes) -> str:
    size = int.from_bytes(whole[:8], "little")
    return str(json.loads(whole[8 : 8 + size])["__metadata__"]["rnri"])


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "truncated",
        "header cut",
        "a picture",
        "another safetensors file",
        "a later format",
        "not json",
        "not a record",
        "no checksum",
        "half a step of format 1",
        "tensor missing",
        "tensor missing of format 1",
        "tensors exchanged",
        "another dtype",
        "another prompt",
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damaged(tmp_path)[kind])
    with pytest.raises(RnriError, match=r"bad.safetensors cannot be read \(.+\): invert the image again") as error:
        Inversion.load(path)
    assert "\n" not in str(error.value)
    assert error.value.hint == "invert the image again"


def test_one_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    whole, kept = path.read_bytes(), Inversion.load(path)
    begin = 8 + int.from_bytes(whole[:8], "little")
    for position in [*range(8, begin, 23), *range(begin, len(whole), 29), len(whole) - 1]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            loaded = Inversion.load(path)
        except RnriError:
            continue
        assert position < begin, position
        same(kept, loaded)  # as 1e-05 is 1E-05


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        Inversion.load(tmp_path / "none")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        invert(curved, STEPS, 2 * CLEAN, solver("explicit")).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
