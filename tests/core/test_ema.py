"""A moving average of the weights: its numbers, which checkpoint holds which weights, and runs that go on."""

import csv
import json

import lightning.pytorch as pl
import pytest
import torch

from foveal.cli.main import main
from foveal.core.callbacks import MovingAverage
from foveal.core.checkpoint import read_checkpoint
from foveal.core.fit import quiet

DIGITS = ["train", "classification/lenet5_digits", "--trainer.limit_train_batches", "8", "--data.num_workers", "0"]
AVERAGED = [*DIGITS, "--optimizer.ema", "0.9"]


class Counting(pl.LightningModule):
    """Its weight is 1, 2, 3, ... after each step, its statistic 2, 4, 6, ..., and its counter 1, 2, 3, ..."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("statistic", torch.zeros(1))
        self.register_buffer("counter", torch.tensor(0))

    def training_step(self, batch, _index):
        self.statistic += 2
        self.counter += 1
        return -self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def averaged(decay: float, steps: int, **more) -> Counting:
    quiet()
    module = Counting()
    options = {"max_steps": steps, "accelerator": "cpu", "logger": False, "enable_checkpointing": False, **more}
    trainer = pl.Trainer(callbacks=[MovingAverage(decay)], enable_progress_bar=False, **options)
    trainer.fit(module, torch.zeros(steps * more.get("accumulate_grad_batches", 1), 1))
    return module


@pytest.mark.parametrize(
    ("decay", "steps", "weight"),
    [
        (0.9, 1, 1.0),
        (0.9, 2, 2 / 11 * 1 + 9 / 11 * 2),
        (0.9, 3, 3 / 12 * (20 / 11) + 9 / 12 * 3),
        (0.2, 3, 0.2 * (20 / 11) + 0.8 * 3),  # 2/11 is less than 0.2, and 3/12 is more
    ],
)
def test_the_average_by_hand(decay, steps, weight):
    module = averaged(decay, steps)
    assert module.weight.item() == pytest.approx(weight)
    assert module.statistic.item() == pytest.approx(2 * weight) and module.counter.item() == steps


def test_gradients_that_are_added_up_make_one_step_of_the_average():
    assert averaged(0.9, 2, accumulate_grad_batches=3).weight.item() == pytest.approx(20 / 11)


@pytest.fixture(scope="module")
def averaged_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaged") / "run"
    assert main([*AVERAGED, "--model.backbone", "resnet20", "--trainer.max_epochs", "1", "--out", str(folder)]) == 0
    return folder


def test_checkpoints_hold_the_average_and_the_last_also_the_weights_of_the_optimizer(averaged_run):
    best, last = (read_checkpoint(averaged_run / name) for name in ("best.ckpt", "last.ckpt"))
    average, weights = last["state_dict"], last["current_model_state"]
    assert all(torch.equal(average[name], best["state_dict"][name]) for name in average)
    assert not torch.equal(average["head.linear.weight"], weights["head.linear.weight"])
    assert "current_model_state" not in best


def test_what_was_validated_is_what_was_saved(averaged_run, capsys):
    assert main(["evaluate", str(averaged_run), "--split", "val", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with (averaged_run / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["val/loss"]) == pytest.approx(found["loss"], rel=1e-5)
    assert float(row["val/top1"]) == pytest.approx(found["top1"])


def test_without_ema_a_checkpoint_has_one_set_of_weights(digits_run):
    assert "current_model_state" not in read_checkpoint(digits_run / "last.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["training", "validation", "between"])
def test_a_stopped_and_resumed_run_is_a_straight_one(tmp_path, stop_once, place):
    line = [*AVERAGED, "--trainer.max_epochs", "3", "--trainer.limit_val_batches", "2"]
    stop_once(place)
    assert main([*line, "--out", str(tmp_path / "resumed")]) == 75
    assert main([*line, "--out", str(tmp_path / "resumed"), "--resume"]) == 0
    assert main([*line, "--out", str(tmp_path / "straight")]) == 0
    first, second = (read_checkpoint(tmp_path / run / "last.ckpt") for run in ("resumed", "straight"))
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in second[part])
    best = [read_checkpoint(tmp_path / run / "best.ckpt")["state_dict"] for run in ("resumed", "straight")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[1])


def test_a_loss_that_is_not_finite_leaves_a_finite_average(tmp_path, capsys):
    line = [*AVERAGED, "--optimizer.name", "sgd", "--optimizer.lr", "1e25", "--schedule.warmup_epochs", "0"]
    assert main([*line, "--out", str(tmp_path / "run")]) == 5
    assert "The loss became nan" in capsys.readouterr().err
    state = read_checkpoint(tmp_path / "run" / "last.ckpt")["state_dict"]
    assert all(values.isfinite().all() for values in state.values())


def test_a_run_too_short_for_a_validation_ends_with_the_average(tmp_path):
    line = [*AVERAGED, "--trainer.max_steps", "3", "--out", str(tmp_path / "run")]
    assert main([*line, "--trainer.check_val_every_n_epoch", "5"]) == 0
    best, last = (read_checkpoint(tmp_path / "run" / name) for name in ("best.ckpt", "last.ckpt"))
    assert torch.equal(best["state_dict"]["head.linear.weight"], last["state_dict"]["head.linear.weight"])


@pytest.mark.parametrize("value", ["1", "-0.1", ".nan"])
def test_a_decay_that_is_none_is_refused(tmp_path, capsys, value):
    assert main([*DIGITS, "--optimizer.ema", value, "--out", str(tmp_path / "run")]) == 2
    assert "optimizer.ema is" in capsys.readouterr().err
