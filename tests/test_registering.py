"""Families and schedulers from outside, names of 0.1, and what is refused before it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rnri_core import registry

from rnri import models
from rnri.models.families.stable_diffusion import StableDiffusion
from tests import tiny

OUTSIDE = """
from rnri.models.families.stable_diffusion import StableDiffusion

class Outside(StableDiffusion):
    title = "Outside"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution that declares a family, and one whose module is not there."""
    (tmp_path / "outside_family.py").write_text(OUTSIDE)
    about = tmp_path / "outside-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    lines = ("[rnri.families]", "OutsidePipeline = outside_family:Outside", "LostPipeline = no_such_module:Lost")
    (about / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.plugins.cache_clear()
    yield
    registry.plugins.cache_clear()
    with suppress(KeyError):
        del models.MODELS["OutsidePipeline"]
    sys.modules.pop("outside_family", None)


@pytest.mark.usefixtures("installed")
def test_a_family_from_outside_is_served_by_its_entry_point() -> None:
    assert list(models.MODELS)[-2:] == ["OutsidePipeline", "LostPipeline"]
    assert "outside_family" not in sys.modules
    pipe = type("OutsidePipeline", (type(tiny.pipeline()),), {})(
        **tiny.pipeline().components, requires_safety_checker=False
    )
    model = models.from_pipe(pipe)
    assert (model.title, model.source) == ("Outside", StableDiffusion.source)
    assert model.fingerprint == models.from_pipe(tiny.pipeline()).fingerprint
    with pytest.raises(ValueError, match=r"'LostPipeline' .*no_such_module") as raised:
        models.serving("LostPipeline")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new"), [("Family", "ModelAdapter"), ("from_parts", "from_components"), ("part", "component")]
)
def test_a_name_of_the_last_version_is_the_new_one_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"rnri.models.{old} is now {new}; the old name goes in 0.3"):
        assert getattr(models, old) is getattr(models, new)


def test_every_public_name_is_there_and_tables_and_options_need_no_torch() -> None:
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        models.nothing  # noqa: B018
    code = (
        "import sys, rnri.models, rnri.models.loading as loading\n"
        "assert rnri.models.MODELS and rnri.models.EMBEDDED and loading.Loading().offload == 'none'\n"
        "assert rnri.models.Defaults().steps == 30\n"
        "sys.exit(bool({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pipeline_that_is_code_of_its_own_is_refused(tmp_path: Path) -> None:
    tiny.pipeline().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": ["mine", "StableDiffusionPipeline"]}))
    (tmp_path / "mine.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(ValueError, match=r"its pipeline is code of its own \(.*mine.*\), which is not run") as raised:
        models.load(str(tmp_path), device="cpu")
    assert "\n" not in str(raised.value)
