"""The trackers' heads by the names that a recipe uses."""

from typing import Any

from .cfnet import CFNetHead
from .goturn import GoturnHead
from .siamfc import SiamFCHead
from .siamrpn import SiamRPNHead

# Each takes (channels, stride=, margin=, exemplar_size=, search_size=).
HEADS: dict[str, type[Any]] = {head.name: head for head in (SiamFCHead, CFNetHead, GoturnHead, SiamRPNHead)}
