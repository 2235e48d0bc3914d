"""Pictures to try the embedded models on: scenes as data, rendered when they are asked for."""

from __future__ import annotations

from dataclasses import replace

from rnri.scenes.edits import Edit
from rnri.scenes.scene import Item, Scene

__all__ = ["DEMO", "EDITS", "GALLERY"]

_BALL, _CYLINDER = Item("ball", "red", "metal", "large"), Item("cylinder", "green", "matte", "large")

DEMO = Scene((_BALL, None, _CYLINDER), "sand", "day")
"""What the demo inverts; no model has been trained on a scene of this description."""

EDITS: dict[str, Edit] = {
    "colour": Edit("colour", DEMO, DEMO.put("left", replace(_BALL, colour="blue"))),
    "shape": Edit("replace", DEMO, DEMO.put("right", replace(_CYLINDER, shape="gem"))),
    "light": Edit("light", DEMO, replace(DEMO, sky="sunset")),
}
"""What the demo makes of it, each with its true result."""

GALLERY: dict[str, Scene] = {
    "sand": DEMO,
    "snow": Scene(
        (Item("ball", "yellow", "metal", "large"), None, Item("ball", "purple", "matte", "small")), "snow", "night"
    ),
    "water": Scene(
        (None, Item("gem", "purple", "glass", "large"), Item("ball", "orange", "matte", "small")), "water", "sunset"
    ),
    "tiles": Scene(
        (
            Item("ball", "red", "metal", "large"),
            Item("cube", "black", "matte", "small"),
            Item("cone", "yellow", "striped", "large"),
        ),
        "tiles",
        "day",
    ),
    "lawn": Scene(
        (Item("cube", "turquoise", "matte", "large"), None, Item("gem", "blue", "glass", "large")),
        "grass",
        "day",
        "watercolour",
    ),
}
"""Pictures to begin with, none of a description that a model has been trained on."""
