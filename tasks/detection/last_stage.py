"""The end of a classification network as the part of a detector that looks at regions."""

import torch
from torch import nn

from ...backbones import Backbone
from ...core.errors import UsageError
from ..build import read_weights
from ..levels import levels_of_strides
from .options import DetectionOptions

_VGG_FEATURES, _VGG_WIDTH = 512 * 7 * 7, 4096


class MeanOfStage(nn.Module):
    """Regions (R, C, 14, 14) through a stage that halves them, and the mean over what comes out, (R, C')."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, regions: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.stage(regions).mean(dim=(2, 3))


def split_last_stage(make_backbone, name: str, stride: int) -> tuple[Backbone, nn.Sequential, int]:
    """The network `name` as a backbone that ends with the map of `stride`, its last stage, and the stage's channels.

    Raises UsageError where the last stage does not simply follow that map.
    """
    whole = make_backbone()
    paths = [path for path, info in whole.layers.items() if info.stride > stride]
    stage = nn.Sequential(*(whole.get_submodule(path) for path in paths))
    backbone = make_backbone(levels=levels_of_strides(name, (stride,)))
    if not _reads_regions(stage, backbone.channels[-1], whole.channels[-1], stride * 2 == whole.strides[-1]):
        raise UsageError(
            f"The head fasterrcnn_c4 runs a network's last stage on regions, and that of {name} does not read them; "
            "take a ResNet or a VGG, or model.head fasterrcnn_fpn."
        )
    return backbone, stage, whole.channels[-1]


def _reads_regions(stage: nn.Sequential, channels: int, width: int, follows: bool) -> bool:
    if not (follows and len(stage)):
        return False
    parameter = next(stage.parameters())
    was = stage.training
    try:
        with torch.no_grad():
            out = stage.eval()(torch.zeros(1, channels, 14, 14, device=parameter.device, dtype=parameter.dtype))
    except (RuntimeError, TypeError, ValueError):
        return False
    finally:
        stage.train(was)
    return isinstance(out, torch.Tensor) and out.shape[:2] == (1, width)


def fully_connected_of_vgg(options: DetectionOptions) -> nn.Sequential:
    """fc6 and fc7 with their dropout: regions (R, 512, 7, 7) to (R, 4096); with weights, the file's own."""
    layers = nn.Sequential(
        nn.Flatten(),
        nn.Linear(_VGG_FEATURES, _VGG_WIDTH),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(_VGG_WIDTH, _VGG_WIDTH),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
    )
    if options.weights is not None:
        read = read_weights(options.weights, options.backbone)
        published = {"1": "classifier.0", "4": "classifier.3"}  # absent in a file of a backbone alone
        if all(f"{name}.weight" in read for name in published.values()):
            parts = ("weight", "bias")
            layers.load_state_dict(
                {f"{own}.{part}": read[f"{theirs}.{part}"] for own, theirs in published.items() for part in parts}
            )
    return layers
