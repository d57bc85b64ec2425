"""What is done to the crops of a pair before a tracker learns from them, after they were cut (`pairs.py`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.errors import unknown
from ...core.transforms import A, Transform, resize_steps, sample_seed
from ...core.types import Preprocessing


def transform(preprocessing: Preprocessing, augment: str = "none") -> Transform:
    """The way from a frame to what a tracker cuts its crops from, and with an `augment` that changes colours the random
    changes of a pair's crops. Of "siamfc" and "goturn" all that is random is where the crops are cut.
    """
    if augment not in AUGMENTATIONS:
        raise unknown("augmentation", augment, AUGMENTATIONS, "Set data.augment to one of them.")
    return AUGMENTATIONS[augment](preprocessing)


class PairTransform(Transform):
    """Of a sample with `image` and `image2` other steps for each, by a draw of its own, and steps for both alike.

    The two crops are not of one size, as `Transform` wants them to be. No step may move pixels: `box2` stays as it is.
    A sample without `image2` is a frame, and goes through `frame` alone.
    """

    def __init__(
        self,
        frame: Sequence[A.BasicTransform],
        exemplar: Sequence[A.BasicTransform] = (),
        search: Sequence[A.BasicTransform] = (),
        alike: Sequence[A.BasicTransform] = (),
    ) -> None:
        super().__init__(frame)
        self._own = {"image": Transform(exemplar), "image2": Transform(search)}
        self._alike = Transform(alike)
        self._idle = not (exemplar or search or alike)

    def __call__(self, sample: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """See `Transform`."""
        if "image2" not in sample:
            return super().__call__(sample, seed)
        changed = dict(sample)
        if not self._idle:
            for number, (key, own) in enumerate(self._own.items()):
                image = own({"image": sample[key]}, sample_seed(seed, 0, number))
                changed[key] = self._alike(image, seed)["image"]
        return changed

    def __getstate__(self) -> dict[str, Any]:
        """See `Transform`."""
        return {name: getattr(self, name) for name in ("_steps", "_own", "_alike", "_idle")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `Transform`."""
        super().__setstate__(state)
        self.__dict__.update(state)


def _unchanged(preprocessing: Preprocessing) -> Transform:
    return PairTransform(resize_steps(preprocessing))


def _siamrpn(preprocessing: Preprocessing) -> Transform:
    # After SiamRPN++ (Li et al. 2019) and its code: the colours of both crops change, and at times they have none; as
    # if a camera had moved, to and fro alike, the one to search is blurred.
    blur = A.MotionBlur(blur_limit=(3, 15), allow_shifted=False, direction_range=(0.0, 0.0), p=0.2)
    return PairTransform(resize_steps(preprocessing), [_colours()], [_colours(), blur], [A.ToGray(p=0.25)])


def _colours() -> A.BasicTransform:
    # Anew for each crop: a step draws from the last `Transform` that took it in.
    return A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=1.0)


AUGMENTATIONS: dict[str, Callable[[Preprocessing], Transform]] = {
    "none": _unchanged,
    "siamfc": _unchanged,
    "shifted": _unchanged,
    "siamrpn": _siamrpn,
    "goturn": _unchanged,
}
