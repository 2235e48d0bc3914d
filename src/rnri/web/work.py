"""The work of an engine: pictures inverted and kept, kept inversions drawn, alone or several in the same calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from rnri_core.inversion.inversion import Inversion, stacked
from torch import Tensor

from rnri import images
from rnri.editing.editor import Editor, Timings
from rnri.editing.fidelity import fidelity, residual
from rnri.images import ImageLike
from rnri.models.prompts import prompt_warnings
from rnri.web.batch import ending
from rnri.web.jobs import Drawing, Edited, Job
from rnri.web.store import Cost, Inverted, Kept, Quality, Settings, Store


class Missing(LookupError):
    """There is no inversion of this id for who asks; whether another has one is not told."""


@dataclass(frozen=True)
class Work:
    """What is done for jobs, in the one thread that uses the model; inversions are kept in `store`."""

    store: Store

    def find(self, id: str, owner: str) -> Kept:
        """A kept inversion; `Missing` if this owner has none of this id."""
        kept = self.store.get(id, owner)
        if kept is None:
            raise Missing(f"there is no inversion {id!r}: invert the image first, or again")
        return kept

    def invert(
        self,
        editor: Editor,
        job: Job[Inverted],
        *,
        given: ImageLike | None,
        prompt: str | Callable[[Tensor], str],
        how: Settings,
        owner: str,
    ) -> Inverted:
        """A picture, `given` or decoded of the job's file, inverted and kept; see `Engine.invert`."""
        timings = Timings()
        with timings.measure("encode"):
            pixels = images.read(job.decoded() if given is None else given)
        text = prompt if isinstance(prompt, str) else prompt(pixels)
        encoded = editor.encode(pixels, timings=timings)
        with prompt_warnings() as remarks:
            found = editor.invert(encoded, text, how.config(), timings=timings)
        reached = fidelity(editor, found, pixels)
        quality = Quality(reached.reconstruction, reached.autoencoder_bound, found.status.name, residual(found))
        cost = Cost(found.nfe, found.njvp, found.nvjp, timings, job.waited)
        steps = len(found.schedule)
        about = Inverted(Store.new_id(), text, how, encoded.size, steps, quality, cost, tuple(remarks))
        if job.ticket.stopped is None:
            self.store.put(Kept(about, owner, encoded, found))
        return about

    def edit(self, editor: Editor, group: Sequence[Job[Edited]]) -> list[Edited]:
        """The results of edits that agree, or of one: each what `Editor.edit` gives for its prompts."""
        timings, drawings, sources, again = Timings(), list[Drawing](), list[Inversion](), False
        with prompt_warnings() as remarks:
            for job in group:
                id, owner, drawing = cast("tuple[str, str, Drawing]", job.drawing)
                kept = self.find(id, owner)
                again = kept.inversion is None
                source = self._again(editor, kept, timings) if kept.inversion is None else kept.inversion
                drawings.append(drawing)
                sources += [ending(source, drawing.strength)] * len(drawing.prompts)
            result = editor.edit(
                sources[0] if len(group) == 1 else stacked(sources),
                [prompt for drawing in drawings for prompt in drawing.prompts],
                guidance=drawings[0].guidance,
                negative=drawings[0].negative or None,
                controls=drawings[0].controls,
                size=drawings[0].size,
                timings=timings,
            )
            pictures = iter(result.pictures)
        results = []
        for job, drawing in zip(group, drawings, strict=True):
            said = tuple(remarks if len(group) == 1 else _remarks(editor, drawing) if remarks else ())
            mine = tuple(next(pictures) for _ in drawing.prompts)
            cost = Cost(job.ticket.calls, 0, 0, timings, job.waited)
            results.append(Edited(mine, cost, len(sources), again, said))
        return results

    def _again(self, editor: Editor, kept: Kept, timings: Timings) -> Inversion:
        """An inversion that was given up, from the latents of its picture."""
        about = kept.about
        with prompt_warnings():
            found = editor.invert(kept.encoded, about.prompt, about.settings.config(), timings=timings)
        self.store.restore(about.id, found)
        return found


def _remarks(editor: Editor, drawing: Drawing) -> list[str]:
    """What the model cannot read of a drawing's prompts."""
    with prompt_warnings() as remarks:
        editor.model.embed(drawing.prompts)
    return remarks
