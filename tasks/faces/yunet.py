"""OpenCV's face detector, YuNet (Wu, Peng, Yu, YuNet: a tiny millisecond-level face detector, 2023), from a model file
that the user has: OpenCV brings the code and no weights.
"""

from pathlib import Path

import cv2
import numpy as np

from ...core.errors import ModelFileError
from .detector import Face

_SUFFIX = ".onnx"
_NMS = 0.3  # OpenCV's default, as is the score below
_LARGEST_SIDE = 1280  # pixels: larger images are reduced, for it finds no face that is larger than a few hundred


class YuNet:
    """The detector of a file `face_detection_yunet_*.onnx` of OpenCV's model zoo.

    `min_face`: faces whose box is narrower go. `score`: so do those of a lower one. Raises ModelFileError for a file
    that is missing, or that OpenCV can't read as such a model.
    """

    def __init__(self, path: str | Path, *, min_face: int = 20, score: float = 0.9) -> None:
        self.path, self.min_face = Path(path).expanduser(), min_face
        if not self.path.is_file():
            raise ModelFileError(
                f"There is no file {self.path}: give the face_detection_yunet model of OpenCV's model zoo."
            )
        if self.path.suffix.lower() != _SUFFIX:
            raise ModelFileError(f"{self.path}: YuNet is read from an ONNX file, whose name ends in {_SUFFIX}.")
        try:
            self._network = cv2.FaceDetectorYN.create(str(self.path), "", (320, 320), score, _NMS)
            self.detect(np.zeros((64, 64, 3), np.uint8))  # another network is only noticed when it runs
        except (cv2.error, SystemError) as error:
            raise _foreign(self.path, error) from error

    def detect(self, image: np.ndarray) -> list[Face]:
        """See `FaceDetector`. Large images are reduced to 1280 pixels along their longer side."""
        height, width = image.shape[:2]
        share = min(1.0, _LARGEST_SIDE / max(height, width))
        columns, rows = max(1, round(width * share)), max(1, round(height * share))
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if share < 1:
            pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        self._network.setInputSize((columns, rows))
        found = self._network.detect(pixels)[1]
        if found is None:
            return []
        found = np.asarray(found, np.float32)[np.argsort(-found[:, -1], kind="stable")]
        scale = np.array([width / columns, height / rows], np.float32)
        faces = [_face(row, scale, np.array([width, height], np.float32)) for row in found]
        return [face for face in faces if face.box[2] - face.box[0] >= self.min_face and face.box[3] > face.box[1]]


def _face(row: np.ndarray, scale: np.ndarray, limits: np.ndarray) -> Face:
    """x, y, width, height of the box, five points, score. OpenCV's "right" eye is the person's: left in the image."""
    corner, sides = row[:2] * scale, row[2:4] * scale
    box = np.concatenate([np.clip(corner, 0, limits), np.clip(corner + sides, 0, limits)])
    return Face(box, float(min(max(row[14], 0), 1)), row[4:14].reshape(5, 2) * scale)


def _foreign(path: Path, error: Exception) -> ModelFileError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ModelFileError(
        f"{path} is no model of YuNet that OpenCV can read ({reason[:160]}); give the face_detection_yunet file of "
        "OpenCV's model zoo."
    )
