"""How fast the command line answers, against the `--help` of a LightningCLI with one small model.

    python benchmarks/command_line.py [ROUNDS]

Runs each command as a process of its own, in turn, round after round, and prints the least and the median wall time and
the ratio of the medians to the peer's. The goal for everything that needs no network: 50 times faster.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, DemoModel
LightningCLI(DemoModel, BoringDataModule)
"""

COMMANDS = {
    "foveal --help": ["--help"],
    "foveal --version": ["--version"],
    "foveal train --help": ["train", "--help"],
    "foveal predict --help": ["predict", "--help"],
    "unknown command": ["trian"],
    "unknown recipe": ["train", "classification/lenet_digits"],
    "unknown option": ["train", "classification/lenet5_digits", "--model.bakbone", "resnet18"],
    "unknown backbone": ["train", "classification/lenet5_digits", "--model.backbone", "resnet19"],
    "value of a wrong type": ["train", "classification/lenet5_digits", "--trainer.max_epochs", "many"],
    "missing data": ["train", "classification/resnet18_folder", "--data.root", "nowhere"],
    "missing checkpoint": ["predict", "nothing.ckpt", "."],
    "all options of a recipe": ["train", "classification/lenet5_digits", "--help"],
}


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Path(folder) / "peer.py"
        peer.write_text(PEER)
        lines = {"LightningCLI --help": [sys.executable, str(peer), "--help"]}
        lines |= {name: [sys.executable, "-m", "foveal", *words] for name, words in COMMANDS.items()}
        lines["python -c pass"] = [sys.executable, "-c", "pass"]
        seconds: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(rounds):
            for name, line in lines.items():
                began = time.perf_counter()
                subprocess.run(line, capture_output=True, cwd=folder, check=False)
                seconds[name].append(time.perf_counter() - began)
    peer_time = statistics.median(seconds["LightningCLI --help"])
    print(f"{'':<24} {'least':>8} {'median':>8}   times faster than LightningCLI --help")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<24} {1000 * min(values):6.0f} ms {1000 * median:5.0f} ms   {peer_time / median:6.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
