"""The drawn world as a data set: every kind of truth, for every task, without a file.

Its pictures are drawn when they are asked for, each from (seed, task, split, number), and are the same to the byte on
every machine: tests and demonstrations stand on them, and `foveal draw-data` writes them in every format that foveal
reads. Detection, segmentation, edges and depth see the same scenes.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from ..core.errors import UsageError, unknown
from ..core.options import SPLITS
from .mixed import class_numbers
from .splits import digest
from .world.bodies import SHAPE_NAMES
from .world.dice import Dice
from .world.scenes import Scene, draw_portrait, draw_scene
from .world.videos import FRAMES, Video

VERSION = 1  # of the drawing: raised when a picture or its truth changes
DEFAULT_IMAGES = {"train": 1000, "val": 200, "test": 200}
VIEWS = 5  # pictures of a person
FOLDS = 10  # of the pairs of faces
PAIRS_PER_FOLD = 300  # of one person, and as many of two, where there are so many (as in LFW)
_MOST_IMAGES = 10_000_000  # numbers of faces and styles of the splits lie so far apart
_WITH_CLASSES = ("classification", "detection", "style")  # one class an image or an object
_LEAST_SIDE, _MOST_SIDE = 32, 4096


class ShapesWorld:
    """Drawn images with the truth for one task; see the package for what a data set is.

    `size`: (H, W) or the side of a square, by default 256 (faces: 112, and always square). `portraits`: one large body
    a scene in place of up to twelve that hide each other, for detection, segmentation, edges and depth: easier by far.
    `level`: for the same, scenes of one camera, whose axis meets the middle of each image, in place of cameras whose
    images are shifted up or down, by which distances can be told from a picture alone.
    No two splits and no two seeds share a scene. A sample holds, beside `image`, `path` and `size`,

    - classification: `label` int; one body dominates the picture, and each class is drawn as often as any other;
    - detection: `boxes` float32 (N, 4) around the visible pixels, `labels` int64 (N,), `crowd` bool (N,), never set,
      and `difficult` bool (N,): hardly visible; about one image in sixteen has no object;
    - segmentation: `mask` int64 (H, W), 0 for the background, 1 + class elsewhere;
    - edges: `edges` float32 (H, W), the share of five annotators who marked the pixel, and `annotators` bool (5, H, W);
    - depth: `depth` float32 (H, W), metres, known everywhere; for networks that say more `mask` as in segmentation; and
      `camera` float32 (3,), its focal length and where its axis meets the image, x and y, in pixels, 0 in the middle of
      the first;
    - tracking: one frame is one sample: `boxes` float32 (1, 4), or (0, 4) where the target is not visible, `sequence`
      and `frame` int; a sequence has `FRAMES` frames, one behind another, and its target is visible in the first;
    - faces: `identity` int, the number of the person in `class_names`, which no two splits share; and the data set has
      `pairs` int64 (P, 2), numbers of images, `same` bool (P,) and `folds` int64 (P,);
    - style: `label` int, the kind of picture.

    `labels`: int64, the class of each image (classification, style), of each object (detection), the sequence of each
    frame, the identity of each face; empty for the other tasks. Raises UsageError for a wrong name, number or size.
    """

    def __init__(
        self,
        task: str,
        split: str = "train",
        *,
        images: int | None = None,
        size: int | tuple[int, int] | None = None,
        seed: int = 0,
        portraits: bool = False,
        level: bool = False,
    ) -> None:
        if task not in _PENS:
            raise unknown("drawn task", task, _PENS)
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        images = DEFAULT_IMAGES[split] if images is None else images
        if not 0 <= images <= _MOST_IMAGES:
            raise UsageError(f"The drawn world was asked for {images} images: ask for 0 to {_MOST_IMAGES:,}.")
        if seed < 0:
            raise UsageError(f"The drawn world's seed is {seed}: it must be 0 or more.")
        self.task, self.split, self.seed = task, split, seed
        for name, wanted in (("portraits", portraits), ("level", level)):
            if wanted and not issubclass(_PENS[task], _Scenes):
                raise UsageError(f"data.{name} is for drawn scenes; those of {task} are not such.")
        self._pen = _PENS[task](seed, SPLITS.index(split), _checked_size(size, task), portraits, level)
        self._numbers = np.arange(images)
        self.class_names = self._pen.class_names(images)
        self._classes: np.ndarray | None = None  # int64: the new number of each class, -1 for one left out

    def __len__(self) -> int:
        """Number of images."""
        return len(self._numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image, uint8 (H, W, 3), its path, size (H, W) and truth."""
        image, truth = self._pen.draw(int(self._numbers[index]))
        return {"image": image, "path": self.path(index), "size": image.shape[:2], **self._of_classes(truth)}

    def path(self, index: int) -> str:
        """What the image is called: there is no such file."""
        return f"shapes/{self.split}/{self._numbers[index]:06d}"

    def truth(self, index: int) -> dict[str, Any]:
        """What is known about an image, without painting it."""
        return self._of_classes(self._pen.truth(int(self._numbers[index])))

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 (M,); detection plans all its scenes for it, a thousand in a second."""
        parts = [self._pen.labels(number) for number in self._numbers.tolist()]
        labels = np.array([label for part in parts for label in part], np.int64)
        return labels if self._classes is None else self._classes[labels][self._classes[labels] >= 0]

    def fingerprint(self) -> str:
        """A digest of all that the images depend on."""
        names = (self.task, self.split, *map(str, (VERSION, self.seed, *self._pen.size)))
        names += tuple(name for name in ("portraits", "level") if getattr(self._pen, name))
        classes = () if self._classes is None else (self._classes,)
        return digest([name.encode() for name in names], self._numbers, *classes)

    def subset(self, indices: np.ndarray) -> Self:
        """The same data set with the images at `indices` alone, under their old names."""
        pen = self._pen
        scenes = {"portraits": pen.portraits, "level": pen.level}
        part = type(self)(self.task, self.split, images=0, size=pen.size, seed=self.seed, **scenes)
        part._numbers, part.class_names, part._classes = self._numbers[indices], self.class_names, self._classes
        return part

    def with_classes(self, classes: Mapping[str, str]) -> Self:
        """The classes that are keys of `classes`, under the names that are its values: images of others go, and where
        images hold several objects, the objects. Raises UsageError for a task whose images and objects have no class.
        """
        if self.task not in _WITH_CLASSES:
            raise UsageError(
                f"data.classes chooses among {' and '.join(_WITH_CLASSES)}, not in a drawn {self.task} set."
            )
        numbers, names = class_numbers(self.class_names, classes)
        stay = np.arange(len(self)) if self.task == "detection" else np.flatnonzero(numbers[self.labels] >= 0)
        part = self.subset(stay)
        part._classes = numbers if self._classes is None else np.append(numbers, -1)[self._classes]
        part.class_names = names
        return part

    def _of_classes(self, truth: dict[str, Any]) -> dict[str, Any]:
        if self._classes is None:
            return truth
        if "label" in truth:
            return {**truth, "label": int(self._classes[truth["label"]])}
        labels = self._classes[truth["labels"]]
        return {key: value[labels >= 0] for key, value in {**truth, "labels": labels}.items()}

    @property
    def pairs(self) -> np.ndarray:
        """int64 (P, 2): indices of two faces to compare; empty for other tasks and where there is one person."""
        return self._pairs[0]

    @property
    def same(self) -> np.ndarray:
        """Whether both faces of a pair are one person's, bool (P,): in each fold half of the pairs are."""
        return self._pairs[1]

    @property
    def folds(self) -> np.ndarray:
        """int64 (P,): the fold of each pair, 0 to 9; with 20 persons or more no two folds share one."""
        return self._pairs[2]

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        identities = self.labels if self.task == "faces" else np.zeros(0, np.int64)
        return _draw_pairs(identities, Dice(self.seed, _Faces.KIND, SPLITS.index(self.split), 1))


