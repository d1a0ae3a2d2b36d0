"""The optimizer without a master copy: AdamW in fp32, rounded once; nothing non-finite is stored."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from studio.config import PrecisionConfig, TrainingConfig
from studio.engine.dtypes import torch_dtype
from studio.engine.fit import state_bytes
from studio.engine.precision import PRECISIONS
from studio.engine.training import checkpoint
from studio.engine.training.optimizer import SHARED_STATES, PureAdamW, check_optimizer, make_optimizer
from studio.engine.training.state import Position
from studio.errors import ConfigError
from tests.tiny import bench, llama, rows

LORA = {"name": "lora", "rank": 4, "alpha": 32, "dropout": 0.0}
PURE: list[dict[str, object]] = [
    {"name": "bf16-pure"},
    {"name": "bf16-pure", "stochastic_rounding": True},
    {"name": "fp16-pure", "initial_scale": 1024.0},
]


def _weight(value: float, dtype: torch.dtype, count: int = 1) -> nn.Parameter:
    weight = nn.Parameter(torch.full((count,), value, dtype=dtype))
    weight.grad_dtype = torch.float32
    return weight


def _steps(optimizer: torch.optim.Optimizer, gradients: list[Tensor]) -> None:
    (weight,) = optimizer.param_groups[0]["params"]
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()


def _move(precision: str, dtype: torch.dtype, *, stochastic: bool = False, count: int = 1) -> Tensor:
    """100 updates of -1e-3 from 1.0: with a constant gradient, AdamW's step is the learning rate."""
    weight = _weight(1.0, dtype, count)
    config = PrecisionConfig.model_validate({"name": precision, "stochastic_rounding": stochastic})
    training = TrainingConfig(learning_rate=1e-3, weight_decay=0.0)
    optimizer = make_optimizer([weight], training, PRECISIONS.get(precision), config)
    optimizer.param_groups[0]["lr"] = 1e-3
    _steps(optimizer, [torch.ones(count)] * 100)
    return weight.detach().float()


def test_weights_in_bf16_stop_moving_where_fp32_and_fp16_move() -> None:
    assert _move("fp32", torch.float32).item() == pytest.approx(0.9, abs=1e-5)
    assert _move("fp16-pure", torch.float16).item() == pytest.approx(0.9023, abs=1e-4)
    assert _move("bf16-pure", torch.bfloat16).item() == 1.0


def test_stochastic_rounding_moves_them_by_the_right_amount_on_average() -> None:
    moved = _move("bf16-pure", torch.bfloat16, stochastic=True, count=4096)
    assert float(moved.std()) > 0.0
    assert float(moved.mean()) == pytest.approx(0.9, abs=1e-3)


def test_bf16_weights_stall_at_a_small_rate_and_stochastic_rounding_keeps_them_learning() -> None:
    def moved(precision: dict[str, object]) -> float:
        tiny = bench({"name": "full"}, precision)
        before = [p.detach().clone() for p in tiny.parameters]
        for _ in range(3):
            tiny.update(rows(8), rate=1e-5)
        changed = sum(int((a != b).sum()) for a, b in zip(before, tiny.parameters, strict=True))
        return changed / sum(p.numel() for p in tiny.parameters)

    fp32, plain, stochastic = (moved(p) for p in ({"name": "fp32"}, *PURE[:2]))
    assert fp32 > 0.9
    assert plain < 0.2
    assert stochastic > 2 * plain


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_step_is_torchs_adamw_in_fp32_rounded_once(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(1000, generator=generator).to(dtype))
    weight.grad_dtype = torch.float32
    wide = nn.Parameter(weight.detach().float())
    ours = PureAdamW([weight], lr=1e-2, weight_decay=0.1)
    theirs = torch.optim.AdamW([wide], lr=1e-2, weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(1000, generator=generator) * 1e-4
        _steps(ours, [gradient])
        _steps(theirs, [gradient])
        torch.testing.assert_close(weight.detach(), wide.detach().to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=0)
        with torch.no_grad():
            wide.copy_(weight)  # without a master copy the next step starts from the rounded weight


def test_gradients_whose_square_is_below_fp16_do_not_blow_the_weights_up() -> None:
    """torch's own AdamW divides by sqrt(0) + 0 there: eps = 1e-8 is zero in fp16 too."""
    plain = nn.Parameter(torch.full((4,), 0.05, dtype=torch.float16))
    plain.grad = torch.full_like(plain, 1e-3)
    torch.optim.AdamW([plain], lr=1e-3, foreach=False).step()
    assert not bool(plain.isfinite().all())

    weight = _weight(0.05, torch.float16, 4)
    _steps(PureAdamW([weight], lr=1e-3), [torch.full((4,), 1e-3)])
    torch.testing.assert_close(weight.detach().float(), torch.full((4,), 0.049), rtol=1e-3, atol=0)


def test_a_weight_that_its_format_cannot_hold_keeps_its_value_and_the_others_move() -> None:
    weight = nn.Parameter(torch.tensor([65504.0, 1.0], dtype=torch.float16))
    weight.grad_dtype = torch.float32
    _steps(PureAdamW([weight], lr=100.0), [torch.tensor([-1.0, -1.0])])
    assert weight.tolist() == [65504.0, 101.0]


@pytest.mark.parametrize("precision", PURE)
@pytest.mark.parametrize("method", [LORA, {"name": "full"}])
def test_a_non_finite_gradient_never_reaches_weights_without_a_master_copy(
    precision: dict[str, object], method: dict[str, object]
) -> None:
    tiny = bench(method, precision)
    tiny.update(rows(8))
    before = [p.detach().clone() for p in tiny.parameters]
    hook = tiny.parameters[3].register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    attempt = tiny.update(rows(8))
    hook.remove()
    assert attempt.skipped
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.parameters, strict=True))
    assert not tiny.update(rows(8)).skipped


