"""Writes the tables of the listing commands from the registries: ``python docs/make_catalog.py``."""

from __future__ import annotations

import json

from rnri.cli.catalog import PATH, build

if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
