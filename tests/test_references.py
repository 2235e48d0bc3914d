"""What is cited for a method and for a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from rnri_core.solvers import SOLVERS, solver

import rnri
from rnri import models
from rnri.baselines import METHODS
from rnri.references import citation


def keys(entries: str) -> list[str]:
    return [line.partition("{")[2].rstrip(",") for line in entries.splitlines() if line.startswith("@")]


def test_a_method_and_a_model_are_two_entries(model: Path) -> None:
    loaded = models.load(str(model), device="cpu")
    for given in (loaded, str(model), "StableDiffusionPipeline", "scenes-turbo"):
        assert keys(rnri.citation("gnri", given)) == ["samuel2025gnri", "rombach2022latent"]
    for spec in ("anderson:memory=2", "anderson+polish"):
        assert keys(rnri.citation(solver(spec))) == keys(citation(spec)) == ["walker2011anderson", "pan2023aidi"]
    assert keys(citation("newton-krylov", "scenes")) == ["knoll2004jfnk", "eisenstat1996forcing", "rombach2022latent"]


def test_presets_and_samplers_name_what_they_are_made_of() -> None:
    assert keys(citation("auto")) == ["barzilai1988twopoint", "huberman2024edit"]
    assert keys(citation("faithful")) == ["barzilai1988twopoint"]
    assert {name: keys(citation(name)) for name in METHODS} == {name: [METHODS[name].source.key] for name in METHODS}
    assert keys(citation("edict:mixing=0.9")) == ["wallace2023edict"]


def test_every_entry_has_its_own_key() -> None:
    sources = [source for source in (models.serving(pipeline).source for pipeline in models.MODELS) if source]
    assert len({source.key for source in sources}) == len(sources) > 5
    assert not {source.key for source in sources} & {kind.source.key for kind in SOLVERS.values()}


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no publication is known of NewPipeline: cite what its card says"):
        citation("gnri", "NewPipeline")
    with pytest.raises(ValueError, match="no solver is called 'magic'"):
        citation("magic")
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(ValueError, match="is damaged"):
        citation("gnri", str(tmp_path))
