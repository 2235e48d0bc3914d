"""What the commands that invert share: how to, from which file, with which model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnri_core.errors import RnriError

from rnri.cli import options, outputs, values
from rnri.cli.steering import AUTO

if TYPE_CHECKING:
    from rnri_core.inversion.inversion import Inversion
    from torch import Tensor

    from rnri.cli.loading import Asked
    from rnri.editing.editor import Editor, Timings

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Inverting:
    """How a picture is to be inverted, in the names of `Editor.invert`; None is not given, and the editor knows."""

    inverter: str | None
    steps: int | None
    strength: float | None
    guidance: float | None
    iterations: tuple[int, ...] | None
    tol: float | None
    noise_maps: bool | None
    seed: int | None
    resolution: tuple[int, int] | None

    @classmethod
    def read(
        cls,
        *,
        solver: str | None = None,
        steps: str | None = None,
        strength: str | None = None,
        source_guidance: str | None = None,
        budget: str | None = None,
        tol: str | None = None,
        residual_correction: bool | None = None,
        seed: str | None = None,
        resolution: str | None = None,
    ) -> Inverting:
        """What the options say; ValueError for what is out of range."""
        return cls(
            solver,
            values.steps(steps),
            values.real("--strength", strength, 1, positive=True),
            values.guidance(source_guidance, "--source-guidance"),
            values.plan("--budget", budget),
            values.real("--tol", tol, positive=True),
            residual_correction,
            values.seed(seed),
            values.size("--resolution", resolution),
        )

    def given(self) -> dict[str, Any]:
        """The options that were given."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in said.items() if value is not None}

    def check_solver(self) -> None:
        """Raise ValueError for a solver that is not known, or not so."""
        from rnri_core.inversion.presets import check

        if self.inverter is not None:
            check(self.inverter)

    def invert(self, editor: Editor, pixels: Tensor, prompt: str, timings: Timings) -> Inversion:
        """Do it."""
        from rnri_core.inversion.config import InversionConfig

        return editor.invert(pixels, prompt, InversionConfig(**self.given()), timings=timings)


_OPTIONS = {
    "inverter": "solver",
    "iterations": "budget",
    "noise_maps": "residual-correction",
    "guidance": "source-guidance",
}
"""Fields that the command line calls otherwise."""


def is_stored(path: Path) -> bool:
    """Whether a path is that of a stored inversion, by its suffix."""
    return path.suffix.lower() in outputs.STORED


def check_stored(path: Path, prompt: str | None, inverting: Inverting) -> None:
    """Raise ValueError for options that say how to invert what is inverted already."""
    said = ["source"] * (prompt is not None) + list(inverting.given())
    if said:
        option = _OPTIONS.get(said[0], said[0])
        raise RnriError(f"--{option} has no effect on {path}, which is inverted already", hint="leave it out")


def check_budget(inverting: Inverting, loading: Asked) -> None:
    """Raise ValueError for CUDA graphs of steps that end when they are good enough: each has to be waited for."""
    if loading.how.cuda_graphs and inverting.tol is not None:
        raise RnriError("--cuda-graphs and --tol exclude each other", hint="give a --budget alone")


def check_way(way: Path | None, edit_steps: int | None, loading: Asked) -> None:
    """Raise ValueError for a way that cannot be shown, or a preview of none."""
    if way is None:
        loading.check_unseen("--way")
    elif edit_steps is not None:
        raise RnriError(
            "--way and --edit-steps exclude each other", hint="show the way of an edit in as many as inverted"
        )


def load_inversion(path: Path) -> Inversion:
    """A stored inversion; ValueError in one line for what is none."""
    from rnri_core.inversion.inversion import Inversion

    if not path.exists():
        raise RnriError(f"{path} does not exist", hint="check the path, or make it with 'rnri invert'")
    if path.is_dir():
        raise RnriError(f"{path} is a directory", hint="give a file of 'rnri invert'")
    return Inversion.load(path)


def read_picture(path: Path, timings: Timings) -> Tensor:
    """A picture's pixels; ValueError in one line for what is none."""
    from rnri import images

    with timings.measure("encode"):
        return images.read(path)


def open_editor(model: str, device: str, timings: Timings, tell: Tell, loading: Asked | None = None) -> Editor:
    """An editor with this model."""
    from rnri.editing.editor import Editor

    tell(f"loading {model}")
    with timings.measure("load"):
        return Editor.from_pretrained(model, device=device, **(loading.arguments() if loading else {}))


def describe(
    prompt: str, pixels: Tensor, model: str, captioner: str | None, tell: Tell, loading: Asked | None = None
) -> str:
    """The prompt itself, or for 'auto' what the picture shows, and then it is told."""
    if prompt != AUTO:
        return prompt
    from rnri.editing.captioning import describe

    tell("describing")
    here = loading is not None and loading.how.local_files_only
    said = describe(pixels, model, captioner=captioner or options.CAPTIONER, local_files_only=here)
    tell(f"it shows: {said}")
    return said
