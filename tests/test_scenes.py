"""Captions, attributes, edits and splits of the embedded world."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnri.scenes import captions, edits
from rnri.scenes.attributes import ATTRIBUTES, NONE, attributes, changed
from rnri.scenes.captions import MAX_TOKENS, PUNCTUATION, VOCABULARY, caption, parse, unknown_words, words
from rnri.scenes.edits import (
    GLOBAL_KINDS,
    KINDS,
    LOCAL_KINDS,
    PIE_BENCH_TYPES,
    Edit,
    Kind,
    applies,
    edit_of,
    random_edit,
)
from rnri.scenes.scene import (
    COLOURS,
    GROUNDS,
    MATERIALS,
    PLACES,
    SHAPES,
    SIZES,
    SKIES,
    STYLES,
    Item,
    Scene,
    random_scene,
)
from rnri.scenes.splits import SPLITS, Split, split, split_edits, split_of

items = st.builds(
    Item, st.sampled_from(SHAPES), st.sampled_from(COLOURS), st.sampled_from(MATERIALS), st.sampled_from(SIZES)
)
placed = st.tuples(*(st.none() | items for _ in PLACES)).filter(any)
scenes = st.builds(
    Scene,
    placed,
    st.sampled_from(GROUNDS),
    st.sampled_from(SKIES),
    st.sampled_from(STYLES),
    st.integers(0, 2**31 - 1),
)
seeds = st.integers(0, 2**32 - 1)
generators = seeds.map(np.random.default_rng)

BALL = Item("ball", "red", "metal", "small")
ALONE = Scene((BALL, None, None), "sand", "sunset")
FULL = Scene((BALL, Item("cube", "blue", "glass", "large"), Item("gem", "green", "striped", "small")), "wood", "night")


# Captions


def test_canonical_captions_read_as_documented() -> None:
    assert caption(ALONE) == "a small red metal ball on the left, on sand, at sunset"
    assert caption(replace(FULL, style="watercolour")) == (
        "a watercolour of a small red metal ball on the left, a large blue glass cube in the middle"
        " and a small green striped gem on the right, on a wooden floor, at night"
    )


settings.register_profile("scenes", deadline=None)
settings.load_profile("scenes")


@given(scenes, seeds)
def test_every_caption_parses_back_to_its_scene(scene: Scene, seed: int) -> None:
    assert parse(caption(scene), scene.seed) == scene
    paraphrase = caption(scene, np.random.default_rng(seed))
    assert parse(paraphrase, scene.seed) == scene
    assert paraphrase == caption(scene, np.random.default_rng(seed))


@given(scenes, generators)
def test_captions_are_short_tidy_and_in_the_vocabulary(scene: Scene, rng: np.random.Generator) -> None:
    for text in (caption(scene), caption(scene, rng)):
        assert len(words(text)) + 2 <= MAX_TOKENS
        assert set(words(text)) <= VOCABULARY.union(PUNCTUATION)
        assert not unknown_words(text)
        assert text == text.strip().lower()
        assert not any(slip in text for slip in ("  ", " ,", ",,", ", ;", ";,", "of on", "of in", "is on"))


@given(scenes, seeds)
def test_the_seed_is_not_in_the_words(scene: Scene, seed: int) -> None:
    assert caption(scene) == caption(replace(scene, seed=seed))


def test_the_longest_canonical_caption_fits() -> None:
    longest = max(
        len(words(caption(Scene(FULL.items, ground, sky, style))))
        for ground in GROUNDS
        for sky in SKIES
        for style in STYLES
    )
    assert longest + 2 <= MAX_TOKENS


def test_every_word_of_the_vocabulary_is_used() -> None:
    rng = np.random.default_rng(0)
    used = {word for _ in range(1500) for word in words(caption(random_scene(rng), rng))}
    assert used - set(PUNCTUATION) == VOCABULARY
    assert len(VOCABULARY) < 120


def test_each_phrase_states_one_thing() -> None:
    tables = (
        captions.SIZE_WORDS,
        captions.COLOUR_WORDS,
        captions.SHAPE_WORDS,
        captions.PLACE_PHRASES,
        captions.GROUND_PHRASES,
        captions.SKY_PHRASES,
        captions.STYLE_PREFIXES,
        captions.STYLE_SUFFIXES,
    )
    phrases = [phrase for table in tables for options in table.values() for phrase in options if phrase]
    assert len(phrases) == len(set(phrases))


def test_next_to_joins_neighbours_only() -> None:
    apart = Scene((BALL, None, BALL), "sand", "day")
    rng = np.random.default_rng(0)
    assert all("next to" not in caption(apart, rng) for _ in range(200))
    together = Scene((BALL, BALL, None), "sand", "day")
    assert any("next to" in caption(together, rng) for _ in range(200))


def test_a_place_belongs_to_the_item_before_it_or_else_after() -> None:
    after = parse("a small red metal ball on the left and a large blue glass cube on the right, on sand by day")
    before = parse("on the left a small red metal ball, on the right a large blue glass cube, on sand by day")
    assert before == after


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("a small red metal ball on the left, on sand", "names no sky"),
        ("a small red metal ball on the left, at night", "names no ground"),
        ("a small red metal ball, on sand, at night", "add it"),
        ("a red metal ball on the left, on sand, at night", "no size"),
        ("a small red blue metal ball on the left, on sand, at night", "name one"),
        ("a small red metal ball on the left, on sand, at night, by day", "name one"),
        ("a small red metal ball on the left, a large red metal cube on the left, on sand, at night", "once"),
        ("a small red metal ball and a large red metal cube on the left, on sand, at night", "has no place"),
        ("on the left, on sand, at night", "lacks"),
        ("on sand, at night", "at least one item"),
        ("a small red steel ball on the left, on sand, at night", "steel"),
        ("", "names no ground"),
    ],
)
def test_what_is_no_caption_is_refused_in_one_line(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match=cure) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_unknown_words_are_named_once_in_order() -> None:
    assert unknown_words("A ninja, a RED ball & a ninja's 2 cats") == ("ninja", "&", "'", "s", "2", "cats")


# Attributes


@given(scenes)
def test_attributes_are_complete_ordered_and_known(scene: Scene) -> None:
    found = attributes(scene)
    assert [attribute.name for attribute in found] == list(ATTRIBUTES)
    assert all(value in ATTRIBUTES[name] for name, value in found)
    for place in PLACES:
        values = {value for name, value in found if name.startswith(f"{place}.")}
        assert (scene.at(place) is None) == (values == {"no", NONE})


@given(scenes, scenes)
def test_changed_is_empty_only_for_equal_words(one: Scene, two: Scene) -> None:
    assert changed(one, two) == changed(two, one)
    assert (not changed(one, two)) == (caption(one) == caption(two))


# Edits


def _expected(kind: Kind, names: tuple[str, ...]) -> bool:
    fields = [name.split(".")[-1] for name in names]
    whole = ["present", "shape", "colour", "material", "size"]
    return {
        "replace": "shape" in fields and set(fields) <= {"shape", "colour", "material"},
        "add": fields == whole,
        "remove": fields == whole,
        "place": fields == whole * 2,
        "light": fields == ["sky"],
        "random": len(fields) > 1,
    }.get(kind, fields == [kind])


@given(st.sampled_from(KINDS), seeds)
def test_edits_change_what_their_kind_names(kind: Kind, seed: int) -> None:
    edit = random_edit(np.random.default_rng(seed), kind)
    assert edit == random_edit(np.random.default_rng(seed), kind)
    assert edit.source.seed == edit.target.seed
    assert edit.source.style == "photo"
    assert _expected(kind, edit.changed), edit.changed
    assert edit.source_prompt != edit.target_prompt
    assert parse(edit.target_prompt, edit.target.seed) == edit.target
    if kind != "random":
        assert edit.local == (kind in LOCAL_KINDS)


@given(scenes, st.sampled_from(KINDS), generators)
def test_an_edit_of_a_given_scene_applies_or_says_why_not(scene: Scene, kind: Kind, rng: np.random.Generator) -> None:
    if applies(kind, scene):
        assert edit_of(scene, kind, rng).source == scene
    else:
        with pytest.raises(ValueError, match="does not apply"):
            edit_of(scene, kind, rng)


def test_kinds_cover_the_ten_types_of_pie_bench() -> None:
    assert set(KINDS) == set(PIE_BENCH_TYPES) == {*LOCAL_KINDS, *GLOBAL_KINDS, "random"}
    assert set(PIE_BENCH_TYPES.values()) == set(range(10))
    rng = np.random.default_rng(0)
    assert {random_edit(rng).kind for _ in range(200)} == set(KINDS)


def test_a_moved_item_stays_the_same() -> None:
    edit = edit_of(ALONE, "place", np.random.default_rng(0))
    assert edit.target.at(edit.target.occupied[0]) == BALL


@pytest.mark.parametrize(
    ("kind", "target", "cure"),
    [
        ("colour", ALONE, "equals its source"),
        ("light", replace(ALONE, sky="night", seed=1), "seed 1"),
        ("paint", replace(ALONE, sky="night"), "choose one of"),
    ],
)
def test_false_edits_are_refused(kind: Kind, target: Scene, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        Edit(kind, ALONE, target)


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_outside_the_mask_of_a_local_edit_nothing_changes(kind: Kind) -> None:
    for seed in range(3):
        edit = random_edit(np.random.default_rng(seed), kind)
        images = edit.images(64)
        assert images.source.shape == images.target.shape == (64, 64, 3)
        assert images.mask.shape == (64, 64)
        difference = np.abs(images.source.astype(int) - images.target.astype(int)).max(axis=2)
        assert difference[~images.mask].max() <= edits.THRESHOLD
        assert 0.005 < images.mask.mean() < 0.9


@pytest.mark.parametrize("kind", GLOBAL_KINDS)
def test_a_global_edit_may_change_everything(kind: Kind) -> None:
    images = random_edit(np.random.default_rng(0), kind).images(32)
    assert images.mask.all()
    assert (images.source != images.target).any()


def test_growing_a_mask_reaches_rows_and_columns() -> None:
    dot = np.zeros((7, 7), dtype=bool)
    dot[3, 3] = True
    grown = edits._grow(dot, 2)
    assert grown[1:6, 1:6].all()
    assert grown.sum() == 25


# Splits


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_holds_its_own_scenes_and_grows_at_its_end(name: Split) -> None:
    found = split(name, 40)
    assert all(split_of(scene) == name for scene in found)
    assert found == split(name, 80)[:40]
    assert split(name, 5, seed=1) != found[:5]
    assert {scene.style for scene in split(name, 10, style="pixel")} == {"pixel"}


def test_splits_share_no_words() -> None:
    described = {name: {caption(scene) for scene in split(name, 100)} for name in SPLITS}
    assert not described["train"] & described["heldout"]
    assert not described["train"] & described["tuning"]
    assert not described["tuning"] & described["heldout"]


@given(scenes, seeds)
def test_the_seed_does_not_move_a_scene_to_another_split(scene: Scene, seed: int) -> None:
    assert split_of(scene) == split_of(replace(scene, seed=seed))


def test_one_scene_in_sixteen_is_held_out() -> None:
    rng = np.random.default_rng(0)
    names = [split_of(random_scene(rng)) for _ in range(3200)]
    for name in ("tuning", "heldout"):
        assert names.count(name) == pytest.approx(200, abs=56)  # four standard deviations


def test_edits_of_a_split_start_in_it_with_kinds_in_turn() -> None:
    found = split_edits("heldout", 2 * len(KINDS))
    assert [edit.kind for edit in found] == list(KINDS) * 2
    assert all(split_of(edit.source) == "heldout" for edit in found)
    assert found[:5] == split_edits("heldout", 5)
    assert not {edit.source for edit in found} & set(split("heldout", 50))


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: split("test", 1), "choose one of"),  # type: ignore[arg-type]
        (lambda: split("train", -1), "0 or more"),
        (lambda: split("train", 1, seed=-1), "0 or more"),
        (lambda: split_edits("train", 1, kinds=()), "at least one"),
        (lambda: split_edits("train", 1, kinds=("paint",)), "choose one of"),  # type: ignore[arg-type]
    ],
)
def test_bad_splits_are_refused(call: object, cure: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=cure):
        call()


def test_the_splits_that_the_weights_were_trained_with_stay() -> None:
    scenes = [
        Scene((Item(*i), None, None), g, s)
        for i in product(SHAPES, COLOURS, MATERIALS, SIZES)
        for g in GROUNDS
        for s in SKIES
    ]
    names = ",".join(split_of(scene) for scene in scenes)
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "79fd76714215884f"
