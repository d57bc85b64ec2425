"""Write the digits that training has not seen as image files, to have a folder to predict: `python
examples/write_digits.py DIR`.

The name of each file ends in its true class, so that the results can be checked by eye.
"""

import sys
from pathlib import Path

from foveal.core.images import write_image
from foveal.datasets import open_dataset


def main(folder: Path) -> None:
    """Write every test digit of the recipe `classification/lenet5_digits` (its splits and seed) to `folder` as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = open_dataset("digits", None, split="test", fractions=(0.65, 0.10, 0.25), seed=0)
    for index in range(len(digits)):
        sample = digits[index]
        write_image(folder / f"{index:04d}_is_{sample['label']}.png", sample["image"])
    print(f"{len(digits)} digits in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
