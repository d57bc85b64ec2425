"""Faces: a backbone and a head that make a face a point, near those of the same person and far from all others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...core.data import DataOptions, Dataset
from ...core.data import preprocessing as default_preprocessing
from ...core.errors import UsageError
from ...core.folders import digest_of
from ...core.options import PredictionOptions
from ...core.task import Task
from ...core.transforms import Transform
from ...core.types import Batch, Prediction, Preprocessing
from .draw import draw_embedding, draw_faces
from .evaluation import Evaluation
from .gallery import Gallery, model_fingerprint
from .head import EmbeddingHead
from .losses import build_loss, check_people, least_images
from .network import build_network
from .options import FacesOptions
from .recognition import Finder, Naming, Seen
from .thresholds import Threshold, chosen_threshold, known_thresholds
from .transforms import transform, unchanged

_SMALL = 0.25  # of the network's input
_LOSS = "loss."  # in the keys of the weights that training alone needs
_TRAINING = "training_weights"  # the entry of a checkpoint that holds them, where a run can go on from it


class FacesTask(Task):
    """An embedding of a face that is cut out and aligned: two of one person are near, two of two people are far.

    The people of the training are known to the loss alone, which has no part in anything else: a checkpoint to use has
    neither their names nor their weights. `labels`, the person on each training image, are needed for training. Raises
    UsageError for a wrong name or number and for people that the loss can't learn from, ModelFileError for weights that
    can't be used.
    """

    name = "faces"
    metric = "accuracy"
    OPTIONS = FacesOptions
    HEADLINE = ("loss", "accuracy", "eer", "auc")
    EVALUATION_OPTIONS = ("far", "fars", "max_pairs", "baseline")
    PREDICTION_OPTIONS = ("flip", "far", "gallery", "detector", "blur_unknown")
    FORMATS = ("embeddings", "crops")
    HAS_CLASSES = False
    COMPARES = True

    backbone: Backbone
    head: EmbeddingHead
    options: FacesOptions
    loss: nn.Module | None

    def __init__(
        self,
        options: FacesOptions,
        *,
        class_names: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        preprocessing = preprocessing or default_preprocessing(DataOptions())
        backbone, head = build_network(options, preprocessing)
        super().__init__(options, backbone=backbone, head=head, class_names=(), preprocessing=preprocessing)
        self.seen = preprocessing  # of a face that is cut out
        self._rated_by = options  # says of which FARs `thresholds` are, whatever an evaluation asks for
        self.loss = None
        if labels is not None:
            check_people(labels, options.loss)
            self.loss = build_loss(options.loss, people=len(class_names), width=options.width)
        self.finder: Finder | None = None
        self.naming: Naming | None = None
        self._evaluation: Evaluation | None = None
        self.register_load_state_dict_post_hook(_without_loss)

    @classmethod
    def build(
        cls,
        options: FacesOptions,
        *,
        class_names: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        training: Dataset | None = None,
    ) -> "FacesTask":
        """The task of a recipe; with `training` also the loss, of the people in it."""
        labels = None if training is None else training.labels
        return cls(options, class_names=class_names, preprocessing=preprocessing, labels=labels)

    # Training and evaluation.

    def training_data(self, dataset: Dataset, augment: str | list[str]) -> Dataset:
        """The images of people of whom there are as many as the loss compares."""
        labels, least = dataset.labels, least_images(self.options.loss)
        enough = np.bincount(labels)[labels] >= least
        return dataset if enough.all() else cast(Any, dataset).subset(np.flatnonzero(enough))

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss of the recipe, by its name."""
        assert self.loss is not None, "built without training data"
        return {self.options.loss.name: self.loss(self(batch["image"]), batch["identity"])}

    def begin_evaluation(self, dataset: Dataset) -> None:
        """See `Task`."""
        tested = self._is_test()
        pixels = tested and self.options.baseline
        stored = known_thresholds(self.thresholds, self._rated_by) if tested else {}
        self._evaluation = Evaluation(dataset, self.options, pixels=pixels, identify=tested, stored=stored)

    def evaluate(self, batch: Batch) -> None:
        """Keep the embeddings."""
        assert self._evaluation is not None, "begin_evaluation comes first"
        self._evaluation.add(batch["path"], self.embed(batch["image"]), batch["image"])

    def compute_metrics(self) -> dict[str, float]:
        """See `Evaluation.summary`. A validation also finds the thresholds, of people whom training has not seen."""
        assert self._evaluation is not None, "begin_evaluation comes first"
        self._evaluation.compute()
        if not self._is_test():
            self.thresholds = self._evaluation.thresholds()
        return self._evaluation.summary()

    def tables(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """The share of pairs of one person that are found at each FAR, and the pixels beside the network."""
        return self._evaluation.tables() if self._evaluation is not None else {}

    def remark(self) -> str | None:
        """How pairs were had that the data set does not name, and what there was too little of."""
        return self._evaluation.remark() if self._evaluation is not None else None

    def plots(self) -> dict[str, Callable[[str], None]]:
        """The ROC curve, and the distances of both kinds of pairs."""
        return self._evaluation.plots() if self._evaluation is not None else {}

    # Prediction.

    def embed(self, images: torch.Tensor, *, flip: bool = False) -> torch.Tensor:
        """Embeddings float32 (N, D), of length 1, of faces uint8 (N, 3, S, S); with `flip` of their sum with those of
        the mirrored faces.
        """
        embeddings = F.normalize(self(images).float(), dim=1)
        if flip:
            embeddings = F.normalize(embeddings + F.normalize(self(images.flip(3)).float(), dim=1), dim=1)
        return embeddings

    @property
    def fingerprint(self) -> str:
        """A digest of the network and of how it sees a face: embeddings of two that differ can't be compared."""
        weights = {key: values for key, values in self.state_dict().items() if not key.startswith(_LOSS)}
        wanted = self.prediction_options
        found = {"detector": digest_of(wanted.detector)} if wanted.detector is not None else {}
        return model_fingerprint(weights, {**self.seen, **found, **({"flip": True} if wanted.flip else {})})

    @property
    def least_side(self) -> float:
        """Pixels of the shorter side of a face: one that is smaller is all but made up when it is enlarged."""
        return _SMALL * self.seen["size"]

    def threshold(self, far: float | None = None) -> Threshold | None:
        """The distance below which two faces are one person's, for the share `far` of false matches among pairs of two
        people, by default the recipe's; None where validation found none. Raises UsageError for a `far` that it did not
        find one for.
        """
        return chosen_threshold(self.thresholds, self._rated_by, far)

    def predict_by(self, options: PredictionOptions) -> None:
        """See `Task`; raises ModelFileError for a gallery of another network and a detector that can't be used."""
        super().predict_by(options)
        self.finder = Finder.from_file(options.detector, self.seen["size"])
        self.preprocessing = self.seen if self.finder is None else Preprocessing(**{**self.seen, "resize": "keep"})
        self.naming, self.class_names = None, []
        if options.blur_unknown and options.gallery is None:
            raise UsageError("--blur-unknown hides faces that are not in a gallery; give one by --gallery.")
        if options.far is not None:
            self.threshold(options.far)  # or say at once that there is none
        if options.gallery is not None:
            gallery = Gallery.read(options.gallery, fingerprint=self.fingerprint)
            self.naming = Naming(gallery, self.threshold(options.far))
            self.class_names = self.naming.class_names
        elif self.finder is not None:
            self.class_names = ["face"]

    def formats(self) -> tuple[str, ...]:
        """See `Task`: a named face has no embedding, and an image that is one face no box."""
        if self.naming is not None:
            return ("crops",)
        return ("embeddings",) if self.finder is None else ("embeddings", "crops")

    def predict(self, batch: Batch) -> list[Prediction]:
        """The embedding of each image; with a detector the boxes and embeddings of the faces in each; with a gallery
        their boxes and names.
        """
        if self.finder is not None:
            found = [self._find(batch, index) for index in range(len(batch["path"]))]
            return (
                self.naming.predictions([seen for seen, _ in found])
                if self.naming
                else [_faces(*each) for each in found]
            )
        embeddings = self.embed(batch["image"], flip=self.prediction_options.flip).cpu()
        seen = zip(batch["path"], batch["size"], embeddings, strict=True)
        if self.naming is not None:  # each image is one face
            return self.naming.predictions([Seen(path, size, _whole(size), row[None]) for path, size, row in seen])
        return [Prediction(path=path, size=size, **_unnamed(), embedding=row) for path, size, row in seen]

    def truth(self, sample: Mapping[str, Any]) -> Prediction:
        """Whose face it is: one box as large as the image, with the number of the person."""
        names = [f"person {sample['identity']}"]
        labels = torch.tensor([sample["identity"]])
        return Prediction(
            path=sample["path"],
            size=sample["size"],
            boxes=_whole(sample["size"]),
            labels=labels,
            scores=torch.ones(1),
            names=names,
        )

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The image with its faces framed and named; of one that is a face the embedding below it, as stripes."""
        if "boxes" not in prediction:
            return draw_embedding(image, prediction["embedding"].numpy())
        unknown = self.naming.unknown if self.naming is not None else None
        return draw_faces(image, prediction, unknown=unknown, blur=self.prediction_options.blur_unknown)

    def transform(self, augment: str | list[str] = "none") -> Transform:
        """Resize and, in training, change the image; where faces are to be found in it first, leave it as it is."""
        if self.finder is not None:
            return unchanged()
        assert isinstance(augment, str)
        return transform(self.seen, augment)

    def _find(self, batch: Batch, index: int) -> tuple[Seen, torch.Tensor]:
        """The faces of an image, and how sure the detector is of each, float32 (K,)."""
        assert self.finder is not None
        height, width = batch["shape"][index]
        image = batch["image"][index, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()
        faces, crops = self.finder.find(image)
        embeddings = torch.zeros(0, self.options.width)
        if faces:
            embeddings = self.embed(crops.to(self.device), flip=self.prediction_options.flip).cpu()
        boxes = torch.from_numpy(np.array([face.box for face in faces], np.float32).reshape(-1, 4))
        scores = torch.tensor([face.score for face in faces], dtype=torch.float32)
        return Seen(batch["path"][index], batch["size"][index], boxes, embeddings), scores

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Part the loss from the network: who uses a network has no use for the people that it learnt from."""
        super().on_save_checkpoint(checkpoint)
        weights = checkpoint["state_dict"]
        own = {key: weights.pop(key) for key in list(weights) if key.startswith(_LOSS)}
        if "optimizer_states" in checkpoint:
            checkpoint[_TRAINING] = own

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Join them again in a run that goes on."""
        checkpoint["state_dict"].update(checkpoint.get(_TRAINING, {}))

    def _is_test(self) -> bool:
        return self._trainer is not None and self.trainer.testing


def _without_loss(_task: nn.Module, keys: Any) -> None:
    """A checkpoint to use has no weights of the loss, and none are missing."""
    keys.missing_keys[:] = [key for key in keys.missing_keys if not key.startswith(_LOSS)]


def _whole(size: tuple[int, int]) -> torch.Tensor:
    """The box of all of an image."""
    return torch.tensor([[0.0, 0.0, size[1], size[0]]])


def _faces(seen: Seen, scores: torch.Tensor) -> Prediction:
    """Faces that nobody is asked to name."""
    labels, names = torch.zeros(len(scores), dtype=torch.int64), ["face"] * len(scores)
    return Prediction(**seen._asdict(), labels=labels, scores=scores, names=names)


def _unnamed() -> dict[str, Any]:
    return {"labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0), "names": []}


TASK = FacesTask