def open_split(
    root: object,
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    findings: object = None,
    task: str = "classification",
    images: int = 1000,
    portraits: bool = False,
    level: bool = False,
) -> ShapesWorld:
    """One split of a drawn data set of `images` in all, of which each split has its share, and one at least.

    `root` and `findings` are not used: nothing is read.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    share = fractions[SPLITS.index(split)]
    count = max(round(images * share), 1) if share > 0 else 0
    return ShapesWorld(task, split, images=count, seed=seed, portraits=portraits, level=level)


def _checked_size(size: int | tuple[int, int] | None, task: str) -> tuple[int, int]:
    if size is None:
        size = 112 if task == "faces" else 256
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < _LEAST_SIDE or max(height, width) > _MOST_SIDE:
        raise UsageError(
            f"The drawn world's size is {height} x {width}: each side must have {_LEAST_SIDE} to {_MOST_SIDE} pixels."
        )
    if task == "faces" and height != width:
        raise UsageError(f"Faces are drawn in squares, not in {height} x {width}: give one number as their size.")
    return height, width


# --- pens: what each task draws ---------------------------------------------------------------------------------------


class _Pen:
    """Draws the image and the truth of a number. `KIND` keeps the random numbers of unlike pens apart."""

    KIND = 0

    def __init__(
        self, seed: int, split: int, size: tuple[int, int], portraits: bool = False, level: bool = False
    ) -> None:
        self.seed, self.split, self.size, self.portraits, self.level = seed, split, size, portraits, level

    def class_names(self, images: int) -> list[str]:
        return list(SHAPE_NAMES)

    def labels(self, number: int) -> Sequence[int]:
        return ()

    def truth(self, number: int) -> dict[str, Any]:
        return {"label": self.labels(number)[0]}

    def draw(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        raise NotImplementedError

    def dice(self, *key: int) -> Dice:
        return Dice(self.seed, self.KIND, self.split, *key)


class _Portraits(_Pen):
    KIND = 1

    def labels(self, number: int) -> Sequence[int]:
        block, place = divmod(number, len(SHAPE_NAMES))
        return [self.dice(0, block).shuffled(range(len(SHAPE_NAMES)))[place]]

    def draw(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        truth = self.truth(number)
        return draw_portrait(self.dice(1, number), self.size, truth["label"]).image, truth


class _Scenes(_Pen):
    KIND = 2

    def draw(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        scene = self._scene(number)
        return scene.image, self.read(scene)

    def truth(self, number: int) -> dict[str, Any]:
        return self.read(self._scene(number))

    def read(self, scene: Scene) -> dict[str, Any]:
        """What the task wants to know of a scene."""
        raise NotImplementedError

    def _scene(self, number: int) -> Scene:
        if self.portraits:
            dice = self.dice(number, 1)
            return draw_portrait(dice, self.size, dice.below(len(SHAPE_NAMES)), level=self.level)
        return draw_scene(self.dice(number), self.size, level=self.level)


class _Detection(_Scenes):
    def labels(self, number: int) -> Sequence[int]:
        return self._scene(number).labels.tolist()

    def read(self, scene: Scene) -> dict[str, Any]:
        crowd, area = np.zeros(len(scene.labels), bool), (scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(axis=1)
        objects = {"boxes": scene.boxes, "labels": scene.labels, "crowd": crowd, "difficult": scene.difficult}
        return {**objects, "area": area}


class _Segmentation(_Scenes):
    def class_names(self, images: int) -> list[str]:
        return ["background", *SHAPE_NAMES]

    def read(self, scene: Scene) -> dict[str, Any]:
        return {"mask": scene.mask}


class _Edges(_Scenes):
    def class_names(self, images: int) -> list[str]:
        return []

    def read(self, scene: Scene) -> dict[str, Any]:
        return {"edges": scene.annotators.mean(axis=0, dtype=np.float32), "annotators": scene.annotators}


class _Depth(_Scenes):
    def class_names(self, images: int) -> list[str]:
        return []

    def read(self, scene: Scene) -> dict[str, Any]:
        return {"depth": scene.depth, "mask": scene.mask, "camera": scene.camera}


class _Tracking(_Pen):
    KIND = 3
    _last: tuple[int, Video] | None = None  # frames are mostly read one after another

    def class_names(self, images: int) -> list[str]:
        return [f"sequence_{number:04d}" for number in range(-(-images // FRAMES))]

    def labels(self, number: int) -> Sequence[int]:
        return [number // FRAMES]

    def truth(self, number: int) -> dict[str, Any]:
        sequence, frame = divmod(number, FRAMES)
        box, visible = self._video(sequence).target(frame)
        return {"boxes": box[None] if visible else np.zeros((0, 4), np.float32), "sequence": sequence, "frame": frame}

    def draw(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        sequence, frame = divmod(number, FRAMES)
        return self._video(sequence).frame(frame).image, self.truth(number)

    def _video(self, sequence: int) -> Video:
        if self._last is None or self._last[0] != sequence:
            self._last = sequence, Video(self.dice(sequence), FRAMES, self.size)
        return self._last[1]


class _Faces(_Pen):
    KIND = 4

    def class_names(self, images: int) -> list[str]:
        return [f"person_{self._person(number):08d}" for number in range(-(-images // VIEWS))]

    def labels(self, number: int) -> Sequence[int]:
        return [number // VIEWS]

    def truth(self, number: int) -> dict[str, Any]:
        return {"identity": number // VIEWS}

    def draw(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        from .world.faces import draw_face

        identity, view = divmod(number, VIEWS)
        image = draw_face(self._person(identity), view, size=self.size[0], seed=self.seed)
        return image, self.truth(number)

    def _person(self, identity: int) -> int:
        return identity + self.split * _MOST_IMAGES


class _Styles(_Pen):
    def class_names(self, images: int) -> list[str]:
        from .world.styles import STYLE_KINDS

        return list(STYLE_KINDS)

    def labels(self, number: int) -> Sequence[int]:
        from .world.styles import STYLE_KINDS

        return [(number + self.split * _MOST_IMAGES) % len(STYLE_KINDS)]

    def draw(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        from .world.styles import draw_style

        image, _ = draw_style(number + self.split * _MOST_IMAGES, size=self.size, seed=self.seed)
        return image, self.truth(number)


_PENS: dict[str, type[_Pen]] = {
    "classification": _Portraits,
    "detection": _Detection,
    "segmentation": _Segmentation,
    "edges": _Edges,
    "depth": _Depth,
    "tracking": _Tracking,
    "faces": _Faces,
    "style": _Styles,
}


# --- pairs of faces ---------------------------------------------------------------------------------------------------


def _draw_pairs(identities: np.ndarray, dice: Dice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (P, 2) of indices of `identities`, which of them are of one person, and their folds."""
    people = [np.flatnonzero(identities == identity).tolist() for identity in np.unique(identities)]
    pairs, same, folds = [], [], []
    for fold in range(FOLDS if len(people) > 1 else 0):
        pool = people[fold::FOLDS] if len(people) >= 2 * FOLDS else people
        alike = [(a, b) for images in pool for place, a in enumerate(images) for b in images[:place]]
        alike = dice.shuffled(alike)[:PAIRS_PER_FOLD] if alike else []
        for pair in alike:
            first, second = dice.shuffled(range(len(pool)))[:2]
            pairs += [pair, (dice.choice(pool[first]), dice.choice(pool[second]))]
            same += [True, False]
            folds += [fold, fold]
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(same, bool), np.array(folds, np.int64)
