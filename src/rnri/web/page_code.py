"""Code that reproduces an edit of the page: a command line, and a few lines of Python."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, Literal

from rnri_core.inversion.config import InversionConfig

MASKED = (
    "\nfrom PIL import Image\n\n"
    'mask = Image.open("mask.png").convert("L").resize(picture.size)\n'
    "original = Image.open({name!r}).convert('RGB').resize(picture.size)\n"
    'Image.composite(picture, original, mask).save("masked.png")\n'
)


@dataclass(frozen=True)
class Recipe:
    """All that an edited image depends on.

    Attributes:
        model: name of the model.
        name: file of the image.
        source: the source prompt.
        target: the target prompt.
        config: settings of the inversion.
        guidance: guidance scale of the edit.
        controls: specs of controls, or ``"auto"`` for the automatic mask.
    """

    model: str
    name: str
    source: str
    target: str
    config: InversionConfig
    guidance: float
    controls: tuple[str, ...] | Literal["auto"] = "auto"

    @property
    def output(self) -> str:
        """The file of the result.

        >>> Recipe("scenes", "a/photo.jpg", "a ball", "a cube", InversionConfig(), 1.0).output
        'photo-edited.png'
        """
        return f"{PurePath(self.name).stem}-edited.png"

    def command(self) -> str:
        """The command line, with every setting that is not the default.

        >>> config = InversionConfig(strength=0.5, guidance=1.5, noise_maps=False, resolution=(48, 24))
        >>> print(Recipe("scenes", "photo.jpg", "a ball", "a cube", config, 2.0).command())
        rnri edit photo.jpg --source 'a ball' --target 'a cube' --output photo-edited.png --model scenes \\
          --guidance 2 --strength 0.5 --source-guidance 1.5 --no-noise-maps --resolution 48x24
        """
        required = ["rnri", "edit", self.name, "--source", self.source, "--target", self.target]
        required += ["--output", self.output, "--model", self.model]
        options = [f"--guidance {self.guidance:g}"]
        if self.controls != "auto":
            options += [f"--control {shlex.quote(control)}" for control in self.controls or ("none",)]
        for name, value in self._changed().items():
            option = "source-guidance" if name == "guidance" else name.replace("_", "-")
            if isinstance(value, bool):
                options.append(f"--{option}" if value else f"--no-{option}")
            else:
                separator = "x" if name == "resolution" else ","
                text = separator.join(map(str, value)) if isinstance(value, tuple) else value
                options.append(f"--{option} {shlex.quote(str(text))}")
        return f"{shlex.join(required)} \\\n  {' '.join(options)}"

    def python(self, *, masked: bool = False) -> str:
        """The same in Python; `masked` adds the lines that composite the edit into a mask.

        >>> print(Recipe("scenes", "photo.jpg", "a ball", "a cube", InversionConfig(), 2.0).python())
        from rnri import Editor
        <BLANKLINE>
        editor = Editor.from_pretrained('scenes')
        source = editor.invert('photo.jpg', 'a ball')
        picture = editor.edit(source, 'a cube', guidance=2.0).picture
        picture.save('photo-edited.png')
        <BLANKLINE>
        """
        arguments = [repr(self.name), repr(self.source)]
        arguments += [f"{name}={value!r}" for name, value in self._changed().items()]
        settings = f"guidance={self.guidance!r}" + (
            "" if self.controls == "auto" else f", controls={list(self.controls)!r}"
        )
        lines = [
            "from rnri import Editor",
            "",
            f"editor = Editor.from_pretrained({self.model!r})",
            f"source = editor.invert({', '.join(arguments)})",
            f"picture = editor.edit(source, {self.target!r}, {settings}).picture",
            f"picture.save({self.output!r})",
            "",
        ]
        return "\n".join(lines) + (MASKED.format(name=self.name) if masked else "")

    def _changed(self) -> dict[str, Any]:
        """The settings of the inversion that are not the default."""
        values = {each.name: (getattr(self.config, each.name), each.default) for each in fields(self.config)}
        return {name: value for name, (value, default) in values.items() if value != default}
