"""The names of weights in the segmenters that torchvision publishes."""

_PARTS = {"classifier.": "head.layers.", "aux_classifier.": "auxiliary.layers."}


def torchvision_keys(key: str) -> str:
    """From torchvision's fcn_resnet50, deeplabv3_resnet50 and their like to ours, with the parts `backbone`, `head` and
    `auxiliary`.
    """
    for theirs, ours in _PARTS.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key  # backbone
