"""What a recipe may say, apart from its task's own `model` section: the names, types, defaults and meanings of all
entries.

The command line checks a recipe and every `--section.entry` option against these classes, and shows their docstrings as
help. They are plain dataclasses of plain values: no torch, so that a mistake answers at once, and no class that a file
could name.
"""

from dataclasses import dataclass, field
from typing import Literal

SPLITS = ("train", "val", "test")


@dataclass
class DataOptions:
    """Which images, and how they reach the network.

    Args:
        format: how the data set is stored; `foveal list datasets` shows the choices.
        root: the folder or file that holds it; none for an embedded set.
        sources: further data sets that are mixed in, a list of {format: NAME, root: PATH}.
        classes: the classes to learn, a list of names; or old names with new ones, {car: vehicle, truck: vehicle}.
        images: how many the drawn world has, over all splits.
        portraits: of the drawn world, one large body a picture in place of up to twelve that hide each other.
        level: of the drawn world, scenes of one camera, whose axis meets the middle of each image: depths can be told.
        mask_values: what the values of mask files stand for, {0: background, 255: road}; by default their own numbers.
        ignore_value: the value in mask files of pixels that count for nothing.
        depth_scale: steps of a 16-bit depth file to the metre (KITTI 256, TUM 5000, millimetres 1000).
        size: height and width of the network's input, in pixels.
        resize: squash both sides to `size`; crop the middle after scaling the shorter side to size / 0.875; fit the
            longer side to `size`, so that images keep their shape; or the shorter side to `size`, but the longer to at
            most 5/3 of it, as Faster R-CNN has it.
        grey: one grey channel in place of three colours.
        augment: random changes to training images; a task names its own, and `none` is always there. For detection also
            a list of single steps, [photometric, expand, iou_crop, scales, flip].
        batch_size: images a step.
        sampling: uniform, each image once an epoch; balanced, images of rare classes more often; people, batches of
            batch_size / images_per_person people of each of whom there are that many images, as losses of pairs and
            triplets need them.
        images_per_person: of such a batch.
        aspect_buckets: batches of images of like shape, sorted into this many kinds of height by width; 1 for none.
        num_workers: processes that read images; by default one less than the cores, and at most eight.
        on_error: what an image that cannot be read does: stop the run, or be skipped with a warning.
        splits: shares of train, val and test where the data set has no splits of its own.
        with_val: learn from the validation images too, as published scores on BSDS500 and VOC do; what validation says
            is then of images that were learnt, and the test images are the only unseen ones.
    """

    format: str = "image_folder"
    root: str | None = None
    sources: list[dict[str, str]] | None = None
    classes: dict[str, str] | list[str] | None = None
    images: int | None = None
    portraits: bool | None = None
    level: bool | None = None
    mask_values: dict[int, str] | None = None
    ignore_value: int | None = None
    depth_scale: float | None = None
    size: int = 224
    resize: Literal["squash", "crop", "fit", "shorter"] = "squash"
    grey: bool = False
    augment: str | list[str] = "none"
    batch_size: int = 32
    sampling: Literal["uniform", "balanced", "people"] = "uniform"
    images_per_person: int = 4
    aspect_buckets: int = 1
    num_workers: int | None = None
    on_error: Literal["stop", "skip"] = "stop"
    splits: tuple[float, float, float] = (0.65, 0.10, 0.25)
    with_val: bool = False


