"""Editors in many threads: every result has the bits that one thread gets, whatever the others do meanwhile.

Threads meet rarely at the few instructions that race. So state that belongs to the process is held a moment longer
here: the same code runs, with a pause in it that gives way to the other threads.
"""

from __future__ import annotations

import copy
import itertools
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
import transformers
from rnri_core import threads
from rnri_core.inversion.inversion import Inversion
from rnri_core.solvers.equation import Equation
from torch import Tensor
from torch._functorch import eager_transforms

from rnri import images, models
from rnri.editing.editor import Editor
from rnri.models import ModelAdapter, PromptWarning
from rnri.models.loading import Loading
from rnri.models.prompts import prompt_warnings
from rnri.scenes.reader import Reader
from tests import tiny, tiny_families
from tests.tiers import sized

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPTS = ["ball", "a red ball on sand", "a small blue metal cube on the left"]
PAUSE = 5e-4
T = TypeVar("T")


@pytest.fixture(autouse=True)
def eager_switches() -> Iterator[None]:
    """Python threads give way more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def slowed(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Pause after each call of a function, as if another thread were given its turn there."""
    function = getattr(owner, name)

    def pausing(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        time.sleep(PAUSE)
        return result

    monkeypatch.setattr(owner, name, pausing)


@pytest.fixture(autouse=True)
def slow_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the padding that is set and the text that is padded."""
    slowed(monkeypatch, transformers.PreTrainedTokenizerFast, "set_truncation_and_padding")


def at_once(*jobs: Callable[[], T]) -> list[T]:
    """The results of jobs that begin at the same time, each in a thread of its own."""
    begin = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        begin.wait(30)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def assert_same_bits(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert torch.equal(one, other)


def pixels(model: ModelAdapter) -> Tensor:
    """One picture, not square, of a size that the family takes."""
    height, width = (32, 64) if model.multiple < 4 else (4 * model.multiple, 6 * model.multiple)
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def inverted(editor: Editor, picture: Tensor, prompt: str, **how: Any) -> Inversion:
    height, width = picture.shape[-2:]
    return editor.invert(picture, prompt, resolution=(width, height), steps=2, **{"iterations": 1, **how})


# --- every family -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=tiny_families.CASES)
def model(request: pytest.FixtureRequest) -> ModelAdapter:
    return models.from_pipe(tiny_families.build(request.param))


def test_prompts_are_read_as_by_one_thread(model: ModelAdapter) -> None:
    def read(prompts: list[str]) -> list[Tensor]:
        condition = model.embed(prompts)
        return [condition.tokens, *condition.more.values()]

    batches = [[prompt] for prompt in PROMPTS] + [PROMPTS]
    expected = [read(prompts) for prompts in batches]
    jobs = [lambda n=n: [read(batches[(n + k) % len(batches)]) for k in range(2)] for n in range(4)]
    for n, found in enumerate(at_once(*jobs)):
        for k, each in enumerate(found):
            assert_same_bits(each, expected[(n + k) % len(batches)])


def test_pictures_are_those_of_one_thread(model: ModelAdapter) -> None:
    editor, picture = Editor(model), pixels(model)
    source = inverted(editor, picture, PROMPTS[0])
    guidance = 1.0 if model.guidance == "none" else 2.0

    def work(prompt: str) -> list[Tensor]:
        latents = model.encode(picture)
        steps = [torch.tensor([step.t, step.a, step.b, step.scale]) for step in editor.schedule(latents, steps=3)]
        drawn = editor.edit(source, prompt, guidance=guidance).picture
        return [latents, *steps, model.decode(latents), images.read(drawn), *inverted(editor, picture, prompt).latents]

    prompts = PROMPTS[1:]
    expected = [work(prompt) for prompt in prompts]
    for _ in range(sized(check=1, test=1, soak=20)):
        for found, wanted in zip(at_once(*(lambda p=p: work(p) for p in prompts)), expected, strict=True):
            assert_same_bits(found, wanted)


# --- what one thread may do to the others -------------------------------------------------------------------------


@pytest.fixture
def editor() -> Editor:
    return Editor(models.from_pipe(tiny.pipeline()))


def test_networks_run_beside_each_other(editor: Editor) -> None:
    """Two threads are within the network at the same time, or the one that came first gives up waiting."""
    meet = threading.Barrier(2)
    m, z = editor.denoiser(PROMPTS[:1]), torch.zeros(1, 4, 8, 8)

    def waits(*_: Any) -> None:
        meet.wait(30)

    handle = editor.model.network.register_forward_hook(waits)  # type: ignore[attr-defined]
    at_once(lambda: m(z, 499.0), lambda: m(z, 499.0))
    handle.remove()


@pytest.mark.parametrize("how", ["compiled", "offloaded"])
def test_what_is_compiled_or_offloaded_runs_one_call_after_another(how: str) -> None:
    """A whole call of the editor, so that weights stay between a network and its gradient."""
    model: Any = models.from_pipe(tiny.pipeline())
    editor, picture = Editor(model), pixels(model)
    expected = inverted(editor, picture, PROMPTS[1]).latents
    if how == "compiled":
        model.network.compile(backend="eager")
    else:
        model.place(torch.device("cpu"), Loading(offload="model"))
    assert model.one_at_a_time
    order, predict = list[int](), model.predict

    def predicts(*args: Any) -> Tensor:
        order.append(threading.get_ident())
        output: Tensor = predict(*args)
        return output

    model.predict = predicts
    found = at_once(*(lambda: inverted(editor, picture, PROMPTS[1]).latents for _ in range(2)))
    assert sum(one != other for one, other in itertools.pairwise(order)) == 1
    for each in found:
        torch.testing.assert_close(each, expected)


def test_attention_that_one_thread_controls_is_its_own(editor: Editor) -> None:
    picture = pixels(editor.model)  # type: ignore[arg-type]
    source = inverted(editor, picture, PROMPTS[0])

    def edited(controls: tuple[str, ...]) -> list[Tensor]:
        return [images.read(editor.edit(source, PROMPTS[2], controls=controls).picture)]

    ways: list[tuple[str, ...]] = [("prompt-to-prompt",), ("masactrl",), (), ()]
    expected = [edited(way) for way in ways]
    for found, wanted in zip(at_once(*(lambda way=way: edited(way) for way in ways)), expected, strict=True):
        assert_same_bits(found, wanted)
    assert not torch.equal(expected[0][0], expected[2][0])


def test_exact_products_of_one_thread_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward-mode differentiation counts its nesting for the process, and needs attention in its plain form."""
    for name in ("enter_jvp_nesting", "exit_jvp_nesting"):
        slowed(monkeypatch, eager_transforms, name)
    z, v = torch.randn(2, 1, 2, 96, 16, generator=torch.Generator().manual_seed(0))

    def attention(x: Tensor) -> Tensor:
        time.sleep(PAUSE)
        return torch.nn.functional.scaled_dot_product_attention(x, 2 * x, x)

    def product() -> Tensor:
        return Equation(attention).jvp(z, v)

    def plain() -> Tensor:
        return attention(z)

    ways: list[Callable[[], Tensor]] = [product, product, plain, plain]
    expected = [way() for way in ways]
    for found, wanted in zip(
        at_once(*(lambda way=way: [way() for _ in range(8)] for way in ways)), expected, strict=True
    ):
        assert_same_bits(found, 8 * [wanted])


def test_what_overflows_in_one_thread_changes_nothing_in_another() -> None:
    pipe = tiny.pipeline().to(torch.float16)
    pipe.vae.decoder.conv_in.weight.data.fill_(6e4)
    given = [torch.full((1, 4, 8, 8), value) for value in (64.0, 1e-4)]
    expected = [models.from_pipe(pipe).decode(latents) for latents in given]
    model = models.from_pipe(pipe)
    jobs = [lambda z=z: [model.decode(z) for _ in range(4)] for z in (*given, *given)]
    for n, found in enumerate(at_once(*jobs)):
        assert_same_bits(found, 4 * [expected[n % 2]])
    assert all(each.isfinite().all() for each in expected)


def test_what_is_loaded_meanwhile_changes_nothing(
    editor: Editor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading sets the default dtype, filters of warnings and how modules are made, for all threads."""
    folder = str(tiny.save(tiny.pipeline(), tmp_path))
    slowed(monkeypatch, torch, "set_default_dtype")
    picture = pixels(editor.model)  # type: ignore[arg-type]
    before = (torch.get_rng_state(), copy.copy(warnings.filters), torch.nn.Module.register_parameter)
    loaded = threading.Event()

    def load(dtype: torch.dtype) -> list[Tensor]:
        return [models.load(folder, device="cpu", dtype=dtype).encode(picture)]

    def work() -> list[Tensor]:
        found: list[Tensor] = []
        while not found or not loaded.is_set():
            found = [*inverted(editor, picture, PROMPTS[1]).latents, images.read(editor.generate(PROMPTS[0], steps=2))]
            assert all(z.dtype == torch.float32 for z in found)
            assert_same_bits(found, expected)
        return found

    def loads() -> list[Tensor]:
        try:
            found = at_once(lambda: load(torch.float16), lambda: load(torch.bfloat16))
        finally:
            loaded.set()
        return [each for one in found for each in one]

    expected = [*inverted(editor, picture, PROMPTS[1]).latents, images.read(editor.generate(PROMPTS[0], steps=2))]
    wanted = [*load(torch.float16), *load(torch.bfloat16)]
    found, *_ = at_once(loads, work, work)
    assert_same_bits(found, wanted)
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (warnings.filters, torch.nn.Module.register_parameter) == before[1:]


def test_warnings_of_prompts_are_those_of_the_thread_that_said_them(editor: Editor) -> None:
    long, begun, done = " ".join(["ball"] * 20), threading.Event(), threading.Event()
    filters = copy.copy(warnings.filters)

    def first() -> list[str]:
        with prompt_warnings() as collected:
            begun.set()
            assert done.wait(30)
        return collected

    def second() -> list[str]:
        assert begun.wait(30)
        with prompt_warnings() as collected:
            editor.model.embed([long])
        done.set()
        return collected

    silent, said = at_once(first, second)
    assert (silent, len(said)) == ([], 1)
    assert warnings.filters == filters
    with pytest.warns(PromptWarning, match="the prompt is longer"):
        editor.model.embed([long])


def test_pictures_are_opened_without_a_trace_in_the_filters_of_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, warnings, "simplefilter")
    file, filters = images.encode(torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()), copy.copy(warnings.filters)
    at_once(*[lambda: [images.decode(file) for _ in range(5)]] * 4)
    assert warnings.filters == filters


def test_pictures_are_described_as_by_one_thread() -> None:
    reader, noise = Reader.load(), torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = [reader.describe(each) for each in noise]
    assert at_once(*(lambda each=each: Reader.load().describe(each) for each in noise)) == expected


# --- the locks ----------------------------------------------------------------------------------------------------


def test_exclusive_waits_for_all_and_goes_before_who_comes_later() -> None:
    lock, order = threads.SharedLock(), list[str]()
    shared, waits = threading.Event(), threading.Event()

    def reader() -> None:
        with lock.shared():
            shared.set()
            assert waits.wait(30)
            time.sleep(0.05)  # the writer waits now
            order.append("reader")

    def writer() -> None:
        assert shared.wait(30)
        waits.set()
        with lock.exclusive(), lock.exclusive(), lock.shared():
            order.append("writer")

    def late() -> None:
        assert waits.wait(30)
        time.sleep(0.02)
        with lock.shared(), lock.shared():
            order.append("late")

    at_once(reader, writer, late)
    assert order == ["reader", "writer", "late"]
    with lock.shared(), pytest.raises(RuntimeError, match="leave it first"), lock.exclusive():
        pass
    with lock.exclusive():
        pass
