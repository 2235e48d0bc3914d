"""`rnri bench scenes`, `pie`, `coco` and `folder`: every method on every edit of a set; `rnri bench tune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen, values
from rnri.cli.bench_report import report

if TYPE_CHECKING:
    from rnri.editing.editor import Editor
    from rnri.evaluation.datasets import Dataset

EDITS = "550"
TUNING_EDITS = "88"

Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where measurements and report go.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME[:FIELD=VALUE,…]",
        help="Repeat it for several.",
        show_default="all that the model serves",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Repeat it for several.", show_default="those of the benchmark"),
]
Seeds = Annotated[
    list[str] | None,
    typer.Option("--seed", metavar="N", help="Of all noise; repeat it to average over several.", show_default="0"),
]
Limit = Annotated[str | None, typer.Option(metavar="N", help="How many edits, kinds in turn.", show_default="all")]
Tuned = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where 'rnri bench tune' left settings, for methods given by name alone."),
]
ClipFrom = Annotated[str | None, typer.Option("--clip", metavar="NAME", help="Another CLIP: a folder or Hub id.")]
DinoFrom = Annotated[str | None, typer.Option("--dino", metavar="NAME", help="Another ViT: a folder or Hub id.")]
LpipsFrom = Annotated[
    Path | None, typer.Option("--lpips", metavar="DIR", help="Where LPIPS's files are.", show_default="torch's cache")
]


def scenes(
    output: Output,
    method: Methods = None,
    model: options.Model = options.MODEL,
    metric: Metrics = None,
    limit: Annotated[str, typer.Option(metavar="N", help="How many edits, kinds in turn.")] = EDITS,
    split: Annotated[str, typer.Option(metavar="NAME", help="heldout, or tuning to choose settings by.")] = "heldout",
    seed: Seeds = None,
    tuned: Tuned = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure methods on edits of the embedded scenes, whose truth is known.

    Goes on where it was stopped, and adds to what is there; then writes the report.
    """
    count = values.whole("--limit", limit, 1) or 1
    source = _split(split)

    def open_set(editor: Editor) -> Dataset:
        from rnri.evaluation.datasets.scenes import Scenes

        return Scenes(source, count, editor.model.image_size[0])

    _measure(open_set, output, method, model, metric, None, seed, tuned, device, as_json)


def pie(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="It holds mapping_file.json and annotation_images.")],
    output: Output,
    method: Methods = None,
    model: options.Model = options.MODEL,
    metric: Metrics = None,
    limit: Limit = None,
    seed: Seeds = None,
    tuned: Tuned = None,
    clip: ClipFrom = None,
    dino: DinoFrom = None,
    lpips: LpipsFrom = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure methods on PIE-Bench, by its own metrics and by normalised ones.

    Goes on where it was stopped, and adds to what is there; then writes the report.
    """

    def open_set(_editor: Editor) -> Dataset:
        from rnri.evaluation.datasets.pie import Pie

        return Pie(root)

    _measure(open_set, output, method, model, metric, limit, seed, tuned, device, as_json, clip, dino, lpips)


def coco(
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="The folder of pictures.")],
    captions: Annotated[Path, typer.Argument(metavar="CAPTIONS", help="The JSON file of captions.")],
    output: Output,
    method: Methods = None,
    model: options.Model = options.MODEL,
    metric: Metrics = None,
    limit: Limit = None,
    seed: Seeds = None,
    tuned: Tuned = None,
    lpips: LpipsFrom = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure how well pictures come back, told their own captions, in the layout of COCO.

    Goes on where it was stopped, and adds to what is there; then writes the report.
    """

    def open_set(_editor: Editor) -> Dataset:
        from rnri.evaluation.datasets.coco import Coco

        return Coco(pictures, captions)

    _measure(open_set, output, method, model, metric, limit, seed, tuned, device, as_json, lpips=lpips)


