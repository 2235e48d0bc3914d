"""A CLIP tokenizer whose every known word is one token.

It is a plain ``transformers.CLIPTokenizer``: byte-level byte-pair encoding over a vocabulary made for the captions of
the embedded world (:mod:`rnri.scenes.captions`). Words it does not know fall apart into bytes and fragments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import cast

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from rnri.scenes.captions import VOCABULARY

MAX_LENGTH = 48
"""Length of the encoder's input, begin and end included."""
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"

Pair = tuple[str, str]


def split(word: str, merges: Iterable[Pair]) -> list[str]:
    """``word`` after byte-pair encoding: each merge applied everywhere, in order of rank.

    >>> split("ball", [("b", "a"), ("l", "l</w>")])
    ['ba', 'll</w>']
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    pieces = [*word[:-1], word[-1] + WORD_END]
    while True:
        found = [ranks[pair] for pair in pairwise(pieces) if pair in ranks]
        if not found:
            return pieces
        best = min(found)
        joined: list[str] = []
        for piece in pieces:
            if joined and ranks.get((joined[-1], piece)) == best:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined


def merges_for(known: Iterable[str]) -> list[Pair]:
    """Merges under which every word of ``known`` (ASCII letters) becomes one token.

    Each word in turn is split by the merges so far, and the first two pieces are joined by a new, last merge until
    one is left. Later merges have higher ranks, so they never come before those that complete an earlier word.
    """
    merges: list[Pair] = []
    for word in known:
        while len(pieces := split(word, merges)) > 1:
            merges.append((pieces[0], pieces[1]))
    return merges


def vocabulary(known: Iterable[str]) -> tuple[dict[str, int], list[Pair]]:
    """Token ids and merges: bytes, bytes that end a word, merged pieces, begin, and last the end (the highest id).

    Text encoders with the old configuration find the end of a prompt as its highest id.
    """
    merges = merges_for(known)
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + WORD_END for letter in letters), *(first + second for first, second in merges)]
    tokens = [*dict.fromkeys(pieces), BEGIN, END]
    return {token: index for index, token in enumerate(tokens)}, merges


def build(folder: Path) -> CLIPTokenizer:
    """Writes the tokenizer to ``folder`` in the standard layout and returns it.

    Ids follow from :data:`rnri.scenes.captions.VOCABULARY` alone: weights trained with one vocabulary need that one.
    Besides the files that ``CLIPTokenizer.from_pretrained`` reads there is ``words.json``: the known words, sorted.
    """
    known = sorted(VOCABULARY)
    ids, merges = vocabulary(known)
    pairs = cast("list[str]", merges)  # the constructor takes pairs; its annotation says otherwise
    tokenizer = CLIPTokenizer(vocab=ids, merges=pairs, model_max_length=MAX_LENGTH)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "words.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return tokenizer
