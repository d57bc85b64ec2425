"""The fixed keys of a sample and of a prediction: what every dataset, task and writer agrees on.

Coordinates are continuous pixels of the image file, 0 at its left and top edge, so a full-image box is (0, 0, W, H).
"""

from typing import Any, Literal, NotRequired, TypedDict

import torch


class Sample(TypedDict):
    """One image on its way to the network, and what is known about it."""

    image: torch.Tensor  # uint8 (3, H, W), RGB; normalised on the device, in the task
    path: str  # of the file, or "digits:12" where the image has none
    size: tuple[int, int]  # (H, W) of the file, before any resizing
    label: NotRequired[int]  # the class of the whole image
    boxes: NotRequired[torch.Tensor]  # float32 (K, 4), xyxy
    labels: NotRequired[torch.Tensor]  # int64 (K,), the classes of the boxes
    crowd: NotRequired[torch.Tensor]  # bool (K,), many objects under one box: COCO's iscrowd
    difficult: NotRequired[torch.Tensor]  # bool (K,), there, but not to be asked for: VOC's difficult
    area: NotRequired[torch.Tensor]  # float32 (K,), square pixels of the file: COCO's, of a mask, or else the box's
    mask: NotRequired[torch.Tensor]  # int64 (H, W), class numbers; 255 = ignore
    edges: NotRequired[torch.Tensor]  # float32 (H, W), the share of annotators who marked the pixel
    depth: NotRequired[torch.Tensor]  # float32 (H, W), metres; 0 = no measurement
    # float32 (3, H, W): unit vectors, x right, y down, z forward, towards the camera; 0, 0, 0 = not known
    normals: NotRequired[torch.Tensor]
    camera: NotRequired[torch.Tensor]  # float32 (3,), of the file: focal length, and x and y of its axis, in pixels
    identity: NotRequired[int]  # whose face it is
    sequence: NotRequired[int]  # of a frame: its video
    frame: NotRequired[int]  # and its number in it, from 0


class Batch(TypedDict):
    """Samples after `collate`; smaller images are padded on the right and below to the largest."""

    image: torch.Tensor  # uint8 (N, 3, H, W), or float32 once the task has normalised it
    path: list[str]
    size: list[tuple[int, int]]
    shape: list[tuple[int, int]]  # (H, W) of each image before padding
    label: NotRequired[torch.Tensor]  # int64 (N,), or float32 (N, C) once two images are mixed
    identity: NotRequired[torch.Tensor]  # int64 (N,)
    mask: NotRequired[torch.Tensor]  # int64 (N, H, W); 255, ignore, where padded
    edges: NotRequired[torch.Tensor]  # float32 (N, H, W); -1, not known, where padded
    depth: NotRequired[torch.Tensor]  # float32 (N, H, W); 0, no measurement, where padded
    normals: NotRequired[torch.Tensor]  # float32 (N, 3, H, W); 0, not known, where padded
    boxes: NotRequired[list[torch.Tensor]]  # N of (K, 4)
    labels: NotRequired[list[torch.Tensor]]  # N of (K,)
    crowd: NotRequired[list[torch.Tensor]]  # N of (K,)
    difficult: NotRequired[list[torch.Tensor]]  # N of (K,)
    image2: NotRequired[torch.Tensor]  # uint8 (N, 3, H', W'), of pairs the crops in which to look for what `image` has
    box2: NotRequired[torch.Tensor]  # float32 (N, 4), xyxy in pixels of `image2`
    sequence: NotRequired[torch.Tensor]  # int64 (N,)
    frame: NotRequired[Any]  # int64 (N,), or a list with None for what is no frame
    truth: NotRequired[list[dict[str, torch.Tensor]]]  # in evaluation: boxes, all of theirs, masks, as in the file
    skipped: NotRequired[list[str]]  # what was wrong with images that could not be read, under data.on_error skip


class Prediction(TypedDict):
    """What a task says about one image file, or one frame of a video, on the CPU."""

    path: str
    size: tuple[int, int]  # (H, W) of the file
    labels: torch.Tensor  # int64 (K,), the classes of `scores`
    # float32 (K,), falling: of boxes, or probabilities of classes. With a mask: the mean probability of a class's
    # pixels, and the classes that are there come by falling number of pixels. With edges: that of the pixels found, 0
    # where there are none, of one class named edge. With depth: none, K is 0. Of targets that are followed, all of them
    # in each frame: in the order in which they were given.
    scores: torch.Tensor
    names: list[str]  # K class names
    boxes: NotRequired[torch.Tensor]  # float32 (K, 4), xyxy
    mask: NotRequired[torch.Tensor]  # uint8 (H, W), class numbers; 255 where nothing is known, as in a truth
    pixels: NotRequired[torch.Tensor]  # int64 (K,), how many are of the class
    probabilities: NotRequired[torch.Tensor]  # float16 (C, H, W), of all classes, where they were asked for
    edges: NotRequired[torch.Tensor]  # float32 (H, W), 0 to 1: how sure it is that there is an edge
    threshold: NotRequired[float]  # of edges: from here on a pixel counts as found
    depth: NotRequired[torch.Tensor]  # float32 (H, W), metres along the camera's axis; 0 = not known
    nearest: NotRequired[float]  # of depth: metres, over the pixels that are known; 0 where none are
    median: NotRequired[float]
    farthest: NotRequired[float]
    known: NotRequired[float]  # of depth: the share of pixels whose distance is known
    # float32 (3, H, W), of unit length and towards the camera: x to the right, y down, z forward; 0 = not known
    normals: NotRequired[torch.Tensor]
    lost: NotRequired[torch.Tensor]  # bool (K,), of targets that are followed: their boxes are guesses
    frame: NotRequired[int]  # of a video: the frame's number, from 0; `path` is the video's
    embedding: NotRequired[torch.Tensor]  # float32 (D,), of unit length: of an image that is a face
    embeddings: NotRequired[torch.Tensor]  # float32 (K, D): of the faces in `boxes`, where nobody is to be named


# How pixels are mixed when an image is resized: linear, of 2 x 2 of them, however many become one (torchvision's
# detectors); bilinear and bicubic, Pillow's, of as many as become one (torchvision's other networks).
Filter = Literal["linear", "bilinear", "bicubic"]


class Preprocessing(TypedDict):
    """What is done to an image before the network sees it; a checkpoint carries it, so training and use can't drift
    apart.

    Entries that need not be there are those of networks that others have trained.
    """

    size: int  # pixels, height and width of the network's input
    # Both sides to `size`; the shorter one to size / 0.875 and the middle cut out; the longer one to `size`; or the
    # shorter one to `size`, but the longer to at most 5/3 of it; or, of tasks whose truth is a pixel wide, as they are.
    resize: Literal["squash", "crop", "fit", "shorter", "keep"]
    grey: bool  # one channel, 0.299 R + 0.587 G + 0.114 B, in place of three
    mean: list[float]  # per channel, of images scaled to 0..1
    std: list[float]
    filter: NotRequired[Filter]  # else the mean of pixels where the image gets smaller, and linear where it grows
    crop_from: NotRequired[int]  # of crop: pixels of the shorter side, in place of size / 0.875
    longest: NotRequired[float]  # of shorter: what the longer side may have, in shares of size, in place of 5/3
