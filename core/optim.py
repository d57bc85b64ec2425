"""Optimizers and schedules by the names that a recipe uses."""

import math
from typing import Any

import torch
from torch import nn

from .options import OptimizerOptions, ScheduleOptions


def build_optimizer(module: nn.Module, options: OptimizerOptions, *, mixed: bool = False) -> torch.optim.Optimizer:
    """An optimizer over the parameters of `module` that want a gradient; no weight decay on biases and normalisation.
    `mixed`: for training in mixed precision.

    A decayed scale of a normalisation only changes the learning rate of the layer before it, and a decayed bias takes
    away what the data set asks for (He et al. 2019, section 3.1), so all parameters with fewer than two dimensions are
    left out.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # In one loop: on a CPU four times faster than torch's default. In mixed precision Lightning can't clip with it.
    fused = not mixed and all(p.device.type == "cpu" for p in parameters)
    common: dict[str, Any] = {"lr": options.lr, "fused": fused or None}
    if options.name == "sgd":
        return torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.momentum > 0, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name](groups, **common)


def build_schedule(
    optimizer: torch.optim.Optimizer, options: ScheduleOptions, *, steps: int, steps_per_epoch: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """A schedule to be moved after every step, over a run of `steps`."""
    warmup = round(options.warmup_epochs * steps_per_epoch)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(options.name, step, steps=steps, warmup=warmup)
    )


def learning_rate_factor(name: str, step: int, *, steps: int, warmup: int) -> float:
    """What the highest learning rate is multiplied by at `step` (0 to `steps`), the first `warmup` of which rise in a
    line.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    if name == "cosine":  # Loshchilov & Hutter 2017, equation 5, without restarts
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    if name == "step":
        return 1.0 if share < 0.6 else 0.1 if share < 0.85 else 0.01
    return 1.0
