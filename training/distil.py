"""Stage 4: a student that does in one step what its guided teacher does in several.

The student keeps the deterministic sampler. For each of its timesteps t → t′ the teacher walks from a noised latent
z_t to z_t′ in ``SUBSTEPS`` guided DDIM steps; the one velocity with which DDIM goes there at once,

    v* = (z_t′ - a z_t) / b,

is the student's target (Salimans and Ho 2022, Algorithm 2, with the teacher's guidance built in as in Meng et al.
2023, "On Distillation of Guided Diffusion Models").
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from rnri_core.sampling.schedules import ddim
from rnri_core.sampling.steps import Step
from torch import Tensor
from transformers import CLIPTokenizer

from rnri.scenes.scene import Scene
from training.diffusion import Painter, draw, scheduler
from training.loop import device, fit
from training.text import ids

STEPS = 4
SUBSTEPS = 2
GUIDANCE = 3.0


def tables() -> list[tuple[Step, tuple[Step, ...]]]:
    """The student's steps, noisy to clean, each with the teacher's steps that it replaces."""
    alphas = scheduler().alphas_cumprod
    fine = [int(1000 - 1000 * k / (STEPS * SUBSTEPS)) - 1 for k in range(STEPS * SUBSTEPS)]
    coarse = fine[::SUBSTEPS]
    teacher = ddim(alphas, fine, "v_prediction")
    student = ddim(alphas, coarse, "v_prediction")
    return [(step, teacher[k * SUBSTEPS : (k + 1) * SUBSTEPS]) for k, step in enumerate(student)]


def carried_over(teacher: Painter, old_teacher: Painter, old_student: Painter) -> UNet2DConditionModel:
    """The UNet of ``teacher`` with what distilling added to that of ``old_teacher``: new + (old student - old teacher).

    For a teacher trained on from the old one (task arithmetic: Ilharco et al. 2023, "Editing Models with Task
    Arithmetic"); its student then starts where the old one ended.
    """
    student = copy.deepcopy(teacher.unet)
    old, learnt = old_teacher.unet.state_dict(), old_student.unet.state_dict()
    student.load_state_dict({name: new + learnt[name] - old[name] for name, new in student.state_dict().items()})
    return student


def train(
    teacher: Painter,
    words: CLIPTokenizer,
    latents: Tensor,
    scenes: list[Scene],
    folder: Path,
    *,
    steps: int,
    batch: int = 32,
    rate: float = 3e-4,
    start: UNet2DConditionModel | None = None,
) -> Painter:
    """Distil ``teacher`` into a student that shares its text encoder, and starts as ``start`` or as the teacher."""
    pairs = tables()
    teacher = teacher.to(device()).eval().requires_grad_(False)
    student = Painter(teacher.text, (start or copy.deepcopy(teacher.unet)).requires_grad_(True))
    nothing = ids(words, [""]).to(device())

    @torch.no_grad()
    def walk(z: Tensor, path: tuple[Step, ...], tokens: Tensor) -> Tensor:
        both = torch.cat([nothing.expand(len(z), -1), tokens])
        for step in path:
            t = torch.full((len(both),), int(step.t), device=z.device)
            free, told = teacher(torch.cat([z, z]), t, both).float().chunk(2)
            z = step.a * z + step.b * (free + GUIDANCE * (told - free))
        return z

    def loss(model: Painter, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        tokens, clean, noise = draw(words, latents, scenes, batch, generator, emptied=0.0)
        # One of the student's steps for the whole batch: the noisiest, where the picture is decided, twice as often.
        step, path = pairs[max(0, int(torch.randint(STEPS + 1, (), generator=generator)) - 1)]
        alpha, sigma, *_ = step.levels
        z = (alpha * clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        target = (walk(z, path, tokens) - step.a * z) / step.b
        said = model(z, torch.full((batch,), int(step.t), device=z.device), tokens).float()
        return (said - target).square().mean(), {}

    return fit("distil", student, loss, folder, steps=steps, rate=rate, seed=4, warmup=20, average=0.99)
