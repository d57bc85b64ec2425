"""Training of MTCNN's three networks on drawn people, one behind another, as the paper does it (section II.C, D).

The first network learns from squares at random places; the next two from what the networks before them take for a face,
and from squares around the faces. Drawn people are not photographs: what comes out finds drawn faces, and shows that
detector, losses and files work; for photographs take published weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from ...core.bars import progress
from ...datasets.world.crowds import Crowd, draw_crowd
from .detector import FaceDetector
from .mtcnn import (
    CELL,
    OUTPUT_SIZE,
    REFINE_SIZE,
    CascadeNetwork,
    Mtcnn,
    MtcnnNetworks,
    OutputNetwork,
    Outputs,
    ProposalNetwork,
    RefinementNetwork,
    crops,
    normalised,
)

POSITIVE_IOU, PART_IOU, NEGATIVE_IOU = 0.65, 0.4, 0.3  # from, from and up to which IoU (section II.D)
HARD_SHARE = 0.7  # of a batch's losses of face or not, from the highest, that are learnt from (section II.C)
_BATCH_RATIO = (3, 1, 3)  # negatives, parts, positives; the paper's 3 : 1 : 1 and 2 with landmarks, which ours all have
_NEGATIVE, _PART, _POSITIVE, _BETWEEN = range(4)
_MOST_NEGATIVES = 40  # of an image, for the second and third network: those of the highest scores
_UNSEEN = 1_000_000  # the number of the first picture that no training sees
_LOOSE = (0.5, 0.5)  # least scores of the first two networks where samples for the next are looked for
_PRELU = 0.25  # the slope that a PReLU starts with
_RATE = 2e-3  # the highest of the schedule
_SAME_FACE = 0.5  # IoU from which a detection is of a face


class Samples(NamedTuple):
    """Squares of images, and what a network should say of them."""

    crops: torch.Tensor  # uint8 (N, 3, side, side)
    kinds: torch.Tensor  # int64 (N,): 0 no face, 1 part of a face (only its box is learnt), 2 a face
    offsets: torch.Tensor  # float32 (N, 4): as in `Outputs`, to the nearest face
    landmarks: torch.Tensor  # float32 (N, 10)


class Stage(NamedTuple):
    """How one of the networks is trained."""

    side: int  # pixels of its crops
    weights: dict[str, float]  # of its losses, by name (section II.C)
    batch: int
    steps: float  # for each picture that was drawn


class DetectionScores(NamedTuple):
    """How well a detector does on pictures whose faces are known."""

    faces: int
    recall: float  # the share of the faces that were found, with an IoU of 0.5 or more
    precision: float  # the share of what was found that is a face; 1 where nothing was found
    landmark_error: float  # mean distance of the landmarks of found faces, in distances of the eyes; NaN without any


STAGES = {
    "proposal": Stage(CELL, {"face": 1.0, "box": 0.5, "landmarks": 0.5}, 192, 6.0),
    "refinement": Stage(REFINE_SIZE, {"face": 1.0, "box": 0.5, "landmarks": 0.5}, 96, 2.0),
    "output": Stage(OUTPUT_SIZE, {"face": 1.0, "box": 0.5, "landmarks": 1.0}, 32, 2.0),
}


def fit_mtcnn(images: int, *, seed: int = 0, tell: Callable[[str], None] = print) -> MtcnnNetworks:
    """The three networks, trained on `images` drawn pictures of people; the same for the same call on one machine.

    `tell` is given a line for each network.
    """
    crowds = [draw_crowd(number, seed=seed) for number in progress(range(images), "drawing people")]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = MtcnnNetworks()
        for name, stage in STAGES.items():
            samples = _gather(name, networks, crowds, np.random.default_rng(seed))
            learner = prepared(_learner(name), samples)
            last = fit_stage(learner, samples, stage, steps=round(stage.steps * images), seed=seed)
            own = getattr(networks, name)
            own.load_state_dict({key: value for key, value in learner.state_dict().items() if key in own.state_dict()})
            losses = ", ".join(f"{key} {value:.3f}" for key, value in last.items())
            tell(f"{name:<11}{len(samples.kinds):>9,} squares   last losses: {losses}")
    return networks


def fit_stage(
    network: CascadeNetwork, samples: Samples, stage: Stage, *, steps: int, seed: int = 0
) -> dict[str, float]:
    """Train one network; returns its losses by name, means over the last tenth of the steps; none without steps, or
    without samples of each kind.
    """
    network.train().to(memory_format=torch.channels_last)  # a third faster on a CPU
    pools = [(samples.kinds == kind).nonzero()[:, 0] for kind in (_NEGATIVE, _PART, _POSITIVE)]
    counts = [stage.batch * part // sum(_BATCH_RATIO) for part in _BATCH_RATIO]
    steps = steps if all(len(pool) for pool in pools) else 0
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
    draw, history = torch.Generator().manual_seed(seed), []
    for _ in progress(range(steps), f"training on {stage.side} x {stage.side}"):
        rows = torch.cat([_some(pool, count, draw) for pool, count in zip(pools, counts, strict=True)])
        batch = Samples(*(each[rows] for each in samples))
        losses = stage_losses(network(normalised(batch.crops.float())), batch)
        optimizer.zero_grad()
        torch.stack([stage.weights[name] * loss for name, loss in losses.items()]).sum().backward()
        optimizer.step()
        schedule.step()
        history.append({name: loss.detach() for name, loss in losses.items()})
    network.eval()
    last = history[-max(1, steps // 10) :]
    return {name: float(torch.stack([losses[name] for losses in last]).mean()) for name in (last[0] if last else ())}


def prepared(network: CascadeNetwork, samples: Samples) -> CascadeNetwork:
    """A new network as training starts with it: signals keep their strength from layer to layer (He et al. 2015), and
    box and landmarks are at their means, which the last layer need not learn.
    """
    faces = samples.kinds == _POSITIVE
    for module in network.features:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=_PRELU)
    _start_at(network.face, torch.zeros(2))
    for head, wanted in ((network.box, samples.offsets), (network.landmarks, samples.landmarks)):
        if head is not None:
            _start_at(head, wanted[faces].mean(dim=0) if faces.any() else torch.zeros(wanted.shape[1]))
    return network


def stage_losses(outputs: Outputs, samples: Samples) -> dict[str, torch.Tensor]:
    """The paper's three losses, scalars, means over the samples that have a part in them; 0 where none has.

    `face`: cross entropy (equation 1) of faces and others, of which the highest 70 % count (section II.C); `box`, of
    faces and parts, and `landmarks`, of faces: squared distance, summed over the numbers (equations 2 and 3).
    """
    face, part = samples.kinds == _POSITIVE, samples.kinds == _PART
    logits = outputs.logits.flatten(1)[~part]
    entropy = F.cross_entropy(logits, face[~part].long(), reduction="none")
    hard = entropy.topk(max(1, int(HARD_SHARE * len(entropy)))).values if len(entropy) else entropy
    losses = {"face": _mean(hard), "box": _distance(outputs.offsets, samples.offsets, face | part)}
    if outputs.landmarks is not None:
        losses["landmarks"] = _distance(outputs.landmarks, samples.landmarks, face)
    return losses


def score_detector(detector: FaceDetector, crowds: Sequence[Crowd]) -> DetectionScores:
    """Compare what a detector finds with what is known. Of several detections of a face the surest one counts."""
    found, right, faces, errors = 0, 0, 0, []
    for image, boxes, landmarks in crowds:
        detected = detector.detect(image)
        found, faces, free = found + len(detected), faces + len(boxes), np.ones(len(boxes), bool)
        for face in detected:
            overlaps = box_iou(torch.from_numpy(face.box)[None], torch.from_numpy(boxes))[0].numpy() * free
            if not len(boxes) or overlaps.max() < _SAME_FACE:
                continue
            best = int(overlaps.argmax())
            free[best], right = False, right + 1
            if face.landmarks is not None:
                eyes = np.linalg.norm(landmarks[best][1] - landmarks[best][0])
                errors.append(np.linalg.norm(face.landmarks - landmarks[best], axis=1).mean() / eyes)
    error = float(np.mean(errors)) if errors else float("nan")
    return DetectionScores(faces, right / max(1, faces), right / found if found else 1.0, error)


def unseen_crowds(images: int, *, seed: int = 0) -> list[Crowd]:
    """Drawn pictures that `fit_mtcnn` with this seed has not seen."""
    return [draw_crowd(_UNSEEN + number, seed=seed) for number in progress(range(images), "drawing unseen people")]


def label_squares(squares: np.ndarray, crowd: Crowd) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What squares (K, 4) of a picture show: kinds int64 (K,) as in `Samples`, and 3 for IoUs of 0.3 to 0.4, of which
    nothing is learnt; offsets (K, 4) and landmarks (K, 10), float32, of the face with the highest IoU.
    """
    if not len(crowd.boxes):
        return np.zeros(len(squares), np.int64), np.zeros((len(squares), 4), np.float32), _no_landmarks(squares)
    overlaps = box_iou(torch.from_numpy(squares), torch.from_numpy(crowd.boxes)).numpy()
    nearest, highest = overlaps.argmax(axis=1), overlaps.max(axis=1)
    kinds = np.select(
        [highest >= POSITIVE_IOU, highest >= PART_IOU, highest < NEGATIVE_IOU], [_POSITIVE, _PART, _NEGATIVE], _BETWEEN
    )
    corner, side = squares[:, None, :2], (squares[:, 2:] - squares[:, :2])[:, None]
    offsets = (crowd.boxes[nearest] - squares) / np.tile(side[:, 0], 2)
    landmarks = ((crowd.landmarks[nearest] - corner) / side).reshape(-1, 10)
    return kinds, offsets.astype(np.float32), landmarks.astype(np.float32)