def test_a_rate_that_throws_fp16_weights_out_of_range_leaves_them_finite() -> None:
    tiny = bench({"name": "full"}, PURE[2])
    for _ in range(4):
        tiny.update(rows(8), rate=1e5)
    assert all(bool(p.isfinite().all()) for p in tiny.parameters)


def test_fp16_gradients_are_unscaled_in_fp32_so_that_none_flushes() -> None:
    counts, norms = [], []
    for scale in (1.0, 65536.0):
        tiny = bench({"name": "full"}, {"name": "fp16-pure", "loss_scaling": "static", "initial_scale": scale})
        norms.append(tiny.update(rows(8)).grad_norm)
        gradients = [p.grad for p in tiny.parameters if p.grad is not None]
        assert {g.dtype for g in gradients} == {torch.float32}
        counts.append(sum(int(((g != 0) & (g.abs() < 2.0**-24)).sum()) for g in gradients))
    assert counts[0] == 0  # below fp16's smallest number nothing was left of an unscaled loss
    assert counts[1] > 0
    assert norms[0] == pytest.approx(norms[1], rel=5e-3)


@pytest.mark.parametrize("precision", PURE)
def test_a_split_of_the_update_changes_little_without_a_master_copy(precision: dict[str, object]) -> None:
    whole, split = bench(LORA, precision), bench(LORA, precision)
    assert split.update(rows(8), token_budget=1).grad_norm == pytest.approx(whole.update(rows(8)).grad_norm, rel=1e-2)


def test_all_weights_of_a_pure_precision_are_in_its_format_and_positions_stay_exact() -> None:
    for method in (LORA, {"name": "full"}):
        tiny = bench(method, PURE[0])
        assert {p.dtype for p in tiny.model.parameters()} == {torch.bfloat16}
        buffers = {b.dtype for name, b in tiny.model.named_buffers() if "inv_freq" in name}
        assert buffers == {torch.float32}


