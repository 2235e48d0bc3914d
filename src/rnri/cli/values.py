"""What the options may hold: text to value, or a ValueError in one line. Nothing given is None."""

from __future__ import annotations

import math

from rnri_core.errors import RnriError

MAX_GUIDANCE = 100
MAX_SEED = 2**63 - 1
MAX_SIDE = 16384
MAX_IMAGES = 10_000


def whole(name: str, text: str | None, low: int, high: int | None = None) -> int | None:
    """A whole number in a closed range.

    >>> whole("--steps", "4", low=1)
    4
    """
    if text is None:
        return None
    bounds = f"{low} or more" if high is None else f"one from {low} to {high}"
    try:
        value = int(text)
    except ValueError:
        raise RnriError(f"{name} {text!r} is not a whole number", hint=f"give {bounds}") from None
    if value < low or (high is not None and value > high):
        raise RnriError(f"{name} {text} is out of range", hint=f"give {bounds}")
    return value


def real(name: str, text: str | None, high: float = math.inf, *, positive: bool = False) -> float | None:
    """A finite number from 0, or, `positive`, above it.

    >>> real("--strength", "0.5", 1, positive=True)
    0.5
    """
    if text is None:
        return None
    bounds = f"{'more than 0' if positive else '0'}{f' to {high:g}' if math.isfinite(high) else ''}"
    try:
        value = float(text)
    except ValueError:
        raise RnriError(f"{name} {text!r} is not a number", hint=f"give {bounds}") from None
    if not (0 <= value <= high and math.isfinite(value)) or (positive and value == 0):
        raise RnriError(f"{name} {text} is out of range", hint=f"give {bounds}")
    return value


def guidance(text: str | None, name: str = "--guidance") -> float | None:
    """The value of --guidance, or of another option of its kind."""
    return real(name, text, MAX_GUIDANCE)


def seed(text: str | None) -> int | None:
    """The value of --seed."""
    return whole("--seed", text, 0, MAX_SEED)


def steps(text: str | None) -> int | None:
    """The value of --steps; the model knows how many are too many."""
    return whole("--steps", text, 1)


def size(name: str, text: str | None) -> tuple[int, int] | None:
    """A size given as WIDTHxHEIGHT.

    >>> size("--size", "640x480")
    (640, 480)
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(_counts(side) and int(side) <= MAX_SIDE for side in sides):
        raise RnriError(
            f"{name} {text!r} is not a size", hint=f"give a width and a height up to {MAX_SIDE}, like 640x480"
        )
    return int(sides[0]), int(sides[1])


def plan(name: str, text: str | None) -> tuple[int, ...] | None:
    """Iterations per step: one number, or several from the image outwards.

    >>> plan("--budget", "5,1")
    (5, 1)
    """
    if text is None:
        return None
    counts = [part.strip() for part in text.split(",")]
    if not all(map(_counts, counts)):
        raise RnriError(
            f"{name} {text!r} is no budget", hint="give 1 or more iterations per step, like 2, or a plan like 5,1"
        )
    return tuple(map(int, counts))


def prompt(name: str, text: str) -> str:
    """A prompt that says something.

    >>> prompt("--source", "a red ball")
    'a red ball'
    """
    if not text.strip():
        raise RnriError(f"{name} {text!r} is empty", hint="say what the picture shows")
    return text


def _counts(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1