def _learner(name: str) -> CascadeNetwork:
    """A network to be trained, with all three losses."""
    if name == "output":
        return OutputNetwork()
    return (ProposalNetwork if name == "proposal" else RefinementNetwork)(landmarks=True)


@torch.no_grad()
def _start_at(head: nn.Module, values: torch.Tensor) -> None:
    """Let a last layer say `values` at first, whatever it is given, or nearly."""
    weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
    nn.init.normal_(weight, std=0.01)
    bias.copy_(values)


def _no_landmarks(squares: np.ndarray) -> np.ndarray:
    return np.zeros((len(squares), 10), np.float32)


def _gather(name: str, networks: MtcnnNetworks, crowds: Sequence[Crowd], rng: np.random.Generator) -> Samples:
    """The samples of one of the networks, from those before it."""
    detector = Mtcnn(networks, thresholds=(*_LOOSE, 0.0))
    parts: list[tuple[Any, ...]] = []
    for number in progress(range(len(crowds)), f"squares for {name}"):
        crowd = crowds[number]
        pixels = detector.pixels(crowd.image)
        squares = np.concatenate([_squares_around(crowd, rng), _squares_of(name, detector, crowd, pixels, rng)])
        kinds, offsets, landmarks = label_squares(squares, crowd)
        others = np.flatnonzero(kinds == _NEGATIVE)[-_MOST_NEGATIVES:]
        kept = np.sort(np.concatenate([others, np.flatnonzero((kinds == _PART) | (kinds == _POSITIVE))]))
        cut = crops(pixels, torch.from_numpy(squares[kept]), STAGES[name].side).round().to(torch.uint8)
        parts.append((cut, kinds[kept], offsets[kept], landmarks[kept]))
    cuts, *rest = zip(*parts, strict=True)
    return Samples(torch.cat(cuts), *(torch.from_numpy(np.concatenate(each)) for each in rest))


