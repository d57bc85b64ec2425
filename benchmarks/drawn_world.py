"""How fast the drawn world is drawn, on one core: the goal for the plain scene is 150 images of 256 x 256 a second.

    python benchmarks/drawn_world.py [IMAGES]

Prints images per second of processor time for the plain scene (image, classes, boxes, mask and depth) and for the
samples of each task. Three rounds, of which the fastest counts: the machine may have other things to do.
"""

import sys
import time
from collections.abc import Callable

import cv2

from foveal.datasets.shapes import ShapesWorld
from foveal.datasets.world.dice import Dice
from foveal.datasets.world.scenes import draw_scene

KINDS = {
    "classification: portraits": "classification",
    "detection: boxes": "detection",
    "segmentation: masks": "segmentation",
    "edges: five annotators": "edges",
    "depth": "depth",
    "tracking: frames of a video": "tracking",
    "faces, 112 x 112": "faces",
    "styles": "style",
}


def main(images: int) -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    print(f"{'plain scene, all its truth':<28} {rate(draw_plain, images):6.0f} images a second")
    print(f"{'its truth alone':<28} {rate(draw_truth, images):6.0f}")
    for name, task in KINDS.items():
        world = ShapesWorld(task, images=images)
        print(f"{name:<28} {rate(world.__getitem__, images):6.0f}", flush=True)


def draw_plain(number: int) -> tuple:
    """A scene's image and all of its truth but the annotators'."""
    scene = draw_scene(Dice(0, number))
    return scene.image, scene.mask, scene.depth


def draw_truth(number: int) -> object:
    """Classes, boxes and instances of a scene, without its image."""
    return draw_scene(Dice(0, number))


def rate(draw: Callable[[int], object], images: int) -> float:
    """Calls a second of processor time."""
    draw(0)  # makes the textures
    seconds = []
    for _ in range(3):
        began = time.process_time()
        for number in range(images):
            draw(number)
        seconds.append(time.process_time() - began)
    return images / min(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
