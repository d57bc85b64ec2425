"""The `model` section of a tracking recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass, field
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo

HeadName = Literal["siamfc", "cfnet", "goturn", "siamrpn"]


@dataclass
class TrackerSettings:
    """How a tracker goes from one frame to the next; changes no weights.

    Args:
        scales: sizes of the search region that are looked at, an odd number (siamfc, cfnet).
        scale_step: from one of these sizes to the next.
        scale_penalty: factor on the response of other sizes than the last.
        scale_rate: how far the size moves to the one found, 0 not at all and 1 at once.
        window: share of a cosine window in the response: large moves are less likely.
        upsample: finer positions than cells of the response, by bicubic interpolation (siamfc, cfnet).
        shape_penalty: how much a change of size and proportions lowers a score (siamrpn).
        template_rate: share of each frame in the template: 0 keeps that of the first frame (siamfc, cfnet).
        redetect: look for a lost target all over the frame.
    """

    scales: int = 3
    scale_step: float = 1.0375
    scale_penalty: float = 0.9745
    scale_rate: float = 0.59
    window: float = 0.176
    upsample: int = 16
    shape_penalty: float = 0.055
    template_rate: float = 0.0
    redetect: bool = False

    @property
    def factors(self) -> tuple[float, ...]:
        """The sizes of the search region, in shares of its own, smallest first: powers of `scale_step`."""
        return tuple(self.scale_step**step for step in range(-(self.scales // 2), self.scales // 2 + 1))


@dataclass
class TrackingOptions(TrackerSettings):
    """The network, its start, the pairs that it learns from, and how it tracks.

    Args:
        backbone: siamfc_alexnet, the paper's without padding, or another network; `foveal list backbones` shows them.
        stage: of another network the stage whose map is compared, by its stride, 8, 16 or 32; the latter two are then
            dilated to 8. Null for 16, or for 8 of networks that can't be dilated.
        weights: where the backbone starts: random (null), imagenet or a file (.pth, .safetensors, .ckpt).
        frozen_stages: the first stages of the backbone that stay as they are, with their normalisation.
        head: siamfc, cross-correlation (Bertinetto et al. 2016); cfnet, a correlation filter (Valmadre et al. 2017);
            goturn, regression from two crops (Held et al. 2016); siamrpn, anchors (Li et al. 2018).
        exemplar_size: pixels, side of the crop that shows the target.
        search_size: pixels, side of the crop in which it is looked for.
        margin: cells that are cut off all around the features of both crops, which padding has spoilt; null for 4, and
            0 for siamfc_alexnet, which has none.
        width: mixtures of the backbone's channels that are compared, which may be negative, as those behind a ReLU are
            not; of goturn, of its hidden layers. Null for 256 (siamrpn), 4096 (goturn), or the channels themselves.
        dropout: of goturn's hidden layers; narrow ones learn better without.
        radius: pixels of the search crop from the target's middle within which a position counts as right (siamfc,
            cfnet).
        max_distance: frames between the two of a pair, at most.
        pairs_per_sequence: pairs that each sequence gives an epoch; null for one a frame.
        baselines: trackers to test on the same sequences, beside the network: static, a box that never moves; template,
            template matching; or OpenCV's, MIL in each build, KCF, CSRT, MOSSE and more in its contrib builds.
        restarts: test by VOT's protocol too, in which a tracker that has lost its target gets it anew.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
    """

    backbone: str = "siamfc_alexnet"
    weights: str | None = None
    stage: Literal[8, 16, 32] | None = None
    frozen_stages: int = 0
    head: HeadName = "siamfc"
    exemplar_size: int = 127
    search_size: int = 255
    margin: int | None = None
    width: int | None = None
    dropout: float = 0.5
    radius: float = 16.0
    max_distance: int = 100
    pairs_per_sequence: int | None = None
    baselines: list[str] = field(default_factory=list)
    restarts: bool = False
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None


# The command line shows a section's entries by its own docstring.
_of_tracker = (TrackerSettings.__doc__ or "").partition("Args:\n")[2]
TrackingOptions.__doc__ = f"{(TrackingOptions.__doc__ or '').rstrip()}\n{_of_tracker}"

OPTIONS = TrackingOptions
RANGES = {  # lowest and highest
    "scales": (1, 15),
    "scale_step": (1.001, 2),
    "scale_penalty": (0, 1),
    "scale_rate": (0, 1),
    "window": (0, 1),
    "upsample": (1, 64),
    "shape_penalty": (0, 10),
    "template_rate": (0, 1),
    "frozen_stages": (0, 1000),
    "exemplar_size": (32, 1024),
    "search_size": (32, 2048),
    "margin": (0, 64),
    "width": (1, 8192),
    "dropout": (0, 0.95),
    "radius": (1, 256),
    "max_distance": (0, 1_000_000),
    "pairs_per_sequence": (1, 1_000_000),
}
DEMO = Demo(
    recipe="tracking/siamfc_resnet18_shapes",
    format="frame_folder",
    images=9600,
    size=256,
    frames=48,
    next="foveal train tracking/siamfc_resnet50_folder --data.root DIR  (DIR: a folder of frames a video, with boxes)",
)
BACKBONES = ("siamfc_alexnet",)  # made in embedding.py
AUGMENTATIONS = ("none", "siamfc", "shifted", "siamrpn", "goturn")  # made in transforms.py
