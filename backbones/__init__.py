"""Networks from images to lists of feature maps, for use without the rest of foveal.

`create_backbone("resnet50", weights="imagenet")` is the whole interface; `catalogue.py` says what there is. The
names here are imported on first use (PEP 562), so that listing and checking names costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backbone import Backbone, FeatureInfo, Network
    from .catalogue import UnknownBackboneError, list_backbones
    from .create import create_backbone
    from .measure import cell_centres, count_multiply_adds, count_parameters, receptive_field
    from .probe import smallest_image
    from .pyramid import FeaturePyramid
    from .vary import vary_layers
    from .weights import WeightsError

__all__ = [
    "Backbone",
    "FeatureInfo",
    "FeaturePyramid",
    "Network",
    "UnknownBackboneError",
    "WeightsError",
    "cell_centres",
    "count_multiply_adds",
    "count_parameters",
    "create_backbone",
    "list_backbones",
    "receptive_field",
    "smallest_image",
    "vary_layers",
]

_HOMES = {
    "Backbone": ".backbone",
    "FeatureInfo": ".backbone",
    "FeaturePyramid": ".pyramid",
    "Network": ".backbone",
    "UnknownBackboneError": ".catalogue",
    "WeightsError": ".weights",
    "cell_centres": ".measure",
    "count_multiply_adds": ".measure",
    "count_parameters": ".measure",
    "create_backbone": ".create",
    "list_backbones": ".catalogue",
    "receptive_field": ".measure",
    "smallest_image": ".probe",
    "vary_layers": ".vary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
