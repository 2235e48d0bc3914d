"""`rnri bench scenes`, `pie`, `coco` and `folder`: methods on every edit of a set; `rnri bench tune`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from rnri.cli import options, outputs, screen
from rnri.cli.bench_report import Failures, report
from rnri.cli.groups import option

if TYPE_CHECKING:
    from rnri.editing.editor import Editor
    from rnri.evaluation.datasets import Dataset
    from rnri.evaluation.edits.run import Edits, MethodSetting

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What is measured, with which seeds, where."""

    PANEL: ClassVar[str] = "Measurement"

    output: Path = option(..., "Folder of measurements and report.", "--output", "-o", metavar="DIR")
    methods: list[str] | None = option(
        None,
        "See 'rnri methods'; repeat it.",
        "--method",
        metavar=options.SPEC,
        show_default="all that the model serves",
    )
    model: str = option(options.MODEL, "An embedded model, a folder or a Hub id.", metavar="NAME")
    limit: int | None = option(None, "Edits, kinds in turn.", min=1, show_default="all; 550 scenes, 88 tuning")
    seeds: list[int] | None = option(
        None, "Seed of all noise; repeat it.", "--seed", min=0, max=options.MAX_SEED, show_default="0"
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps.", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class SetOptions(MethodOptions):
    """The same of a set of edits, with metrics, their networks, and the report."""

    metrics: list[str] | None = option(
        None, "A metric; repeat it for several.", "--metric", metavar="NAME", show_default="those of the benchmark"
    )
    tuned: Path | None = option(None, "Settings of 'rnri bench tune', for methods without options.", metavar="DIR")
    clip: str | None = option(None, "Another CLIP of metrics: a folder or Hub id.", metavar="NAME")
    dino: str | None = option(None, "Another ViT of metrics: a folder or Hub id.", metavar="NAME")
    lpips: Path | None = option(None, "Folder of LPIPS's files.", metavar="DIR", show_default="torch's cache")
    as_json: bool = option(False, "Print one JSON object and nothing else.", "--json")


def scenes(measured: SetOptions, split: options.Split = "heldout") -> None:
    """Measure methods on edits of the embedded scenes, whose ground truth is rendered.

    A stopped run is continued, and new measurements are added; then the report is written.
    """
    _measure(_scenes(split, measured.limit or 550), measured)


def pie(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder of mapping_file.json and annotation_images.")],
    measured: SetOptions,
) -> None:
    """Measure methods on PIE-Bench, by its own metrics and by normalised ones.

    A stopped run is continued, and new measurements are added; then the report is written.
    """
    from rnri.evaluation.datasets.pie import Pie

    _measure(lambda _editor: Pie(root), measured)


def coco(
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="The folder of images.")],
    captions: Annotated[Path, typer.Argument(metavar="CAPTIONS", help="The JSON file of captions.")],
    measured: SetOptions,
) -> None:
    """Measure reconstruction of images from their own captions, in the layout of COCO.

    A stopped run is continued, and new measurements are added; then the report is written.
    """
    from rnri.evaluation.datasets.coco import Coco

    _measure(lambda _editor: Coco(pictures, captions), measured)


def folder(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv or .jsonl of image, source, target[, mask].")],
    measured: SetOptions,
) -> None:
    """Measure methods on your own images.

    A stopped run is continued, and new measurements are added; then the report is written.
    """
    from rnri.evaluation.datasets.folder import Folder

    _measure(lambda _editor: Folder(file), measured)


def tune(
    measured: MethodOptions,
    by: Annotated[str, typer.Option(metavar="METRIC", help="Metric by which settings are chosen.")] = "reader-distance",
) -> None:
    """Choose the settings of each method on other scenes than those that are reported.

    A stopped run is continued. 'rnri bench scenes --tuned DIR' uses the choice. A --method is a setting to try.
    """
    from rnri.evaluation.edits import tuning

    tuning.check(by)
    _measure(_scenes("tuning", measured.limit or 88), measured, usual=tuning.candidates())
    chosen = tuning.choose(measured.output, by)
    screen.pairs([(name, spec) for name, spec in chosen.methods.items()])


def _scenes(split: Literal["heldout", "tuning"], limit: int) -> Callable[[Editor], Dataset]:
    from rnri.evaluation.datasets.scenes import Scenes

    return lambda editor: Scenes(split, limit, editor.model.image_size[0])


def _measure(open_set: Callable[[Editor], Dataset], measured: MethodOptions, usual: Sequence[str] = ()) -> None:
    """Add what is lacking to the lines in the output folder, and write the report.

    ``usual`` are the methods where none are given, all by default; those that the model cannot serve are left out.
    """
    outputs.check_directory(measured.output)

    from dataclasses import replace

    from rnri.baselines import METHODS
    from rnri.editing.editor import Editor
    from rnri.evaluation import statistics
    from rnri.evaluation.edits import tuning
    from rnri.evaluation.edits.run import EDITS, Edits
    from rnri.evaluation.records import Run
    from rnri.metrics import Networks

    statistics.require()
    more = measured if isinstance(measured, SetOptions) else SetOptions(output=measured.output)
    settings_of = tuning.read(more.tuned) if more.tuned else None
    names = measured.methods or usual or list(METHODS)
    names = settings_of.apply(names) if settings_of else names
    with screen.progress() as tell:
        tell("loading")
        editor = Editor.from_pretrained(measured.model, device=measured.device)
        dataset = open_set(editor)
        plain = Networks()
        clip, dino = more.clip or plain.clip_source, more.dino or plain.dino_source
        networks = Networks(clip, dino, more.lpips, editor.model.device)
        edits = Edits(editor, dataset, networks, measured.output)
        settings = edits.settings(names, measured.model, metrics=more.metrics or (), seeds=measured.seeds or (0,))
        if not measured.methods:
            tell("trying every method")
            settings = _served(edits, settings, dataset)
    measured.output.mkdir(parents=True, exist_ok=True)
    about = replace(Run.of(editor.model.device), tuned=settings_of.about if settings_of else None)
    failures = Failures()
    with screen.bar("edit") as done:
        keys = list(dataset.keys)[: measured.limit]
        new = EDITS.extend(measured.output, about, keys, settings, edits, progress=done, failed=failures.add)
    failures.check(new)
    if not more.as_json:
        screen.show(f"{new} new measurements")
    report(measured.output, as_json=more.as_json)
    failures.exit()


def _served(edits: Edits, settings: list[MethodSetting], dataset: Dataset) -> list[MethodSetting]:
    """The settings whose methods the model can serve; a warning names the others."""
    from rnri.baselines import METHODS

    reasons = edits.unserved(list(METHODS), dataset.keys[0])
    for name, reason in reasons.items():
        _LOG.warning("left out: %s: %s", name, reason)
    return [each for each in settings if each.method.partition(":")[0] not in reasons]
