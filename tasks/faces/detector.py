"""Where faces are in an image: what every detector answers, and the choice among them. Imports no torch by itself."""

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from ...core.errors import UsageError, unknown

DetectorName = Literal["mtcnn", "yunet", "none"]

# What each is, and what must be given with it.
DETECTORS: dict[str, str] = {
    "mtcnn": "three small networks one behind another (Zhang et al. 2016); needs their weights",
    "yunet": "OpenCV's FaceDetectorYN; needs the ONNX file of its model",
    "none": "the whole image is one face, cut out and aligned before",
}


class Face(NamedTuple):
    """A face in an image, in continuous pixels: 0 is the image's left or top edge, and the first pixel's middle 0.5."""

    box: np.ndarray  # float32 (4,), xyxy, inside of the image
    score: float  # 0 to 1: how sure the detector is
    landmarks: np.ndarray | None  # float32 (5, 2): left eye as seen in the image, right eye, nose, corners of the mouth


class FaceDetector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """The faces of an RGB image, uint8 (H, W, 3), by falling score; none where there are none."""
        ...


class WholeImage:
    """The detector of folders whose images are faces already: one face as large as the image, without landmarks."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """See `FaceDetector`."""
        height, width = image.shape[:2]
        return [Face(np.array([0, 0, width, height], np.float32), 1.0, None)]


def build_detector(
    name: str,
    weights: str | Path | None = None,
    *,
    min_face: int = 20,
    score: float | None = None,
    device: str = "cpu",
) -> FaceDetector:
    """The detector called `name`, one of `DETECTORS`.

    `weights`: what `load_mtcnn` reads, or YuNet's ONNX file. `min_face`: pixels along the smallest face to be found.
    `score`: faces below it are left out; by default the detector's own limit. `device`: of MTCNN's networks. Raises
    UsageError for a wrong name or missing `weights`, ModelFileError for a file that is no model of this kind.
    """
    if name not in DETECTORS:
        raise unknown("face detector", name, DETECTORS)
    if name == "none":
        return WholeImage()
    if weights is None:
        raise UsageError(f"The face detector {name} is {DETECTORS[name]}: {_REMEDIES[name]}.")
    if not min_face >= 1:
        raise UsageError(f"The smallest face to be found is {min_face} pixels wide: it must be 1 or more.")
    if score is not None and not 0 <= score <= 1:
        raise UsageError(f"The least score of a face is {score}: it must be from 0 to 1.")
    if name == "yunet":
        from .yunet import YuNet

        return YuNet(weights, min_face=min_face, **({} if score is None else {"score": score}))
    from .mtcnn import THRESHOLDS, Mtcnn
    from .mtcnn_weights import load_mtcnn

    thresholds = THRESHOLDS if score is None else (*THRESHOLDS[:2], score)
    return Mtcnn(load_mtcnn(weights).to(device), min_face=min_face, thresholds=thresholds)


_REMEDIES = {
    "mtcnn": "train them on drawn faces by `foveal fit-detector --out mtcnn.safetensors`, or give the folder with "
    "pnet.pt, rnet.pt and onet.pt of facenet-pytorch, or its wheel",
    "yunet": "give the face_detection_yunet file of OpenCV's model zoo",
}
