"""Where rectified flows put their steps: larger images need more of them near the noise."""

from __future__ import annotations

from typing import Any

import numpy as np


def shift_of(scheduler: Any, tokens: int, *, most: float = 1.15) -> float:
    """μ, by which the levels are shifted: linear in the number of image tokens, as the scheduler's config has it.

    Between `base_shift` at `base_image_seq_len` and `max_shift` (`most`, if it does not say) at `max_image_seq_len`.
    """
    config = scheduler.config
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", most)
    return float(least + (most - least) / (many - few) * (tokens - few))


def even(num_steps: int) -> np.ndarray:
    """Levels from 1 down to 1/n, before they are shifted."""
    return np.linspace(1.0, 1 / num_steps, num_steps)
