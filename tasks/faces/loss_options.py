"""The `model.loss` section of a faces recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass
from typing import Literal

LossName = Literal["softmax", "centre", "l_softmax", "a_softmax", "cosface", "arcface", "contrastive", "triplet"]
Mining = Literal["batch_all", "batch_hard", "semi_hard"]
Distance = Literal["euclidean", "squared"]


@dataclass
class LossOptions:
    """What pulls the images of a person together and those of others apart.

    Args:
        name: softmax; centre, softmax with the distance from the person's centre (Wen et al. 2016); margins on softmax,
            l_softmax (Liu et al. 2016), a_softmax (SphereFace, Liu et al. 2017), cosface (Wang et al. 2018), arcface
            (Deng et al. 2019); or distances in a batch, contrastive (Hadsell et al. 2006) and triplet (FaceNet, Schroff
            et al. 2015), which need two images of a person.
        margin: null for the usual one, a factor on the angle of l_softmax and a_softmax (4, whole numbers), a cosine of
            cosface (0.35), radians of arcface (0.5), a distance of contrastive (1) and triplet (0.2).
        scale: what the cosines of cosface and arcface are multiplied with.
        annealing_start: of l_softmax and a_softmax, the weight of softmax beside the margin's 1 in the first step; 0,
            with an end of 0, for the margin alone.
        annealing_decay: step t has the weight start / (1 + decay t).
        annealing_end: but never less than this.
        mining: triples of triplet: batch_all, every one of the batch, and the mean of those that cost something;
            batch_hard, each image with its farthest of the same person and its nearest of another (both Hermans et al.
            2017); semi_hard, those whose negative is farther than the positive by less than the margin (FaceNet).
        distance: of triplet, euclidean or its square; null for the square with semi_hard, as FaceNet has it, and else
            euclidean, as Hermans et al. do.
        unit_length: contrastive and triplet compare embeddings of length 1, as FaceNet does and as verification will;
            false for embeddings as they are, as in Hadsell et al. and Hermans et al.
        centre_weight: of centre, the lambda of its distances beside softmax.
        centre_rate: of centre, the alpha by which centres follow their images.
    """

    name: LossName = "arcface"
    margin: float | None = None
    scale: float = 64.0
    annealing_start: float = 1500.0
    annealing_decay: float = 0.1
    annealing_end: float = 5.0
    mining: Mining = "semi_hard"
    distance: Distance | None = None
    unit_length: bool = True
    centre_weight: float = 0.003
    centre_rate: float = 0.5


RANGES = {  # lowest and highest; those of the margin that each loss has are in losses.py
    "loss.margin": (0, 100),
    "loss.scale": (0.01, 1000),
    "loss.annealing_start": (0, 1_000_000),
    "loss.annealing_decay": (0, 1000),
    "loss.annealing_end": (0, 1_000_000),
    "loss.centre_weight": (0, 1000),
    "loss.centre_rate": (0, 1),
}
