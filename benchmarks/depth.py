"""Depth beside what needs no network.

    python benchmarks/depth.py mean [--images N] [--size N]

`mean`: the numbers of a prediction that is the same for every image, the mean depth of the training images at each
pixel, on the drawn scenes that `depth/fcrn_resnet18_shapes` is tested on.
"""

import argparse

import numpy as np

from foveal.cli.recipe import parse_recipe
from foveal.cli.train import open_split
from foveal.tasks.depth.metrics import DepthMetrics

PARTS = ("mean",)
RECIPE = "depth/fcrn_resnet18_shapes"


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--images", type=int, help="over all splits (default: the recipe's)")
    parser.add_argument("--size", type=int, help="of the images (default: the recipe's)")
    given = parser.parse_args()
    overrides = [(f"data.{name}", str(value)) for name in ("images", "size") if (value := getattr(given, name))]
    recipe = parse_recipe(RECIPE, overrides)
    train, test = (open_split(recipe, split) for split in ("train", "test"))
    total = np.zeros(train.truth(0)["depth"].shape)
    for index in range(len(train)):
        total += train.truth(index)["depth"]
    metrics = DepthMetrics(alignments=("none",))
    for index in range(len(test)):
        metrics.update(total / len(train), test.truth(index)["depth"])
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in metrics.compute()["none"].items())
    print(f"the mean depth of {len(train)} images: {numbers} ({metrics.protocol()})")


if __name__ == "__main__":
    main()
