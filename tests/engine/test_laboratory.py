"""The overflow laboratory: every experiment, trained for real, shows what it says it shows."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.config import read_config
from studio.engine.control import Control
from studio.engine.models.inspect import inspect_model
from studio.engine.training import run
from studio.errors import ConfigError, StudioError
from studio.events import NumericsSampled, OverflowDiagnosed, RunEvent, StepCompleted
from studio.exponents import FP16, Histogram
from studio.i18n import LANGUAGES, set_language
from studio.runner import laboratory
from studio.runs import create_run

NAMES = [one.name for one in laboratory.experiments()]


@dataclass
class Shown:
    """What one run of an experiment showed."""

    events: list[RunEvent] = field(default_factory=list)
    error: str = ""

    @property
    def steps(self) -> list[StepCompleted]:
        return [event for event in self.events if isinstance(event, StepCompleted)]

    @property
    def losses(self) -> list[float]:
        return [step.loss for step in self.steps if not step.skipped]

    @property
    def verdicts(self) -> list[str]:
        return [event.verdict for event in self.events if isinstance(event, OverflowDiagnosed)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Shown]]:
    """All experiments, each run once, as `finetune-studio train` runs them."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: [_train(path, folder) for path in laboratory.prepare(laboratory.experiment(name))] for name in NAMES}


def _train(path: Path, folder: Path) -> Shown:
    config, shown = read_config(path), Shown()
    try:
        run.train(config, create_run(folder, path.stem, path.read_text("utf-8")), Control(), shown.events.append)  # type: ignore[arg-type]
    except StudioError as error:
        shown.error = str(error)
    return shown


def _difference(losses: list[float], reference: list[float]) -> float:
    """The largest relative difference over all updates."""
    return max(abs(loss - other) / other for loss, other in zip(losses, reference, strict=True))


def test_every_experiment_ends_in_its_verdict_and_no_other(shown: dict[str, list[Shown]]) -> None:
    for name, runs in shown.items():
        expected = laboratory.experiment(name).verdict
        found = {verdict for one in runs for verdict in one.verdicts}
        assert found == ({expected} if expected else set()), name


def test_at_a_fixed_huge_scale_nothing_is_learnt(shown: dict[str, list[Shown]]) -> None:
    (one,) = shown["overflow"]
    assert all(step.skipped and step.update == 0 for step in one.steps)
    assert "dynamic loss scaling" in one.error


def test_a_search_from_the_same_height_ends_and_the_loss_falls(shown: dict[str, list[Shown]]) -> None:
    (one,) = shown["search"]
    descent = list(itertools.takewhile(lambda step: step.skipped, one.steps))
    assert len(descent) > 15
    assert one.losses[-1] < one.losses[0] - 0.5


def test_without_scaling_the_loss_stands_still_and_1024_rescues_it(shown: dict[str, list[Shown]]) -> None:
    (lost,), (rescued,) = shown["underflow"], shown["rescue"]
    assert lost.losses[0] == rescued.losses[0]
    assert not lost.error
    assert not rescued.error
    learnt, could = (one.losses[0] - one.losses[-1] for one in (lost, rescued))
    assert could > 1.0
    assert learnt < could / 3


def test_the_histogram_of_the_rescued_run_foretells_what_is_lost_without(shown: dict[str, list[Shown]]) -> None:
    (one,) = shown["rescue"]
    first = next(event for event in one.events if isinstance(event, NumericsSampled))
    flowing = Histogram.from_dict(first.gradients)
    without, with_scale = (flowing.shares(scale, FP16).zero for scale in (1.0, 1024.0))
    assert without > 0.2
    assert with_scale < 0.01


def test_activations_beyond_fp16_name_their_layer(shown: dict[str, list[Shown]]) -> None:
    (one,) = shown["forward-overflow"]
    assert all(math.isnan(step.loss) or math.isinf(step.loss) for step in one.steps)
    assert "The output of model.layers.0." in one.error
    assert "bf16" in one.error


def test_16_bits_with_a_master_copy_follow_fp32(shown: dict[str, list[Shown]]) -> None:
    fp32, fp16, bf16 = (one.losses for one in shown["precisions"])
    assert _difference(fp16, fp32) < 0.005
    assert _difference(bf16, fp32) < 0.02
    assert fp32[-1] < fp32[0] - 1.0


def test_16_bits_without_a_master_copy_visibly_do_not(shown: dict[str, list[Shown]]) -> None:
    """In parts of what fp32 learns: fp16-pure about half of it, bf16-pure next to nothing."""
    fp32, fp16, bf16 = (one.losses for one in shown["pure"])
    learnt = fp32[0] - fp32[-1]
    assert learnt > 0.2
    assert fp16[0] - fp16[-1] < 0.75 * learnt
    assert bf16[0] - bf16[-1] < 0.3 * learnt
    assert _difference(fp16, fp32) > 0.02
    assert _difference(bf16, fp32) > 0.04


def test_the_model_is_the_same_every_time_and_computes_the_same_at_any_size_between_layers() -> None:
    quiet, loud = laboratory.make_model(1.0), laboratory.make_model(8e3)
    assert laboratory.make_model(1.0) == quiet
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (quiet, loud)]
    tokenizer = AutoTokenizer.from_pretrained(quiet)
    ids = tokenizer("Überlauf beyond 65504", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        first, second = (model(ids).logits for model in models)
    # Not bit for bit: the layers write 8,000 times as much, and the ε of the norms weighs less.
    torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-2)
    assert tokenizer.decode(ids[0]) == "Überlauf beyond 65504"
    info = inspect_model(quiet)
    assert (info.kind, info.problems) == ("chat", ())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_experiment_explains_itself_in_every_language(language: str) -> None:
    english = {one.name: one for one in laboratory.experiments()}
    set_language(language)
    for one in laboratory.experiments():
        assert all((one.title, one.explanation, one.look_at))
        assert (one.title == english[one.name].title) == (language == "en")


def test_an_unknown_experiment_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no experiment nonsense.*underflow"):
        laboratory.experiment("nonsense")


def test_a_disk_that_is_full_as_the_tokenizer_is_written_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(stream: float) -> Path:
        raise Exception("No space left on device (os error 28)")  # noqa: TRY002 - what tokenizers raise

    monkeypatch.setattr(laboratory, "make_model", full)
    with pytest.raises(StudioError, match=r"The laboratory cannot be set up in .*: No space left on device"):
        laboratory.prepare(laboratory.experiment(NAMES[0]))
