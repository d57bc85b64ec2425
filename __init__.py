"""foveal: vision tasks on shared CNN backbones.

`load` rebuilds a trained task from its checkpoint, `create_backbone` and `list_backbones` are for code of your own.
They are imported on first use (PEP 562), so that `import foveal` and the command line's help cost no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backbones import create_backbone, list_backbones
    from .tasks import load

__version__ = "0.1.0"
__all__ = ["__version__", "create_backbone", "list_backbones", "load"]

_HOMES = {"create_backbone": ".backbones", "list_backbones": ".backbones", "load": ".tasks"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'foveal' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