def folder(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv or .jsonl of image, source, target[, mask].")],
    output: Output,
    method: Methods = None,
    model: options.Model = options.MODEL,
    metric: Metrics = None,
    limit: Limit = None,
    seed: Seeds = None,
    tuned: Tuned = None,
    clip: ClipFrom = None,
    dino: DinoFrom = None,
    lpips: LpipsFrom = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure methods on your own pictures.

    Goes on where it was stopped, and adds to what is there; then writes the report.
    """

    def open_set(_editor: Editor) -> Dataset:
        from rnri.evaluation.datasets.folder import Folder

        return Folder(file)

    _measure(open_set, output, method, model, metric, limit, seed, tuned, device, as_json, clip, dino, lpips)


def tune(
    output: Output,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", metavar="SPEC", help="A setting to try; repeat it.", show_default="those that are listed"
        ),
    ] = None,
    model: options.Model = options.MODEL,
    by: Annotated[str, typer.Option(metavar="METRIC", help="What settings are chosen by.")] = "reader-distance",
    limit: Annotated[str, typer.Option(metavar="N", help="How many edits, kinds in turn.")] = TUNING_EDITS,
    seed: Seeds = None,
    device: options.Device = "auto",
) -> None:
    """Choose the settings of each method on other scenes than those that are reported.

    Goes on where it was stopped; leaves the choice in DIR for 'rnri bench scenes --tuned DIR'.
    """
    count = values.whole("--limit", limit, 1) or 1
    from rnri.evaluation.edits import tuning

    def open_set(editor: Editor) -> Dataset:
        from rnri.evaluation.datasets.scenes import Scenes

        return Scenes("tuning", count, editor.model.image_size[0])

    tuning.check(by)
    _measure(open_set, output, method, model, None, None, seed, None, device, False, usual=tuning.candidates())
    chosen = tuning.choose(output, by)
    screen.pairs([(name, spec) for name, spec in chosen.methods.items()])


def _split(text: str) -> Literal["heldout", "tuning"]:
    if text == "heldout":
        return "heldout"
    if text == "tuning":
        return "tuning"
    raise RnriError(f"--split {text!r} is not known", hint="use heldout or tuning")


def _measure(
    open_set: Callable[[Editor], Dataset],
    output: Path,
    method: list[str] | None,
    model: str,
    metric: list[str] | None,
    limit: str | None,
    seed: list[str] | None,
    tuned: Path | None,
    device: str,
    as_json: bool,
    clip: str | None = None,
    dino: str | None = None,
    lpips: Path | None = None,
    usual: Sequence[str] = (),
) -> None:
    """Add what is lacking to the lines in ``output``, and write the report.

    ``usual`` are the methods where none are given, all unless told; those that the model cannot serve are left out.
    """
    most = values.whole("--limit", limit, 1)
    seeds = [values.seed(text) or 0 for text in seed or ("0",)]
    if output.exists() and not output.is_dir():
        raise RnriError(f"{output} is a file", hint="give a directory")

    from dataclasses import replace

    from rnri.baselines import METHODS
    from rnri.editing.editor import Editor
    from rnri.evaluation import statistics
    from rnri.evaluation.edits import tuning
    from rnri.evaluation.edits.run import EDITS, Edits
    from rnri.evaluation.records import Run
    from rnri.metrics import Networks

    statistics.require()
    names = method or usual or list(METHODS)
    settings_of = tuning.read(tuned) if tuned else None
    if settings_of:
        names = settings_of.apply(names)
    with screen.progress() as tell:
        tell("loading")
        editor = Editor.from_pretrained(model, device=device)
        plain = Networks()
        networks = Networks(clip or plain.clip_source, dino or plain.dino_source, lpips, editor.model.device)
        dataset = open_set(editor)
        edits = Edits(editor, dataset, networks, output)
        settings = edits.settings(names, model, metrics=metric or (), seeds=seeds)
        if not method:
            tell("trying every method")
            reasons = edits.unserved(list(METHODS), dataset.keys[0])
            settings = [each for each in settings if each.method.partition(":")[0] not in reasons]
            for name, reason in reasons.items():
                screen.warn(f"left out: {name}: {reason}")
    output.mkdir(parents=True, exist_ok=True)
    about = replace(Run.of(editor.model.device), tuned=settings_of.about if settings_of else None)
    with screen.bar("edit") as done:
        new = EDITS.extend(output, about, list(dataset.keys)[:most], settings, edits, progress=done)
    if not as_json:
        screen.say(f"{new} new measurements")
    report(output, as_json=as_json)
