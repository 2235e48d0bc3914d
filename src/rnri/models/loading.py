"""Options of loading and running a model, without torch or diffusers, so that the command line parses fast."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from rnri_core.errors import RnriError, RnriTypeError

Offload = Literal["none", "model", "sequential"]
SCHEDULERS: dict[str, tuple[str, Any]] = {
    "ddim": ("DDIMScheduler", "rnri.models.schedulers:ddim_table"),
    "euler": ("EulerDiscreteScheduler", "rnri.models.schedulers:euler_table"),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", "rnri.models.schedulers:euler_ancestral_table"),
    "lcm": ("LCMScheduler", "rnri.models.schedulers:lcm_table"),
    "flow": ("FlowMatchEulerDiscreteScheduler", "rnri.models.schedulers:flow_table"),
}
"""Name of a sampler → its scheduler in diffusers, and the function that reads it as a table of steps.

The function is given as `module:function`, or itself.
"""
SPACINGS = ("leading", "trailing", "linspace")
"""Where the steps of a scheduler lie (`timestep_spacing` in diffusers)."""


def _about(text: str, default: Any) -> Any:
    return field(default=default, metadata={"about": text})


@dataclass(frozen=True)
class Loading:
    """Options of loading and running a model, besides device and precision; :meth:`about` has a line on each.

    Raises RnriError for values that are not known, and for options that exclude each other.

    >>> Loading(scheduler="ddim", offload="model").offload
    'model'
    """

    scheduler: str | None = _about(f"Sampler instead of the model's own: {', '.join(SCHEDULERS)}.", None)
    spacing: str | None = _about("Where steps lie: leading, linspace, or trailing, which few-step models need.", None)
    lora: tuple[str, ...] = _about(
        "A LoRA, as FOLDER, FILE, owner/name or owner/name/FILE, then @SCALE if not 1; repeat it.", ()
    )
    variant: str | None = _about("Which copy of the weights, such as fp16, where a checkpoint has several.", None)
    preview: str | None = _about("A tiny autoencoder, folder or Hub id, for a faster look on the way.", None)
    offload: Offload = field(
        default="none", metadata={"about": "Keep networks in main memory until they run: none, model or sequential."}
    )
    vae_tiling: bool = _about("Encode and decode large images in tiles.", False)
    vae_slicing: bool = _about("Encode and decode batches one image at a time.", False)
    local_files_only: bool = _about("Use what was downloaded before, and no network.", False)
    allow_pickle: tuple[str, ...] = _about("Read this part from a pickle, which may run code; repeat it.", ())
    compile: bool = _about("Compile the network's repeated blocks: slow at first, faster from then on.", False)
    cuda_graphs: bool = _about("Compile the whole network and replay it as CUDA graphs.", False)
    fuse_qkv: bool = _about("Compute queries, keys and values in one product.", False)
    channels_last: bool | None = _about("Lay out convolutions' weights channels last.", None)

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.scheduler not in SCHEDULERS:
            raise RnriError(f"scheduler {self.scheduler!r} is not known", hint=f"use {', '.join(SCHEDULERS)}")
        if self.spacing is not None and self.spacing not in SPACINGS:
            raise RnriError(f"spacing {self.spacing!r} is not known", hint=f"use {', '.join(SPACINGS)}")
        if self.offload not in get_args(Offload):
            raise RnriError(f"offload {self.offload!r} is not known", hint=f"use {', '.join(get_args(Offload))}")
        for name in ("lora", "allow_pickle"):
            if isinstance(getattr(self, name), str):
                raise RnriTypeError(f"{name}={getattr(self, name)!r} is one string", hint="give a tuple of them")
        if self.compile and self.cuda_graphs:
            raise RnriError("compile and cuda_graphs exclude each other", hint="the second compiles the whole network")
        for option in ("channels_last", "cuda_graphs"):
            if getattr(self, option) and self.offload != "none":
                raise RnriError(
                    f"{option} and offload {self.offload!r} exclude each other", hint="weights have to stay put"
                )

    @classmethod
    def about(cls) -> dict[str, str]:
        """Each option's name, and one line on it."""
        return {each.name: each.metadata["about"] for each in fields(cls)}