def _squares_of(name: str, detector: Mtcnn, crowd: Crowd, pixels: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
    """Squares, float32 (K, 4), that a network would be asked about, those of the highest scores last."""
    if name == "proposal":
        height, width = crowd.image.shape[:2]
        side = CELL * (min(height, width) / CELL) ** rng.uniform(size=_MOST_NEGATIVES)
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        return np.stack([left, top, left + side, top + side], axis=1).astype(np.float32)
    candidates = detector.propose(crowd.image)
    if name == "output":
        candidates = detector.refine(pixels, candidates)
    return candidates.boxes.numpy()[::-1].copy()


def _squares_around(crowd: Crowd, rng: np.random.Generator) -> np.ndarray:
    """Squares, float32 (K, 4), near each face: ten that show it, and six that show some of it."""
    squares = [np.zeros((0, 4), np.float32)]
    for box in crowd.boxes:
        for count, shift, scale in ((10, 0.12, 1.2), (6, 0.5, 1.5)):
            side = (box[2:] - box[:2]).max() * scale ** rng.uniform(-1, 1, size=(count, 1))
            middle = (box[:2] + box[2:]) / 2 + side * rng.uniform(-shift, shift, size=(count, 2))
            squares.append(np.concatenate([middle - side / 2, middle + side / 2], axis=1).astype(np.float32))
    return np.concatenate(squares)


def _some(pool: torch.Tensor, count: int, draw: torch.Generator) -> torch.Tensor:
    return pool[torch.randint(len(pool), (count,), generator=draw)]


def _distance(found: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return _mean((found.flatten(1)[counts] - wanted[counts]).square().sum(dim=1))


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.mean() if len(values) else values.sum()
