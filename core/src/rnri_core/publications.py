"""Publications that methods and models come from, as attributes: the entries of ``publications.bib``.

>>> from rnri_core import publications
>>> print(publications.GNRI)
Samuel et al., ICLR 2025
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from rnri_core.registry import Source

_ENTRY = re.compile(r"^(\w+)\n@\w+\{(\S+),\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{+(.*?)\}+,?$", re.MULTILINE)


@cache
def entries() -> Mapping[str, Source]:
    """The publications by name, the word before an entry of ``publications.bib``, in the order of the file.

    >>> entries()["ANDERSON"].key
    'walker2011anderson'
    """
    text = files("rnri_core").joinpath("publications.bib").read_text(encoding="utf-8")
    return {name: _source(key, dict(_FIELD.findall(body))) for name, key, body in _ENTRY.findall(text)}


def _source(key: str, field: Mapping[str, str]) -> Source:
    venue = field.get("booktitle") or field["journal"]
    return Source(key, field["title"], field["author"], venue, int(field["year"]), field.get("eprint", ""))


def __getattr__(name: str) -> Source:
    try:
        return entries()[name]
    except KeyError:
        raise AttributeError(f"publications.bib has no entry {name!r}") from None
