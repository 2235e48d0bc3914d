"""`rnri models`, `rnri solvers`, `rnri controls` and `rnri methods`: what there is."""

from __future__ import annotations

import math
from inspect import getdoc
from typing import TYPE_CHECKING, Annotated

import typer

from rnri.cli import screen

if TYPE_CHECKING:
    from rnri_core.registry import Option, Registered


def models(
    families: Annotated[bool, typer.Option("--families", help="What can be loaded besides, family by family.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The same as a table for a page.")] = False,
) -> None:
    """List the embedded models, or the families of those that can be loaded."""
    from rnri import models

    if families or markdown:
        heads, rows = models.FAMILY_HEADS, models.family_rows()
        if markdown:
            for row in (heads, ["---"] * len(heads), *rows):
                screen.say(f"| {' | '.join(row)} |")
        else:
            screen.table(heads, rows)
        return
    rows = []
    for name, about in models.EMBEDDED.items():
        folder = models.embedded(name)
        weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        best = models.Defaults.read(folder)
        settings = (str(best.steps), f"{best.guidance:g}") if best else ("", "")
        rows.append((name, *settings, f"{weights / 1e6:.0f} MB" if weights else "not in this copy", about))
    screen.table(("model", "steps", "guidance", "weights", "what it draws"), rows)
    screen.say()
    screen.say("Any other by its folder in the diffusers layout, or by its Hub id owner/name, with safetensors.")
    screen.say("Which families are served: rnri models --families")


def solvers() -> None:
    """List presets and solvers: where each comes from, what it does, its fields; and what can be laid over them."""
    from rnri_core.inversion.presets import INVERTERS, PRESETS
    from rnri_core.solvers import SOLVERS, WRAPPERS

    for name, preset in PRESETS.items():
        screen.say(name, style="bold")
        screen.say(f"  Preset: {preset.about}.")
        screen.say(f"  {preset.solver}, {preset.extra} calls beyond {1 + preset.noise_maps} per step")
        if preset.edit_friendly_from:
            screen.say(f"  Of {preset.edit_friendly_from} steps or more, edit-friendly noise maps, 1 call per step")
        screen.say()
    for name, method in (*SOLVERS.items(), *INVERTERS.items()):
        _describe(name, method, f"{method.source}, {method.passage}")
    for name, wrapper in WRAPPERS.items():
        _describe(f"+{name}", wrapper)
    screen.say("Fields are set after a colon: --solver gnri:eta=0.2,beta=dense")
    screen.say("What starts with + goes around the solver before it: --solver gnri+polish:steps=2")


def controls() -> None:
    """List the controls: what each does to an edit, where it comes from, its fields."""
    from rnri.controls import CONTROLS

    for name, kind in CONTROLS.items():
        _describe(name, kind, f"{kind.source}, {kind.passage}")
    screen.say("Fields are set after a colon: --control diffedit-mask:threshold=0.5,dilate=2")


def methods() -> None:
    """List the methods that are compared: what each does, where it comes from, its fields."""
    from rnri.baselines import METHODS

    for name, kind in METHODS.items():
        _describe(name, kind, f"{kind.source}, {kind.passage}")
    screen.say("Fields are set after a colon, values with commas in quotes: \"inversion:inverter='anderson:memory=2'\"")


def _describe(name: str, method: type[Registered], origin: str = "") -> None:
    """A method's name, what it does, where it comes from, its fields."""
    screen.say(name, style="bold")
    about = (getdoc(method) or "").partition("\n\n")[0].replace("``", "")
    screen.say(f"  {' '.join(about.split())}")
    if origin:
        screen.say(f"  {origin}")
    fields = [
        (f"{each.name}={'' if each.default is None else each.default}", _range(each), each.about)
        for each in method.options()
    ]
    widths = [max(map(len, column)) for column in zip(*fields, strict=True)]
    for default, values, text in fields:
        screen.say(f"    {default.ljust(widths[0])}  {values.ljust(widths[1])}  {text}")
    screen.say()


def _range(option: Option) -> str:
    """The values a field may have."""
    if option.choices:
        return " | ".join(option.choices)
    if option.kind is object:
        return "a file"
    if option.kind is bool:
        return "true | false"
    low, high = (None if math.isinf(bound) else f"{bound:g}" for bound in (option.low, option.high))
    if low is None or high is None:
        return f"at least {low}" if low else f"at most {high}" if high else f"any {option.kind.__name__}"
    return f"{low} to {high}"
