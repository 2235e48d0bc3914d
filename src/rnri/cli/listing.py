"""`rnri models` and `rnri solvers`: what there is."""

from __future__ import annotations

import math
from inspect import getdoc
from typing import TYPE_CHECKING

from rnri.cli import screen

if TYPE_CHECKING:
    from rnri.solvers import Option


def models() -> None:
    """List the embedded models."""
    from rnri import models

    rows = []
    for name, about in models.EMBEDDED.items():
        folder = models.embedded(name)
        weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        best = models.Defaults.read(folder)
        settings = (str(best.steps), f"{best.guidance:g}") if best else ("", "")
        rows.append((name, *settings, f"{weights / 1e6:.0f} MB" if weights else "not in this copy", about))
    screen.table(("model", "steps", "guidance", "weights", "what it draws"), rows)
    screen.say()
    screen.say("Any other by its folder in the diffusers layout, or by its Hub id owner/name, with safetensors, of:")
    for family in models.MODELS:
        screen.say(f"  {family}")


def solvers() -> None:
    """List the solvers and their fields."""
    from rnri.solvers import SOLVERS

    for name, method in SOLVERS.items():
        screen.say(name, style="bold")
        about = (getdoc(method) or "").partition("\n\n")[0].replace("``", "")
        screen.say(f"  {' '.join(about.split())}")
        screen.say(f"  {method.source}, {method.passage}")
        fields = [(f"{each.name}={each.default}", _range(each), each.about) for each in method.options()]
        widths = [max(map(len, column)) for column in zip(*fields, strict=True)]
        for default, values, about in fields:
            screen.say(f"    {default.ljust(widths[0])}  {values.ljust(widths[1])}  {about}")
        screen.say()
    screen.say("Fields are set after a colon: --solver gnri:eta=0.2,beta=dense")


def _range(option: Option) -> str:
    """The values a field may have."""
    if option.choices:
        return " | ".join(option.choices)
    if option.kind is bool:
        return "true | false"
    low, high = (None if math.isinf(bound) else f"{bound:g}" for bound in (option.low, option.high))
    if low is None or high is None:
        return f"at least {low}" if low else f"at most {high}" if high else f"any {option.kind.__name__}"
    return f"{low} to {high}"
