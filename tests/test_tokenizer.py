"""The tokenizer of the embedded checkpoints: one token per known word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from transformers import CLIPTokenizer

from rnri.scenes.captions import PUNCTUATION, VOCABULARY, caption, words
from rnri.scenes.scene import random_scene
from training.tokenizer import MAX_LENGTH, build, merges_for, split, vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    build(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> CLIPTokenizer:
    loaded = CLIPTokenizer.from_pretrained(folder)
    assert isinstance(loaded, CLIPTokenizer)
    return loaded


@pytest.mark.parametrize("word", sorted(VOCABULARY) + list(PUNCTUATION))
def test_a_known_word_is_one_token_of_its_own(tokenizer: CLIPTokenizer, word: str) -> None:
    assert tokenizer.tokenize(word) == [word + "</w>"]
    assert tokenizer.tokenize(f"a {word.upper()} b")[1:-1] == [word + "</w>"]


def test_captions_take_a_token_per_word_and_read_back(tokenizer: CLIPTokenizer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = caption(random_scene(rng), rng)
        ids = tokenizer(text).input_ids
        assert len(ids) == len(words(text)) + 2
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert words(str(tokenizer.decode(ids, skip_special_tokens=True))) == words(text)


@pytest.mark.parametrize("text", ["a ninja's café; 42 footballs!?", "狗 🙂", "<|endoftext|> a ball", "\ta\n", "..,,"])
def test_any_text_falls_apart_into_known_pieces(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids
    assert all(0 <= index < len(tokenizer) for index in ids)
    if "<|" not in text:
        assert tokenizer.unk_token_id not in ids


def test_prompts_are_padded_and_cut_to_the_encoder(tokenizer: CLIPTokenizer) -> None:
    batch = tokenizer(["a ball", "a ball " * 60], padding="max_length", truncation=True)
    assert [len(ids) for ids in batch.input_ids] == [MAX_LENGTH, MAX_LENGTH]
    short, long = batch.input_ids
    assert short[3:] == [tokenizer.eos_token_id] * (MAX_LENGTH - 3)
    assert long[-1] == tokenizer.eos_token_id


def test_the_end_has_the_highest_id(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.bos_token_id == len(tokenizer) - 2


def test_both_file_layouts_give_the_same_ids(folder: Path, tmp_path: Path, tokenizer: CLIPTokenizer) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    other = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a watercolour of a small red metal ball on the left, in the snow, at night, beside a yéti"
    assert other(text).input_ids == tokenizer(text).input_ids
    assert other.model_max_length == tokenizer.model_max_length == MAX_LENGTH


def test_building_twice_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    build(tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json", "words.json"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((folder / "words.json").read_text()) == sorted(VOCABULARY)


def test_merges_complete_words_that_share_parts() -> None:
    known = ["ab", "abab", "bab", "aab", "baab", "aaaa", "abba"]
    merges = merges_for(known)
    assert all(split(word, merges) == [word + "</w>"] for word in known)
    ids, _ = vocabulary(known)
    assert sorted(ids.values()) == list(range(len(ids)))
