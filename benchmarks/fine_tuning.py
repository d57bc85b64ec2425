"""What published weights are worth: the same recipe on the same images, from a file of weights and from random numbers.

    python benchmarks/fine_tuning.py DATA WEIGHTS [--trainer.max_epochs N] [...]

DATA is a folder with one sub-folder a class, WEIGHTS torchvision's `mobilenet_v2-b0353104.pth`. Everything behind them
is handed to `foveal train classification/mobilenet_v2_folder` in both runs. Prints top-1 on the test images of both.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main(data: str, weights: str, options: list[str]) -> None:
    """Train twice, evaluate twice, print."""
    with tempfile.TemporaryDirectory() as folder:
        for name, start in (("from the file", weights), ("from random numbers", "null")):
            run = Path(folder) / name.split()[-1]
            recipe = ["train", "classification/mobilenet_v2_folder", "--data.root", data]
            foveal(*recipe, "--model.weights", start, "--out", run, *options)
            metrics = json.loads(foveal("evaluate", run, "--json"))
            print(f"{name:<20} top1 {100 * metrics['top1']:.1f} % of {metrics['images']} test images", flush=True)


def foveal(*words: str | Path) -> str:
    """The output of a foveal command; its errors are shown."""
    line = [sys.executable, "-m", "foveal", *map(str, words)]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
