"""What reproduces a picture of the page: a command line, and a few lines of Python."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, Literal

from rnri_core.registry import RENAMED

from rnri.web.store import Settings

MASKED = (
    "\nfrom PIL import Image\n\n"
    'mask = Image.open("mask.png").convert("L").resize(picture.size)\n'
    "original = Image.open({name!r}).convert('RGB').resize(picture.size)\n"
    'Image.composite(picture, original, mask).save("masked.png")\n'
)


@dataclass(frozen=True)
class Recipe:
    """All that a picture depends on: the model, the file it is made of, how that was inverted, and what was drawn."""

    model: str
    name: str
    source: str
    target: str
    settings: Settings
    strength: float
    guidance: float
    controls: tuple[str, ...] | Literal["auto"] = "auto"

    @property
    def output(self) -> str:
        """The file the result goes to.

        >>> Recipe("scenes", "a/photo.jpg", "a ball", "a cube", Settings(), 1.0, 1.0).output
        'photo-edited.png'
        """
        return f"{PurePath(self.name).stem}-edited.png"

    def command(self) -> str:
        """The command line, with every setting that is not the default.

        >>> print(Recipe("scenes", "photo.jpg", "a ball", "a cube", Settings(seed=3), 0.5, 2.0).command())
        rnri edit photo.jpg --source 'a ball' --target 'a cube' --output photo-edited.png --model scenes \\
          --guidance 2 --strength 0.5 --seed 3
        """
        required = ["rnri", "edit", self.name, "--source", self.source, "--target", self.target]
        required += ["--output", self.output, "--model", self.model]
        options = [f"--guidance {self.guidance:g}"]
        if self.controls != "auto":
            options += [f"--control {shlex.quote(control)}" for control in self.controls or ("none",)]
        for name, value in self._inverting().items():
            if name == "correct":
                options.append("--residual-correction" if value else "--no-residual-correction")
            else:
                options.append(f"--{name} {shlex.quote(_text(value))}")
        return f"{shlex.join(required)} \\\n  {' '.join(options)}"

    def python(self, *, masked: bool = False) -> str:
        """The same in Python; `masked` adds what lays the edit into a mask.

        >>> print(Recipe("scenes", "photo.jpg", "a ball", "a cube", Settings(), 1.0, 2.0).python())
        from rnri import Editor
        <BLANKLINE>
        editor = Editor.from_pretrained('scenes')
        source = editor.invert('photo.jpg', 'a ball')
        result = editor.edit(source, 'a cube', guidance=2.0)
        result.picture.save('photo-edited.png')
        <BLANKLINE>
        """
        arguments = [repr(self.name), repr(self.source)]
        arguments += [f"{RENAMED.get(name, name)}={value!r}" for name, value in self._inverting().items()]
        how = f"guidance={self.guidance!r}" + ("" if self.controls == "auto" else f", controls={list(self.controls)!r}")
        lines = [
            "from rnri import Editor",
            "",
            f"editor = Editor.from_pretrained({self.model!r})",
            f"source = editor.invert({', '.join(arguments)})",
            f"result = editor.edit(source, {self.target!r}, {how})",
            f"result.picture.save({self.output!r})",
            "",
        ]
        return "\n".join(lines) + (MASKED.format(name=self.name) if masked else "")

    def _inverting(self) -> dict[str, Any]:
        """How to invert, in the names of the settings: what is not the default."""
        said: dict[str, Any] = {} if self.strength == 1 else {"strength": self.strength}
        for each in fields(self.settings):
            value = getattr(self.settings, each.name)
            if value != each.default:
                said[each.name] = value
        return said


def _text(value: Any) -> str:
    """A value as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
