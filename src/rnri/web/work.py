"""Work of an engine: inverts images and stores the inversions, edits stored inversions one by one or in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.inversion import Inversion, stacked
from torch import Tensor

from rnri import images
from rnri.editing.editor import Editor, Timings
from rnri.editing.fidelity import fidelity, residual
from rnri.images import ImageLike
from rnri.models.prompts import prompt_warnings
from rnri.web.batch import ending
from rnri.web.jobs import EditOutput, EditTask, QueuedJob
from rnri.web.results import ComputeCost, InversionReport, Quality, Seconds
from rnri.web.store import Store, StoredInversion


class Missing(LookupError):
    """No inversion with this id belongs to who requests it; another owner may have one."""


@dataclass(frozen=True)
class Work:
    """Work for jobs, in the one thread that uses the model; inversions go to `store`."""

    store: Store

    def find(self, id: str, owner: str) -> StoredInversion:
        """A stored inversion; `Missing` if this owner has none of this id."""
        stored = self.store.get(id, owner)
        if stored is None:
            raise Missing(f"there is no inversion {id!r}: invert the image first, or again")
        return stored

    def invert(
        self,
        editor: Editor,
        job: QueuedJob[InversionReport],
        *,
        image: ImageLike | None,
        prompt: str | Callable[[Tensor], str],
        config: InversionConfig,
        owner: str,
    ) -> InversionReport:
        """Invert an image, or that of the job's file, and store the inversion; see `Engine.invert`."""
        timings = Timings()
        with timings.measure("encode"):
            pixels = images.read(job.take_pixels() if image is None else image)
        text = prompt if isinstance(prompt, str) else prompt(pixels)
        encoded = editor.encode(pixels, timings=timings)
        with prompt_warnings() as remarks:
            inversion = editor.invert(encoded, text, config, timings=timings)
        accuracy = fidelity(editor, inversion, pixels)
        report = InversionReport(
            id=Store.new_id(),
            prompt=text,
            inverter=inversion.provenance.inverter,
            solver=str(config.inverter),
            steps=len(inversion.schedule),
            width=encoded.size[0],
            height=encoded.size[1],
            quality=Quality(
                psnr_db=accuracy.reconstruction,
                bound_db=accuracy.autoencoder_bound,
                status=inversion.status.name,
                residual=residual(inversion),
            ),
            cost=ComputeCost(
                nfe=inversion.nfe, njvp=inversion.njvp, nvjp=inversion.nvjp, seconds=Seconds.of(timings, job.waited)
            ),
            remarks=list(remarks),
        )
        if job.ticket.stopped is None:
            self.store.put(StoredInversion(report, owner, config, encoded, inversion))
        return report

    def edit(self, editor: Editor, group: Sequence[QueuedJob[EditOutput]]) -> list[EditOutput]:
        """Outputs of one edit, or of several that agree: each that of `Editor.edit` for its prompts."""
        timings, tasks, sources, recomputed = Timings(), list[EditTask](), list[Inversion](), False
        with prompt_warnings() as remarks:
            for job in group:
                id, owner, task = cast("tuple[str, str, EditTask]", job.edit)
                stored = self.find(id, owner)
                recomputed = stored.inversion is None
                source = self._recompute(editor, stored, timings) if stored.inversion is None else stored.inversion
                tasks.append(task)
                sources += [ending(source, task.strength)] * len(task.prompts)
            result = editor.edit(
                sources[0] if len(group) == 1 else stacked(sources),
                [prompt for task in tasks for prompt in task.prompts],
                tasks[0].config,
                size=tasks[0].size,
                timings=timings,
            )
        pictures, outputs = iter(result.pictures), []
        for job, task in zip(group, tasks, strict=True):
            own = remarks if len(group) == 1 else _remarks(editor, task.prompts) if remarks else ()
            cost = ComputeCost(nfe=job.ticket.calls, njvp=0, nvjp=0, seconds=Seconds.of(timings, job.waited))
            own_pictures = tuple(next(pictures) for _ in task.prompts)
            outputs.append(EditOutput(own_pictures, cost, len(sources), recomputed, tuple(own)))
        return outputs

    def _recompute(self, editor: Editor, stored: StoredInversion, timings: Timings) -> Inversion:
        """An inversion that was evicted, from the latents of its image."""
        with prompt_warnings():
            inversion = editor.invert(stored.encoded, stored.report.prompt, stored.config, timings=timings)
        self.store.restore(stored.report.id, inversion)
        return inversion


def _remarks(editor: Editor, prompts: Sequence[str]) -> list[str]:
    """Words of prompts outside the model's vocabulary."""
    with prompt_warnings() as remarks:
        editor.model.embed(prompts)
    return remarks
