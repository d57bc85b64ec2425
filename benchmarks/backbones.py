"""Backbones against the networks they come from: the same weights, the same images, the same numbers, the same time.

    python benchmarks/backbones.py [--rounds N] [--size PIXELS] [--weights FOLDER] [NAME ...]

The peer is torchvision's own network (for `timm/NAME` timm's), without its last linear layers, so that both end with
what the classifier reads: the maps' means, for VGG the maps. Weights are random, with random batch-norm statistics, or
those of a file in FOLDER that has torchvision's name for them (mobilenet_v2-b0353104.pth).

Forward passes of one image (for Inception-v3 of 299 pixels) run in turn, ours and theirs, in an order that changes
every round. Printed are the largest difference of the outputs, and the largest output; the medians in milliseconds, and
the median of the rounds' ratios. The goals: a difference below 1e-5, a ratio within 3 %.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from foveal.backbones import Backbone, create_backbone

NAMES = ("mobilenet_v2", "resnet50", "vgg16", "densenet121", "inception_v3", "convnext_tiny", "timm/resnet50")


def main() -> None:
    """Measure and print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--weights", type=Path, help="a folder of torchvision's files of weights")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in given.names:
        torch.manual_seed(0)
        peer, whose = make_peer(name, given.weights)
        backbone = make_ours(name, peer).to(device).eval()
        peer = without_classifier(peer).to(device).eval()
        compare(name, whose, lambda x, b=backbone, n=name: features(b, n, x), peer, given.rounds, given.size, device)


def make_peer(name: str, folder: Path | None) -> tuple[nn.Module, str]:
    """The published network, with its real weights where there is a file, and what weights it has."""
    if name.startswith("timm/"):
        import timm

        return randomise(timm.create_model(name.removeprefix("timm/"))), "random weights"
    # transform_input is what inception_v3's published weights are used with.
    options = {"init_weights": False, "transform_input": True} if name == "inception_v3" else {}
    network = torchvision.models.get_model(name, **options)
    published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    file = folder / Path(published.url).name if folder else None
    if file is None or not file.exists():
        return randomise(network), "random weights"
    network.load_state_dict(torch.load(file, weights_only=True))
    return network, "ImageNet's weights"


def make_ours(name: str, peer: nn.Module) -> Backbone:
    """The backbone with the peer's weights."""
    backbone = create_backbone(name)
    published = peer.state_dict()
    state = {own: published[key] for key, own in backbone.own_keys(published).items()}
    backbone.load_state_dict({key: state[key] for key in backbone.state_dict()})
    return backbone


def randomise(network: nn.Module) -> nn.Module:
    """Batch norms with statistics of their own: fresh ones, 0 and 1, would hide a wrong order."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def without_classifier(network: nn.Module) -> nn.Module:
    """Up to the global pooling, with it; ConvNeXt's layer norm behind it goes too."""
    for name in ("fc", "classifier"):
        if hasattr(network, name):
            setattr(network, name, nn.Flatten())
    return network


def features(backbone: Backbone, name: str, images: torch.Tensor) -> torch.Tensor:
    """What the peer's classifier reads, from the coarsest map."""
    coarsest = backbone(images)[-1]
    return (coarsest if name.startswith("vgg") else coarsest.mean(dim=(2, 3))).flatten(1)


Network = Callable[[torch.Tensor], torch.Tensor]


@torch.inference_mode()
def compare(name: str, whose: str, ours: Network, theirs: Network, rounds: int, size: int, device: str) -> None:
    """One line: difference and times."""
    size = 299 if name == "inception_v3" else size  # the size it was made for
    images = torch.randn(1, 3, size, size, device=device)
    got, want = ours(images), theirs(images)
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds + 3):
        turn = [("ours", ours), ("theirs", theirs)][:: 1 if number % 2 else -1]
        for side, network in turn:
            times[side].append(clock(network, images, device))
    ratios = [a / b for a, b in zip(times["ours"][3:], times["theirs"][3:], strict=True)]
    ms = {side: 1000 * statistics.median(values[3:]) for side, values in times.items()}
    difference = (got - want).abs().max().item()
    print(
        f"{name:<14} {whose:<18} difference {difference:.1e} (of {want.abs().max().item():.1e})   "
        f"ours {ms['ours']:7.2f} ms   theirs {ms['theirs']:7.2f} ms   ratio {statistics.median(ratios):.3f}",
        flush=True,
    )


def clock(network: Network, images: torch.Tensor, device: str) -> float:
    """Seconds of one pass."""
    start = time.perf_counter()
    network(images)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
