"""The measurement of the embedded models: how attributes are counted, and a run on real, tiny components."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rnri.evaluation.embedded import BATCH, Accuracy, EmbeddedReport, confusions, embedded
from rnri.models import Defaults
from rnri.scenes.attributes import attributes
from rnri.scenes.scene import Item, Scene
from rnri.scenes.splits import split
from tests import tiny

BALL = Item("ball", "red", "metal", "small")
SCENE = Scene((BALL, None, None), "sand", "sunset")
LIMIT = BATCH + 2


def share(truth: Scene, read: Scene) -> float:
    return Accuracy.of([attributes(truth)], [attributes(read)]).share


def test_empty_places_count_once_and_items_in_full() -> None:
    assert share(SCENE, SCENE) == 1
    # Of ten attributes, five are the item's, two say that the other places are empty, three are of the whole picture.
    assert share(SCENE, replace(SCENE, style="pixel")) == pytest.approx(9 / 10)
    assert share(SCENE, SCENE.put("right", BALL)) == pytest.approx(9 / 10)
    assert share(SCENE.put("right", BALL), SCENE) == pytest.approx(9 / 14)


def test_accuracy_is_broken_down_by_attribute_and_style() -> None:
    pencil = replace(SCENE, style="pencil")
    wrong = replace(pencil, ground="snow", sky="night")
    accuracy = Accuracy.of([attributes(SCENE), attributes(pencil)], [attributes(SCENE), attributes(wrong)])
    assert accuracy.images == 2
    assert accuracy.attributes == {
        "colour": 1, "ground": 0.5, "material": 1, "present": 1, "shape": 1, "size": 1, "sky": 0.5, "style": 1
    }  # fmt: skip
    assert accuracy.styles == {"pencil": 0.8, "photo": 1}
    assert accuracy.share == 0.9


def test_the_interval_holds_the_share_and_narrows() -> None:
    scenes = split("heldout", 200)
    wrong = [replace(scene, sky="night") for scene in scenes]
    widths = []
    for count in (20, 200):
        truths, readings = ([attributes(scene) for scene in some[:count]] for some in (scenes, wrong))
        accuracy = Accuracy.of(truths, readings)
        assert accuracy == Accuracy.of(truths, readings)
        assert accuracy.low < accuracy.share < accuracy.high
        widths.append(accuracy.high - accuracy.low)
    assert 0 < widths[1] < widths[0] / 2


def test_confusions_name_true_value_and_value_read() -> None:
    read = replace(SCENE.put("left", replace(BALL, colour="pink")), sky="night")
    found = confusions([attributes(SCENE)] * 2, [attributes(SCENE), attributes(read)])
    assert found == {("colour", "red", "pink"): 1, ("sky", "sunset", "night"): 1}
    missed = confusions([attributes(SCENE)], [attributes(SCENE.put("right", BALL))])
    assert missed == {("present", "no", "yes"): 1}


@pytest.mark.parametrize("readings", [[], [attributes(SCENE)] * 2])
def test_one_reading_for_each_picture(readings: list[object]) -> None:
    with pytest.raises(ValueError, match="one for each"):
        Accuracy.of([attributes(SCENE)], readings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.save(tiny.pipeline(), tmp_path_factory.mktemp("tiny"))
    (folder / "tokenizer" / "words.json").unlink()  # it knows few of a caption's words, and would say so
    return folder


@pytest.mark.filterwarnings("ignore:the prompt is longer")
def test_a_report_on_real_components(folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def measure() -> EmbeddedReport:
        settings = {str(folder): Defaults(steps=2, guidance=1.5)}
        return embedded([str(folder)], limit=LIMIT, settings=settings, device="cpu", progress=lambda *p: seen.append(p))

    report = measure()
    assert report.reader.share > 0.95
    assert report.reader.images == LIMIT
    [model] = report.models
    assert (model.settings.steps, model.settings.guidance) == (2, 1.5)
    assert 0 < model.autoencoder.psnr_db < 30  # it is untrained
    for accuracy in (model.generation, model.autoencoder.against_truth, model.autoencoder.against_render):
        assert accuracy.images == LIMIT
        assert 0 <= accuracy.low <= accuracy.share <= accuracy.high <= 1
        assert set(accuracy.attributes) == {"present", "shape", "colour", "material", "size", "ground", "sky", "style"}
    stages = ["reader", f"{folder}: autoencoder", f"{folder}: generation"]
    assert seen == [(stage, done, LIMIT) for stage in stages for done in (BATCH, LIMIT)]
    said = json.loads(report.to_json())
    assert said["models"][0]["generation"]["share"] == model.generation.share
    assert said["versions"]["torch"]
    again = measure()
    assert replace(again.models[0], seconds=model.seconds) == model


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        embedded([], limit=0)
