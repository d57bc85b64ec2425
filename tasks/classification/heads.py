"""From feature maps to class scores."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torchvision
from torch import nn

from ...backbones.catalogue import find_family
from ...core.errors import UsageError
from .options import ClassificationOptions


class LinearHead(nn.Module):
    """Global average pooling of the coarsest map, dropout, one linear layer (Lin et al. 2013, section 3.2; He et al.
    2015).
    """

    def __init__(self, channels: Sequence[int], num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels[-1], num_classes)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes)."""
        return self.linear(self.dropout(features[-1].mean(dim=(2, 3))))


class PublishedHead(nn.Module):
    """What stands behind the maps of a network of torchvision's where that is more than pooling and one linear layer.

    The three fully connected layers of AlexNet and VGG, MobileNetV3's two, ConvNeXt's layer norm, SqueezeNet's
    convolution. Layers have torchvision's names, so that its files fill them, and begin with torch's own draws; the
    last one has `num_classes` outputs. `dropout` takes the place of the network's own where it is above 0. Raises
    UsageError for other networks.
    """

    def __init__(self, backbone: str, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if not has_published_head(backbone):
            raise UsageError(
                f"model.head is published, but {backbone} was published with a linear layer, or not by torchvision; "
                "set it to linear."
            )
        with torch.device("meta"):  # 120 million parameters of VGG would be drawn twice
            network = torchvision.models.get_model(backbone, num_classes=num_classes)
        classifier = network.get_submodule("classifier").to_empty(device=torch.get_default_device())
        assert isinstance(classifier, nn.Sequential)
        for layer in classifier:
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, nn.Dropout) and dropout > 0:
                layer.p = dropout
        self.pool = getattr(network, "avgpool", nn.Identity())
        self.flatten = nn.Flatten() if _reads_vectors(classifier) else nn.Identity()
        self.classifier = classifier

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes)."""
        return self.classifier(self.flatten(self.pool(features[-1]))).flatten(1)

    def start_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy what fits of the weights of the whole network: where the classes are others, all but the last layer."""
        own = self.state_dict()
        fitting = {key: weights[key] for key in own if key in weights and weights[key].shape == own[key].shape}
        self.load_state_dict(fitting, strict=False)


def has_published_head(backbone: str) -> bool:
    """Whether torchvision's network of this name ends in more than pooling and one linear layer."""
    family = find_family(backbone)
    return family.source == "torchvision" and (
        family.module in ("alexnet", "convnext", "squeezenet", "vgg") or backbone.startswith("mobilenet_v3")
    )


def _reads_vectors(classifier: nn.Sequential) -> bool:
    return isinstance(next(layer for layer in classifier if not isinstance(layer, nn.Dropout)), nn.Linear)


class AuxiliaryHead(nn.Module):
    """A second classifier on a map in the middle of a network, in training alone: the lower layers get a gradient that
    is not yet faint (Szegedy et al., Going deeper with convolutions, 2015, section 5).

    GoogLeNet reads 14 x 14 cells, which its pool of 5 x 5 every 3 turns into 4 x 4; maps of other sizes are averaged
    to 4 x 4 after it, so that any image will do.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.fit = nn.AdaptiveAvgPool2d(4)
        self.conv = nn.Conv2d(channels, 128, 1)
        self.hidden = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.linear = nn.Linear(1024, num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """One map (N, C, H, W) to logits (N, num_classes)."""
        small = self.fit(self.pool(features) if min(features.shape[2:]) >= 5 else features)
        hidden = self.hidden(self.conv(small).relu().flatten(1)).relu()
        return self.linear(self.dropout(hidden))


# From the recipe's options, the channels of the backbone's maps and the number of classes.
HEADS: dict[str, Callable[[ClassificationOptions, Sequence[int], int], nn.Module]] = {
    "linear": lambda options, channels, classes: LinearHead(channels, classes, options.dropout),
    "published": lambda options, channels, classes: PublishedHead(options.backbone, classes, options.dropout),
}
