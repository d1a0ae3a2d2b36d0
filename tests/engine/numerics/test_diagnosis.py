"""Streams of steps, each with one thing the matter, end in the one right verdict; healthy ones in none."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from studio.engine.numerics.diagnosis import Diagnosis
from studio.engine.numerics.facts import FirstNonFinite, StepFacts
from studio.engine.numerics.verdicts import VERDICTS
from studio.engine.precision import PRECISIONS
from tests.engine.numerics.diagnosis_streams import DAMAGED, Step, completed, play, run_config

SEEDS = range(12)
ROWS = (("data/train.jsonl", 17, 412), ("data/train.jsonl", 3, 90))
FORWARD = FirstNonFinite(module="model.layers.5.mlp.down_proj", direction="forward", largest_before=41216.0)
BACKWARD = FirstNonFinite(module="model.layers.2.self_attn.v_proj", direction="backward", largest_before=60000.0)


def healthy(rng: np.random.Generator, largest: float = 0.05) -> Step:
    """A step of a run that goes well: gradients vary from batch to batch by a factor of two or so."""
    return Step(
        largest=largest * 2.0 ** rng.normal(0, 0.5), loss=2.0 + rng.normal(0, 0.2), grad_norm=rng.gamma(3.0, 0.3)
    )


# --- benign ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "fp16-mixed", "bf16-pure", "fp16-pure"])
def test_a_run_that_goes_well_ends_without_any_verdict(precision: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcome = play(run_config(precision), lambda batch: healthy(rng), attempts=int(rng.integers(20, 400)))
    assert outcome.verdicts == []
    assert outcome.skipped == 0


@pytest.mark.parametrize("updates", [1, 4, 19, 20, 300])
def test_a_warm_up_with_three_skips_ends_without_a_warning(updates: int) -> None:
    outcome = play(run_config(), lambda batch: Step(largest=5.0), attempts=3 + updates)
    assert outcome.skipped == 3
    assert outcome.names == ["scale_search"]
    assert outcome.harmful == []
    assert outcome.verdicts[0].evidence["to_scale"] == 8192.0
    assert outcome.verdicts[0].evidence["skipped"] == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_whose_skips_are_scattered_is_told_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = np.sort(65504.0 / 2.0 ** rng.uniform(8, 16, size=30))  # each batch a little harder than those before
    config = run_config(initial_scale=2.0 ** rng.integers(15, 25))
    outcome = play(config, lambda batch: Step(largest=float(sizes[min(batch, 29)])), attempts=150)
    assert outcome.skipped > 0
    assert outcome.names == ["scale_search"]


@pytest.mark.parametrize("initial", [2.0**22, 2.0**30, 1e30, 1e38])
def test_a_search_from_a_huge_scale_is_a_search_however_long(initial: float) -> None:
    outcome = play(run_config(initial_scale=initial), lambda batch: Step(), attempts=200)
    assert outcome.names == ["scale_search"]
    assert outcome.verdicts[0].evidence["skipped"] == outcome.skipped > 0
    assert outcome.paused_at is None


def test_a_run_that_ends_while_the_scale_is_searched_says_nothing() -> None:
    assert play(run_config(initial_scale=1e38), lambda batch: Step(), attempts=20).verdicts == []


@pytest.mark.parametrize("interval", [20, 50, 333])
def test_one_skip_after_each_growth_is_a_probe(interval: int) -> None:
    config = run_config(growth_interval=interval, initial_scale=1024.0)
    outcome = play(config, lambda batch: Step(largest=60.0), attempts=interval * 9)
    assert set(outcome.names) == {"growth_probe"}
    assert outcome.verdicts[0].evidence["tried_scale"] == 2048.0
    assert outcome.verdicts[0].evidence["scale"] == 1024.0


def test_a_hundred_thousand_steps_with_a_probe_every_two_thousand_give_few_words_and_no_warning() -> None:
    rng = np.random.default_rng(5)
    outcome = play(run_config(), lambda batch: healthy(rng, largest=0.2), attempts=100_000)
    assert outcome.skipped >= 40
    assert outcome.harmful == []
    assert 1 <= len(outcome.verdicts) <= 12


def test_a_batch_with_larger_gradients_than_ever_is_no_reason_to_worry() -> None:
    outcome = play(run_config(), lambda batch: Step(largest=80.0 if batch == 500 else 0.4), attempts=800)
    assert outcome.names == ["scale_search"]
    assert not outcome.verdicts[0].evidence["at_start"]


def test_gradients_that_shrink_and_grow_through_a_run_are_followed_without_a_warning() -> None:
    config = run_config(growth_interval=60)
    outcome = play(config, lambda batch: Step(largest=0.05 * 2.0 ** (6 * math.sin(batch / 400))), attempts=6000)
    assert outcome.skipped > 50
    assert outcome.harmful == []


# --- scaling that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("interval", [1, 2, 5, 11])
def test_a_scale_that_grows_too_soon_overflows_chronically(interval: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = 65504.0 / 2.0 ** rng.uniform(6, 15)
    config = run_config(growth_interval=interval, initial_scale=2.0 ** rng.integers(4, 18))
    outcome = play(config, lambda batch: Step(largest=size, located=BACKWARD), attempts=int(rng.integers(300, 900)))
    assert outcome.names == ["chronic_overflow"]
    assert outcome.paused_at is None  # each overflow was answered: the run does go on
    assert outcome.verdicts[0].evidence["module"] == BACKWARD.module
    assert outcome.verdicts[0].remedies[0] == "use_dynamic_scaling"


@pytest.mark.parametrize("interval", [50, 120, 150])
def test_growths_that_take_many_steps_back_are_chronic_by_their_share(interval: int) -> None:
    """They begin less often than once in twenty steps, and cost more than one step in twenty."""
    config = run_config(growth_interval=interval, growth_factor=1024.0, initial_scale=1024.0)
    outcome = play(config, lambda batch: Step(largest=60.0), attempts=5 * (interval + 10))
    assert outcome.harmful == ["chronic_overflow"]
    assert outcome.verdicts[-1].evidence["share"] > 0.05
    assert outcome.verdicts[-1].remedies[0] == "use_dynamic_scaling"
    assert "customary" in next(verdict for verdict in outcome.verdicts if verdict.harmful).advice


def test_one_growth_that_takes_many_steps_back_is_not_chronic_and_nor_are_rare_ones() -> None:
    once = run_config(growth_interval=50, growth_factor=1024.0, initial_scale=1024.0)
    assert play(once, lambda batch: Step(largest=60.0), attempts=100).harmful == []
    rare = run_config(growth_interval=400, growth_factor=1024.0, initial_scale=1024.0)
    assert play(rare, lambda batch: Step(largest=60.0), attempts=4000).harmful == []


def test_gradients_that_outgrow_a_scale_of_long_standing_are_not_chronic() -> None:
    """The scale is where it was before, but it did not grow on the way down: it follows the gradients."""
    sizes = [80.0] * 3 + [0.5] * 900 + [2.0**octave for octave in range(7) for _ in range(4)] + [80.0] * 100
    config = run_config(growth_interval=100)
    assert play(config, lambda batch: Step(largest=sizes[batch]), attempts=1000).harmful == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_static_scale_that_is_too_large_for_some_batches_overflows_chronically(seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.12, 0.6)
    config = run_config(loss_scaling="static", initial_scale=float(rng.choice([128.0, 1024.0, 50000.0])))
    too_large = 70000.0 / config.precision.initial_scale
    outcome = play(
        config, lambda batch: Step(largest=too_large if rng.random() < share else 0.01), attempts=300, pauses=False
    )
    assert outcome.names[0] == "chronic_overflow"
    assert set(outcome.names) == {"chronic_overflow"}
    assert len(outcome.names) <= 2  # once more at most, when it got four times as bad


def test_a_static_scale_that_never_fits_is_named_before_the_run_pauses() -> None:
    outcome = play(run_config(loss_scaling="static", initial_scale=1e6), lambda batch: Step(), attempts=100)
    assert outcome.names == []
    outcome = play(run_config(loss_scaling="static", initial_scale=1e7), lambda batch: Step(), attempts=100)
    assert (outcome.names, outcome.paused_at) == (["chronic_overflow"], 5)


@pytest.mark.parametrize("scaling", ["static", "off"])
def test_an_overflow_now_and_then_at_a_fixed_scale_is_not_chronic(scaling: str) -> None:
    config = run_config(loss_scaling=scaling, initial_scale=256.0)
    outcome = play(config, lambda batch: Step(largest=70000.0 if batch % 50 == 49 else 0.1), attempts=5000)
    assert outcome.skipped == 100
    assert outcome.verdicts == []


@pytest.mark.parametrize("floor", [1.0, 128.0, 2.0**-10])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_overflow_at_the_floor_is_a_collapse(floor: float, share: float) -> None:
    rng = np.random.default_rng(int(share * 10))
    hopeless = Step(largest=1e9, located=BACKWARD)
    outcome = play(
        run_config(minimum_scale=floor), lambda batch: hopeless if rng.random() < share else Step(largest=0.01), 400
    )
    assert set(outcome.names) == {"scale_collapse"}
    assert outcome.verdicts[0].evidence["scale"] == floor
    assert outcome.verdicts[0].evidence["module"] == BACKWARD.module


def test_a_lower_rate_is_offered_only_after_updates_and_a_lower_floor_only_above_the_customary_one() -> None:
    def remedies(floor: float, good: int) -> list[str]:
        at = Step(largest=1e12)
        outcome = play(run_config(minimum_scale=floor), lambda batch: at if batch >= good else Step(largest=1e-3), 90)
        return outcome.verdicts[-1].remedies

    assert remedies(1.0, 0) == ["use_bf16", "use_fp32"]
    assert remedies(128.0, 0) == ["lower_floor", "use_bf16", "use_fp32"]
    assert remedies(1.0, 5) == ["use_bf16", "use_fp32", "lower_learning_rate", "restore_checkpoint"]


@pytest.mark.parametrize(("failing", "tried"), [(2, 2), (2, 0), (1, 2)])
def test_activations_that_updates_led_beyond_fp16_want_a_lower_rate_unless_single_rows_do(
    failing: int, tried: int
) -> None:
    bad = Step(loss=math.nan, located=FORWARD, rows=ROWS[:failing], rows_tried=tried)
    verdict = play(run_config(), lambda batch: bad if batch >= 5 else Step(), attempts=9).verdicts[-1]
    rate = ["lower_learning_rate", "restore_checkpoint"]
    assert verdict.remedies == (
        ["use_bf16", "use_fp32", "skip_rows"] if failing < tried else [*rate, "use_bf16", "use_fp32"]
    )


def test_a_single_overflow_at_the_floor_is_not_a_collapse() -> None:
    outcome = play(run_config(), lambda batch: Step(largest=1e9 if batch == 30 else 0.01), attempts=200)
    assert outcome.harmful == []


# --- values that no scale helps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("every", [1, 7, 60])
def test_activations_beyond_fp16_are_a_forward_overflow_whatever_the_scale(every: int, loss: float) -> None:
    bad = Step(loss=loss, located=FORWARD, rows=ROWS)
    outcome = play(run_config(), lambda batch: bad if batch % every == 0 else Step(), attempts=200)
    assert set(outcome.names) == {"forward_overflow"}
    assert (outcome.paused_at == 5) == (every == 1)
    assert "use_dynamic_scaling" not in outcome.verdicts[0].remedies
    assert outcome.verdicts[0].remedies[0] == "use_bf16"


def test_where_it_began_is_looked_for_once_and_remembered_for_the_steps_that_follow() -> None:
    steps = [Step(loss=math.nan, located=FORWARD if batch == 0 else None) for batch in range(50)]
    assert play(run_config(), lambda batch: steps[batch], attempts=50).names == ["forward_overflow"]


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "fp16-mixed"])
@pytest.mark.parametrize("every", [1, 9, 80])
def test_a_bad_row_is_a_nonfinite_loss_in_every_precision(every: int, precision: str) -> None:
    in_loss = FirstNonFinite(module="", direction="loss", largest_before=11.0)
    bad = Step(loss=math.nan, located=in_loss, rows=ROWS)
    outcome = play(run_config(precision), lambda batch: bad if batch % every == 0 else Step(), attempts=200)
    assert set(outcome.names) == {"nonfinite_loss"}
    assert outcome.verdicts[0].remedies[0] == "skip_rows"
    assert outcome.verdicts[0].evidence["rows"][0] == {"source": "data/train.jsonl", "number": 17, "tokens": 412}


def test_a_forward_pass_that_fails_in_fp32_too_is_not_blamed_on_fp16() -> None:
    located = FirstNonFinite(module="model.norm", direction="forward", largest_before=3.0, exceeds_fp16=False)
    outcome = play(run_config(), lambda batch: Step(loss=math.nan, located=located), attempts=50)
    assert outcome.names == ["nonfinite_loss"]


def test_a_forward_pass_that_fails_in_bf16_is_a_nonfinite_loss() -> None:
    outcome = play(run_config("bf16-mixed"), lambda batch: Step(loss=math.inf, located=FORWARD), attempts=50)
    assert outcome.names == ["nonfinite_loss"]


def test_a_loss_that_nobody_looked_into_is_told_when_it_repeats() -> None:
    once = play(run_config("fp32"), lambda batch: Step(loss=math.nan if batch == 9 else 2.0), attempts=50)
    assert once.names == []
    often = play(run_config("fp32"), lambda batch: Step(loss=math.nan if batch % 9 == 8 else 2.0), attempts=50)
    assert often.names == ["nonfinite_loss"]


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "fp16-mixed"])
@pytest.mark.parametrize("good", [0, 1, 70])
def test_weights_that_are_not_numbers_are_named_at_once(good: int, precision: str) -> None:
    damaged = Step(loss=math.nan, located=DAMAGED)
    outcome = play(run_config(precision), lambda batch: damaged if batch >= good else Step(), attempts=200)
    assert (outcome.names, outcome.verdicts[0].step, outcome.paused_at) == (["nonfinite_weights"], good + 1, good + 5)
    assert outcome.verdicts[0].remedies[:1] == (["restore_checkpoint"] if good else [])


def test_a_checkpoint_is_offered_only_where_there_is_one() -> None:
    damaged = Step(loss=math.nan, located=DAMAGED)
    outcome = play(run_config(), lambda batch: damaged if batch > 9 else Step(), attempts=50, can_restore=False)
    assert outcome.names == ["nonfinite_weights"]
    assert outcome.verdicts[0].remedies == []
    assert "model.layers.0.mlp" in outcome.verdicts[0].sentence
    assert "no good checkpoint" in outcome.verdicts[0].advice


# --- steps that are applied and yet go wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clip", [1.0, 0.3, 0.0])
def test_gradients_that_grow_by_orders_of_magnitude_and_stay_there_explode(clip: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, level = int(rng.integers(1, 200)), 10 ** rng.uniform(3, 9)

    def at(batch: int) -> Step:
        return Step(grad_norm=float(rng.gamma(3.0, 0.3)) if batch < start else level * float(rng.uniform(0.7, 1.4)))

    outcome = play(run_config("bf16-mixed", training={"max_grad_norm": clip}), at, attempts=start + 150)
    assert outcome.names == ["exploding_gradients"]
    assert outcome.verdicts[0].remedies[0] == "lower_learning_rate"


def test_gradients_that_are_hopeless_from_the_first_step_on_explode_too() -> None:
    outcome = play(run_config("fp32"), lambda batch: Step(grad_norm=5e4, loss=9.0), attempts=120)
    assert outcome.names == ["exploding_gradients"]


def test_gradients_that_grow_by_one_order_of_magnitude_do_not_explode() -> None:
    at_thirty_times = play(run_config("fp32"), lambda batch: Step(grad_norm=0.7 if batch < 30 else 30.0), attempts=150)
    assert at_thirty_times.names == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [30.0, 300.0, 3000.0])
def test_a_norm_that_is_large_from_the_start_while_the_loss_falls_does_not_explode(level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def at(batch: int) -> Step:
        return Step(grad_norm=level * 2.0 ** float(rng.normal(0, 0.7)), loss=1.0 + 2.0 * math.exp(-batch / 40))

    assert play(run_config("fp32"), at, attempts=400).verdicts == []


@pytest.mark.parametrize("seed", SEEDS)
def test_healthy_norms_far_above_a_small_clip_limit_are_no_explosion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = run_config("fp32", training={"max_grad_norm": 0.01})
    steps = [Step(loss=float(rng.gamma(4.0, 0.6)), grad_norm=float(rng.gamma(8.0, 0.25))) for _ in range(500)]
    assert play(config, lambda batch: steps[batch], attempts=500).names == []


@pytest.mark.parametrize("seed", SEEDS)
def test_norms_that_are_large_by_their_units_are_no_explosion(seed: int) -> None:
    """Losses of single batches scatter by a third, and now and then a few large ones come together."""
    rng = np.random.default_rng(seed)

    def at(batch: int) -> Step:
        return Step(grad_norm=300.0 * float(rng.gamma(6.0, 1 / 6)), loss=2.0 * math.exp(rng.normal(0.0, 0.35)))

    assert play(run_config("fp32"), at, attempts=1500).names == []


def test_what_may_be_the_first_step_of_an_explosion_is_not_calm() -> None:
    diagnosis = Diagnosis(PRECISIONS.get("fp32"), run_config("fp32"), has_bf16=True)

    def calm_after(step: int, norm: float) -> bool:
        diagnosis.observe(StepFacts(done=completed(step=step, update=step, grad_norm=norm)))
        return diagnosis.calm

    assert all(calm_after(step, 0.7) for step in range(1, 30))
    assert not calm_after(30, 500.0)
    assert calm_after(31, 0.7)


def test_the_ratio_of_an_explosion_is_that_of_the_clipping() -> None:
    config = run_config("fp32", training={"max_grad_norm": 0.1})
    outcome = play(config, lambda batch: Step(grad_norm=1.0 if batch < 30 else 500.0), attempts=80)
    assert outcome.names == ["exploding_gradients"]
    assert outcome.verdicts[0].evidence["ratio"] == pytest.approx(5000.0)


def test_a_small_clip_limit_is_no_explosion() -> None:
    config = run_config("fp32", training={"max_grad_norm": 0.001})
    assert play(config, lambda batch: Step(grad_norm=0.4 + batch % 3), attempts=400).verdicts == []


def test_a_spike_of_a_few_steps_is_no_explosion() -> None:
    outcome = play(run_config("fp32"), lambda batch: Step(grad_norm=1e5 if batch % 40 < 10 else 0.6), attempts=400)
    assert outcome.verdicts == []


@pytest.mark.parametrize("good", [1, 2, 15, 29, 31, 70, 400])
@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "fp16-mixed"])
def test_a_loss_that_rises_and_stays_there_is_a_divergence_whenever_it_begins(precision: str, good: int) -> None:
    rng = np.random.default_rng(good)

    def at(batch: int) -> Step:
        return Step(loss=2.5 + rng.normal(0, 0.3) if batch < good else 7.0 + rng.normal(0, 1.0))

    outcome = play(run_config(precision), at, attempts=good + 40)
    assert outcome.names == ["divergence"]
    assert outcome.verdicts[0].remedies == ["lower_learning_rate", "restore_checkpoint"]
    assert outcome.verdicts[0].step <= good + 21


def test_a_loss_that_rises_slowly_from_the_first_step_on_is_a_divergence() -> None:
    outcome = play(run_config("fp32"), lambda batch: Step(loss=2.0 + 0.05 * batch), attempts=120)
    assert outcome.names == ["divergence"]


@pytest.mark.parametrize(("attempts", "told"), [(5, []), (6, ["divergence"]), (12, ["divergence"])])
def test_a_short_run_that_ends_far_above_where_it_began_is_told_at_its_end(attempts: int, told: list[str]) -> None:
    outcome = play(run_config("fp32"), lambda batch: Step(loss=9.0 if batch > 1 else 2.0), attempts=attempts)
    assert outcome.names == told


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("attempts", [8, 13, 21, 41, 900])
def test_losses_of_single_rows_that_scatter_widely_are_no_divergence(attempts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = rng.gamma(4.0, 0.6, size=attempts)
    losses[0] = 0.6  # and the first happened to be an easy one
    assert play(run_config("fp32"), lambda batch: Step(loss=float(losses[batch])), attempts).verdicts == []


def test_a_loss_that_rises_by_less_than_a_nat_is_no_divergence() -> None:
    risen = play(run_config("fp32"), lambda batch: Step(loss=2.0 if batch < 30 else 2.9), attempts=200)
    assert risen.verdicts == []


def test_a_loss_that_comes_down_again_within_twenty_steps_is_no_divergence() -> None:
    spike = play(run_config("fp32"), lambda batch: Step(loss=8.0 if batch % 50 in range(15) else 2.0), attempts=200)
    assert spike.verdicts == []


def test_a_loss_that_has_risen_is_not_calm() -> None:
    diagnosis = Diagnosis(PRECISIONS.get("fp32"), run_config("fp32"), has_bf16=True)
    diagnosis.observe(StepFacts(done=completed(step=1, update=1, loss=2.0)))
    assert diagnosis.calm
    diagnosis.observe(StepFacts(done=completed(step=2, update=2, loss=3.2)))
    assert not diagnosis.calm


def test_long_gradients_under_a_loss_that_has_risen_are_an_explosion_and_nothing_else() -> None:
    def at(batch: int) -> Step:
        return Step(loss=2.0 if batch < 3 else 40.0, grad_norm=5.0 if batch < 3 else 90.0 if batch % 3 == 0 else 300.0)

    assert play(run_config("fp32"), at, attempts=80).names == ["exploding_gradients"]


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_gradients_that_are_infinite_without_any_scale_explode(precision: str) -> None:
    outcome = play(run_config(precision), lambda batch: Step(largest=math.inf, located=BACKWARD), attempts=50)
    assert (outcome.names, outcome.paused_at) == (["exploding_gradients"], 5)
    assert BACKWARD.module in outcome.verdicts[0].sentence


@pytest.mark.parametrize("precision", ["bf16-pure", "fp16-pure"])
@pytest.mark.parametrize("every", [1, 20])
def test_updates_that_rounding_undoes_are_a_stall(every: int, precision: str) -> None:
    outcome = play(
        run_config(precision), lambda batch: Step(lost_updates=0.8 if batch % every == 0 else None), attempts=200
    )
    assert outcome.names == ["bf16_stall"]


def test_updates_lost_while_the_learning_rate_is_small_by_intention_are_no_stall() -> None:
    def at(batch: int) -> Step:
        rate = 1e-4 * min(1.0, batch / 60, (400 - batch) / 200)
        return Step(learning_rate=rate, lost_updates=0.9 if rate < 0.5e-4 else 0.2)

    assert play(run_config("bf16-pure"), at, attempts=400).verdicts == []


def test_stochastic_rounding_makes_up_for_lost_updates() -> None:
    config = run_config("bf16-pure", stochastic_rounding=True)
    assert play(config, lambda batch: Step(lost_updates=0.9), attempts=200).verdicts == []


def test_some_lost_updates_or_a_share_that_is_not_known_are_no_stall() -> None:
    shares = [0.3, 0.7, math.nan, 0.2]
    outcome = play(run_config("bf16-pure"), lambda batch: Step(lost_updates=shares[batch % 4]), attempts=200)
    assert outcome.verdicts == []


# --- words are said once --------------------------------------------------------------------------------------------


def test_what_comes_back_is_told_again_but_ever_less_often() -> None:
    bad = Step(loss=math.nan, located=FORWARD)
    twice = play(run_config(), lambda batch: bad if batch in (10, 500) else Step(), attempts=900)
    assert twice.names == ["forward_overflow"] * 2
    fits = Step(largest=1e-35)  # at every scale: what is not finite comes from the rows alone
    always = play(run_config(), lambda batch: bad if batch % 150 == 0 else fits, attempts=60_000)
    assert always.skipped == 400
    assert 1 <= len(always.names) <= 8


def test_an_explosion_that_grows_much_worse_is_told_again() -> None:
    outcome = play(
        run_config("fp32"), lambda batch: Step(grad_norm=0.5 if batch < 30 else 1e3 if batch < 100 else 1e14), 200
    )
    assert outcome.names == ["exploding_gradients"] * 2


@pytest.mark.parametrize("pause_after", [1, 2, 5, 12])
def test_the_run_pauses_after_the_stated_number_of_bad_steps_and_again_after_as_many(pause_after: int) -> None:
    config = run_config("fp32", numerics={"pause_after": pause_after})
    diagnosis = Diagnosis(PRECISIONS.get("fp32"), config, has_bf16=True)
    paused = []
    for step in range(1, 31):
        diagnosis.observe(StepFacts(done=completed(step=step, loss=math.nan, grad_norm=math.nan, skipped=True)))
        if diagnosis.should_pause:
            paused.append(step)
    assert paused == list(range(pause_after, 31, pause_after))


def test_steps_that_a_smaller_scale_can_help_never_pause_a_run() -> None:
    outcome = play(run_config(initial_scale=1e38, numerics={"pause_after": 1}), lambda batch: Step(), attempts=200)
    assert outcome.paused_at is None


def test_what_is_remembered_of_a_run_does_not_grow_with_its_length() -> None:
    diagnosis = Diagnosis(PRECISIONS.get("fp16-mixed"), run_config(growth_interval=50), has_bf16=True)
    sizes = []
    for step in range(1, 40_001):
        skipped = step % 60 == 0
        diagnosis.observe(
            StepFacts(
                done=completed(
                    step=step,
                    update=step,
                    grad_norm=math.inf if skipped else 0.5,
                    skipped=skipped,
                    grad_scale=512.0 if step % 60 > 50 else 256.0,
                ),
                can_back_off=True,
            )
        )
        if step in (4_000, 40_000):
            sizes.append(len(pickle.dumps(diagnosis)))
    assert sizes[1] < 1.02 * sizes[0]


ROW, OTHER = ("rows.jsonl", 7, 40), ("rows.jsonl", 9, 40)


def test_rows_with_huge_gradients_are_told_once_each_and_nothing_else_is_said_of_their_steps() -> None:
    """At the floor of the scale, epoch after epoch: the scale did not collapse, nor was it searched for."""

    def at(batch: int) -> Step:
        row = OTHER if batch > 60 and batch % 2 else ROW
        return Step(largest=1e9, rows=(row,), rows_tried=8, located=BACKWARD) if batch % 5 == 4 else Step(largest=0.01)

    outcome = play(run_config(), at, attempts=150)
    assert outcome.names == ["outlier_rows"] * 2
    assert [verdict.evidence["rows"][0]["number"] for verdict in outcome.verdicts] == [7, 9]
    assert outcome.verdicts[0].remedies == ["skip_rows", "use_bf16", "use_fp32"]
    assert outcome.verdicts[0].evidence["scale_before"] == 65536.0


def test_single_rows_are_suspected_at_the_floor_or_far_below_a_scale_that_worked_and_in_no_search() -> None:
    diagnosis = Diagnosis(PRECISIONS.get("fp16-mixed"), run_config(), has_bf16=True)

    def suspects(scale: float, loss: float = 2.0, *, can_back_off: bool = True) -> bool:
        done = completed(step=2, loss=loss, grad_norm=math.inf, skipped=True, grad_scale=scale)
        return diagnosis.suspects_rows(StepFacts(done=done, can_back_off=can_back_off))

    assert not suspects(1.0)
    assert suspects(1.0, can_back_off=False)
    assert not suspects(1.0, math.nan, can_back_off=False)
    diagnosis.observe(StepFacts(done=completed(step=1, grad_scale=1024.0), can_back_off=True))
    assert [suspects(scale) for scale in (2048.0, 512.0, 32.0, 16.0, 8.0)] == [False, False, False, True, True]


def test_every_class_of_verdict_can_be_reached() -> None:
    """The names that the streams above end in are all there are."""
    assert set(VERDICTS.names()) == {
        "scale_search",
        "growth_probe",
        "chronic_overflow",
        "scale_collapse",
        "outlier_rows",
        "forward_overflow",
        "underflow",
        "bf16_stall",
        "nonfinite_weights",
        "nonfinite_loss",
        "exploding_gradients",
        "validation_overflow",
        "divergence",
    }
