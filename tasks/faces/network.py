"""The network of a faces recipe: a backbone and an embedding head, each from where the recipe says."""

from ...backbones import Backbone, vary_layers
from ...backbones.deepface import DeepFace
from ...backbones.deepid import DeepID
from ...backbones.inception_resnet_v1 import facenet_embedding
from ...core.errors import UsageError
from ...core.types import Preprocessing
from ..build import backbone_maker, read_weights
from .head import EmbeddingHead, cells_of
from .options import FacesOptions


def build_network(options: FacesOptions, preprocessing: Preprocessing) -> tuple[Backbone, EmbeddingHead]:
    """Both; raises UsageError for a wrong name, number or kind of resizing, and what `build_backbone` raises."""
    if preprocessing["resize"] not in ("squash", "crop"):
        resize = preprocessing["resize"]
        raise UsageError(f"data.resize {resize} leaves images of many shapes; faces take squash or crop.")
    backbone = _build_backbone(options, preprocessing)
    channels = 1 if preprocessing["grey"] else 3
    cells = cells_of(backbone, channels, preprocessing["size"]) if options.head != "average" else (1, 1)
    head = EmbeddingHead(backbone.channels, options.width, kind=options.head, cells=cells, dropout=options.dropout)
    _start_head(head, options)
    return backbone, head


def _build_backbone(options: FacesOptions, preprocessing: Preprocessing) -> Backbone:
    if options.backbone not in ("deepface", "deepid"):
        return backbone_maker(options, preprocessing, weights=options.weights)()
    if options.weights is not None:
        raise UsageError(
            f"model.weights is {options.weights}, but {options.backbone} has none to start from; set null."
        )
    channels = 1 if preprocessing["grey"] else 3
    try:
        if options.backbone == "deepface":
            backbone: Backbone = DeepFace(channels, preprocessing["size"], frozen_stages=options.frozen_stages)
        else:
            backbone = DeepID(channels, options.patches, frozen_stages=options.frozen_stages)
        if options.activation or options.norm or options.pooling:
            vary_layers(backbone, activation=options.activation, norm=options.norm, pooling=options.pooling)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return backbone


def _start_head(head: EmbeddingHead, options: FacesOptions) -> None:
    """Go on with the published embedding of a FaceNet file, where the layers are alike."""
    if options.weights in (None, "imagenet") or options.backbone != "inception_resnet_v1" or options.head != "average":
        return
    published = facenet_embedding(read_weights(options.weights, options.backbone))
    if published is not None and published.linear["weight"].shape == head.linear.weight.shape:
        head.linear.load_state_dict(published.linear)
        head.norm.load_state_dict(published.norm)
