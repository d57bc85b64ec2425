"""What the task asks of every depth head, and what builders of heads share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...backbones.probe import blank_image, shapeless_maps, smallest_image
from ...core.errors import UsageError

MakeBackbone = Callable[..., Backbone]
COARSE = "coarse_"  # begins the names of what a first network says, which a second one refines


class DepthHead(nn.Module, ABC):
    """From a backbone's maps, and the images themselves, to raw maps: of depth, and of what else was asked for.

    `stride`: pixels of the image from one cell of the finest maps to the next; what is evaluated is upsampled from
    them. `divisor`: images are to have sides of multiples of it. `size`: height and width of the only images that a
    head with fully connected layers reads, None where it takes any. `estimate` sees to all three, and pads in what is
    exported, too (`pads`).
    """

    pads = True

    def __init__(self, *, stride: int, divisor: int = 1, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.stride = stride
        self.divisor = divisor
        self.size = size

    @abstractmethod
    def forward(self, features: list[torch.Tensor], images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Raw maps of `features`, the backbone's maps (N, C, h, w) of the normalised `images`, float (N, C, H, W).

        "depth" (N, K, h, w), of which `outputs` makes metres; where they were asked for "normals" (N, 3, h, w), not yet
        of unit length, and "labels" (N, C, h, w), logits. Those of a first network are "coarse_depth" and so on: each
        of them is to have a loss as well, since the losses of the others reach nothing before it.

        Raises UsageError for images of another size than the head's, where it has one.
        """


def estimate(
    backbone: nn.Module, head: DepthHead, images: torch.Tensor, output: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """What a head says of normalised images, float (N, C, H, W), at each of their pixels.

    `output`, one of `outputs.OUTPUTS`, makes metres of raw maps: "depth" and "coarse_depth" are (N, H, W) in metres.
    "normals" are (N, 3, H, W) of unit length and "labels" logits (N, C, H, W), coarse ones likewise. All are float32,
    or float64 where the maps are. The images are padded with 0, their mean colour, to multiples of the head's divisor;
    what was padded is cut off.
    """
    height, width = images.shape[2:]
    # Also where nothing is missing: an exported graph has no other way for other sizes.
    padded = F.pad(images, (0, -width % head.divisor, 0, -height % head.divisor))
    found = {}
    for name, x in head(backbone(padded), padded).items():
        kind = name.removeprefix(COARSE)
        x = output(x)[:, None] if kind == "depth" else at_least_float32(x)
        x = resized(x, padded.shape[2:])
        for axis, side in ((2, height), (3, width)):  # no view: whether one is contiguous depends on the size, too
            x = x.index_select(axis, torch.arange(side, device=x.device))
        found[name] = {"depth": x[:, 0], "normals": F.normalize(x, dim=1), "labels": x}[kind]
    return found


def resized(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Maps (N, C, h, w) at `size`, bilinear."""
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """`x` as numbers that can be counted with: autocast gives halves."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def wanted_maps(channels: int, normals: bool, labels: int) -> dict[str, int]:
    """The names of the maps that a head is to give, with their channels."""
    return {"depth": channels} | ({"normals": 3} if normals else {}) | ({"labels": labels} if labels else {})


def predictors(in_channels: int, wanted: Mapping[str, int], *, kernel: int) -> nn.ModuleDict:
    """For each of the `wanted` maps the convolution, with padding, that ends in it."""
    layers = nn.ModuleDict(
        {name: nn.Conv2d(in_channels, count, kernel, padding=kernel // 2) for name, count in wanted.items()}
    )
    for name, layer in layers.items():
        start_near_zero(layer, {name: wanted[name]})
    return layers


def start_near_zero(layer: nn.Module, wanted: Mapping[str, int]) -> None:
    """The last layer before the maps `wanted`, names with channels, begins with a tenth of its inputs' strength, so
    that depths begin about the middle of the range, where raw values are 0; and normals begin at the camera.
    """
    assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
    nn.init.normal_(layer.weight, std=0.1 / layer.weight[0].numel() ** 0.5)
    nn.init.zeros_(layer.bias)
    channels = [name for name, count in wanted.items() for _ in range(count)]
    if "normals" in channels:
        with torch.no_grad():
            layer.bias[channels.index("normals") + 2] = -1


def start_from(layers: nn.Module, first: int, count: int) -> None:
    """Convolutions with ReLUs between them begin by saying what they are told: their last one gives `count` channels
    of their input, from `first` on, plus little.

    In the papers a network that refines begins when the one before it has learnt; here both begin at once, and without
    this the second one lags far behind. A value goes through ReLUs in two units, as itself and as its opposite; where
    there are too few units for all channels the layers stay as they are.
    """
    convolutions = [layer for layer in layers.children() if isinstance(layer, nn.Conv2d)]
    if 2 * count > convolutions[0].out_channels:
        return
    middle = convolutions[0].kernel_size[0] // 2
    pairs = torch.arange(2 * count)
    signs = (1 - 2 * (pairs % 2)).to(convolutions[0].weight)
    with torch.no_grad():
        for layer in convolutions[:-1]:
            layer.weight[: 2 * count] = 0
        convolutions[0].weight[pairs, first + pairs // 2, middle, middle] = signs
        for layer in convolutions[1:-1]:
            layer.weight[pairs, pairs, middle, middle] = 1
        convolutions[-1].weight[pairs // 2, pairs, middle, middle] += signs
    last = convolutions[-1]
    assert last.bias is not None
    nn.init.zeros_(last.bias)


def in_channels_of(backbone: nn.Module) -> int:
    """How many channels the images of a backbone have."""
    return blank_image(backbone, 1).shape[1]


def as_pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width, in pixels, of a side or of both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def last_map_size(backbone: Backbone, name: str, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the last map of the backbone `name` for images of `size`, height and width in pixels.

    Raises UsageError for images that are too small.
    """
    try:
        last = shapeless_maps(backbone, blank_image(backbone, size))[-1]
    except (RuntimeError, ValueError, AssertionError) as error:
        least = smallest_image(backbone)
        raise UsageError(
            f"The images are {size[0]} x {size[1]} pixels, from which {name} makes no map; set data.size to "
            f"{least or 'a multiple of 32'}{' or more' if least else ''}."
        ) from error
    return last.shape[2], last.shape[3]


def check_size(head: DepthHead, images: torch.Tensor) -> None:
    """Raise UsageError for images that a head with fully connected layers can't read."""
    if head.size is not None and tuple(images.shape[2:]) != head.size:
        height, width = images.shape[2:]
        raise UsageError(
            f"The images are {height} x {width} pixels, but this network's fully connected layers read "
            f"{head.size[0]} x {head.size[1]} alone: set data.resize to squash, or take the head fcrn or unet."
        )