@dataclass
class PredictionOptions:
    """What `foveal predict` may say of how a task predicts; `Task.PREDICTION_OPTIONS` names those that a task takes.

    Args:
        top_k: classes to name.
        score: results of a lower score are left out; None for the thresholds that validation found.
        nms_iou: of two boxes of a class that overlap by more, the one of lower score goes; None for the model's own.
        nms: hard, as said; soft, the one of lower score loses the more score the more it overlaps.
        class_agnostic: boxes of different classes suppress each other too.
        flip: predict each image mirrored as well, and join the results.
        scales: predict each image at these sizes, as shares of the network's input, and join the results.
        tile: predict squares of so many pixels of the file, detection the whole image too, and join the results; None
            for the whole image alone.
        overlap: least share of a tile that its neighbour sees too.
        crf: steps by which a fully connected CRF draws outlines to those of the image; 0 for none.
        probabilities: keep those of all classes at each pixel, in the size of the file.
        thin: of edges, keep lines about one pixel wide, by non-maximum suppression.
        bits: of a pixel in the files of edges, 8 or 16.
        depth_scale: of depth, steps of its 16-bit PNGs to the metre: with 256 they hold up to 255 metres.
        focal: of the camera, its focal length in pixels of the files; None where it is not known.
        intrinsics: of the camera, fx, fy, cx and cy in pixels of the files, in place of `focal`, whose axis goes
            through the image's middle.
        targets: of videos and folders of frames, by their paths: boxes xyxy in the first frame, which are followed.
        redetect: a target that is lost is looked for all over the frame.
        far: of two faces, how often those of two people may be taken for one person's: the largest share of pairs;
            None for the one that the recipe names.
        gallery: the file of people who are to be named, as `foveal enroll` writes it.
        detector: what finds faces: a file with the weights of MTCNN, or YuNet's ONNX file; None where each image is a
            face that was cut out and aligned before.
        blur_unknown: in drawn pictures, make faces that nobody in the gallery has unrecognisable.
    """

    top_k: int = 5
    score: float | None = None
    nms_iou: float | None = None
    nms: Literal["hard", "soft"] = "hard"
    class_agnostic: bool = False
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    tile: int | None = None
    overlap: float = 0.2
    crf: int = 0
    probabilities: bool = False
    thin: bool = False
    bits: Literal[8, 16] = 8
    depth_scale: float = 256.0
    focal: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    targets: dict[str, list[list[float]]] = field(default_factory=dict)
    redetect: bool = False
    far: float | None = None
    gallery: str | None = None
    detector: str | None = None
    blur_unknown: bool = False


@dataclass
class OptimizerOptions:
    """How the weights follow the gradient.

    Args:
        name: sgd (with Nesterov's momentum), adam or adamw.
        lr: learning rate at its highest.
        weight_decay: on weights alone, never on biases and normalisation.
        momentum: of sgd.
        clip_norm: gradients longer than this are scaled to it; 0 leaves them.
        ema: decay a step of a moving average of the weights (0.999, say), with which the run validates and which its
            checkpoints hold for use; 0 for none.
        multipliers: of the learning rate, by the names of weights: {head.*: 10, "*.bias": 2} is 10 in the head, 20 for
            its biases and 2 for other biases; * is for any characters, [12] for one of these.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 1.0e-3
    weight_decay: float = 0.05
    momentum: float = 0.9
    clip_norm: float = 0.0
    ema: float = 0.0
    multipliers: dict[str, float] = field(default_factory=dict)


@dataclass
class ScheduleOptions:
    """How the learning rate moves over the run, step by step.

    Args:
        name: constant; cosine falls to zero at the last step; step divides by ten at 60 % and at 85 % of what follows
            the warm-up.
        warmup_epochs: the rate rises in a straight line over this many epochs first.
    """

    name: Literal["constant", "cosine", "step"] = "cosine"
    warmup_epochs: float = 0.0


@dataclass
class TrainerOptions:
    """The part of Lightning's Trainer that plain values can set, on one device; names and meanings are Lightning's.

    Args:
        max_epochs: passes over the training images.
        max_steps: stop after this many steps; -1 for no such limit.
        accelerator: auto, cpu, gpu, mps.
        precision: 32-true, 16-mixed or bf16-mixed.
        accumulate_grad_batches: steps whose gradients are added before the weights move.
        check_val_every_n_epoch: epochs from one validation to the next.
        limit_train_batches: a number of batches, or a share of them, an epoch.
        limit_val_batches: the same for validation.
        deterministic: refuse operations whose result may differ from run to run.
        threads: of a CPU, for the network; all cores by default. Not Lightning's: small networks are as fast with one,
            and steadier on a busy machine.
    """

    max_epochs: int = 20
    max_steps: int = -1
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accumulate_grad_batches: int = 1
    check_val_every_n_epoch: int = 1
    limit_train_batches: int | float = 1.0
    limit_val_batches: int | float = 1.0
    deterministic: bool = False
    threads: int | None = None