@pytest.mark.parametrize("precision", [{"name": "fp32"}, *PURE])
def test_training_goes_on_bit_for_bit_from_a_checkpoint(precision: dict[str, object]) -> None:
    whole, first, resumed = (bench({"name": "full"}, precision) for _ in range(3))
    for tiny in (whole, first):
        for _ in range(3):
            tiny.update(rows(8))
    checkpoint.put_back(checkpoint.take(first.trainer, Position(3, 3, 3)), resumed.trainer, Position())
    moments = [value for state in resumed.trainer.optimizer.state.values() for value in state.values()]
    assert {value.dtype for value in moments} == {torch.float32}
    resumed.attempts = 3
    for tiny in (whole, resumed):
        for seed in (1, 2):
            tiny.update(rows(8, seed=seed), rate=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, resumed.parameters, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16-pure", "fp16-pure"])
def test_matrices_decay_and_vectors_of_any_shape_do_not(precision: str) -> None:
    chosen = PRECISIONS.get(precision)
    weights = [
        nn.Parameter(torch.ones(shape, dtype=torch_dtype(chosen.parameters))) for shape in ((2, 2), (4,), (4, 1), ())
    ]
    optimizer = make_optimizer(weights, TrainingConfig(weight_decay=0.5), chosen, PrecisionConfig())
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    optimizer.step()
    assert [float(weight.detach().mean()) for weight in weights] == [0.75, 1.0, 1.0, 1.0]


def test_a_checkpoint_from_when_all_parameters_were_one_group_fits(tmp_path: Path) -> None:
    """It numbers the optimizer's tensors in the order of the model's parameters, whatever the groups are now."""
    tiny, resumed = bench({"name": "full"}), bench({"name": "full"}, weight_decay=0.1)
    tiny.update(rows(8))
    one_group = tiny.trainer.optimizer.state_dict()
    assert [group["params"] for group in one_group["param_groups"]] == [list(range(len(tiny.parameters)))]
    tensors = {f"{number}.{name}": v for number, state in one_group["state"].items() for name, v in state.items()}
    trained = {name: weight.detach() for name, weight in tiny.model.named_parameters()}
    position = {"step": 1, "update": 1, "batch": 1}
    checkpoint.write(checkpoint.Snapshot(trained, tensors, None, position), tmp_path / "step-000001")
    checkpoint.put_back(checkpoint.read(tmp_path / "step-000001"), resumed.trainer, Position())
    assert len(resumed.trainer.optimizer.param_groups) == 2
    for ours, theirs in zip(resumed.parameters, tiny.parameters, strict=True):
        assert torch.equal(
            resumed.trainer.optimizer.state[ours]["exp_avg"], tiny.trainer.optimizer.state[theirs]["exp_avg"]
        )
    assert not resumed.update(rows(8)).skipped


def test_stochastic_rounding_follows_the_seed_of_the_run_alone() -> None:
    def moved(seed: int, stray_draws: int) -> Tensor:
        weight = _weight(1.0, torch.bfloat16, 500)
        torch.manual_seed(stray_draws)
        _steps(PureAdamW([weight], lr=1e-3, stochastic_seed=seed), [torch.ones(500)] * 3)
        return weight.detach()

    assert torch.equal(moved(0, 1), moved(0, 2))
    assert not torch.equal(moved(0, 1), moved(1, 1))


@pytest.mark.parametrize("name", ["adamw", "adamw-8bit", "adafactor"])
@pytest.mark.parametrize("method", [LORA | {"rank": 64}, {"name": "full"}])
def test_every_optimizer_learns_and_goes_on_from_a_checkpoint_bit_for_bit(
    method: dict[str, object], name: str, tmp_path: Path
) -> None:
    # States of 8 bits are for weights of 4096 numbers or more.
    whole, resumed = (bench(method, base=llama(width=64), optimizer=name, weight_decay=0.1) for _ in range(2))
    losses = [whole.update(rows(8)).loss for _ in range(3)]
    checkpoint.write(checkpoint.take(whole.trainer, Position(step=3, update=3, batch=3)), tmp_path / "step-000003")
    position = Position()
    checkpoint.put_back(checkpoint.read(tmp_path / "step-000003"), resumed.trainer, position)
    resumed.attempts = position.step
    for _ in range(3):
        losses.append(whole.update(rows(8)).loss)
        assert resumed.update(rows(8)).loss == losses[-1]
    assert losses[-1] < losses[0] - 0.2
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, resumed.parameters, strict=True))


@pytest.mark.parametrize("name", ["adamw", "adamw-8bit", "adafactor"])
def test_the_states_take_as_many_bytes_as_is_said(name: str) -> None:
    weight = nn.Parameter(torch.randn(512, 512))
    optimizer = make_optimizer([weight], TrainingConfig(optimizer=name), PRECISIONS.get("fp32"), PrecisionConfig())
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    kept = {key: torch.as_tensor(value).nbytes for key, value in optimizer.state[weight].items()}
    found = sum(size for key, size in kept.items() if key not in SHARED_STATES)
    assert found == pytest.approx(state_bytes(name, weight.numel()), rel=1e-3, abs=0.02 * weight.numel())


def test_eight_bit_states_and_adafactor_learn_as_adamw_does() -> None:
    found = {}
    for name in ("adamw", "adamw-8bit", "adafactor"):
        tiny = bench({"name": "full"}, optimizer=name)
        found[name] = [tiny.update(rows(8), rate=2e-3).loss for _ in range(6)][-1]
    assert found["adamw-8bit"] == pytest.approx(found["adamw"], rel=0.02)
    assert found["adafactor"] == pytest.approx(found["adamw"], rel=0.1)


@pytest.mark.parametrize("name", ["adamw-8bit", "adafactor"])
def test_without_a_master_copy_there_is_one_optimizer(name: str) -> None:
    with pytest.raises(ConfigError, match="take adamw"):
        check_optimizer(name, PRECISIONS.get("bf16-pure"), torch.device("cpu"))
    check_optimizer(name, PRECISIONS.get("bf16-mixed"), torch.device("cpu"))
