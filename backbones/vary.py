"""Other activations, normalisations and pools in a network that exists, to compare them on one architecture."""

from collections.abc import Callable, Collection
from difflib import get_close_matches

from torch import nn

from .layers import ACTIVATIONS, NORMS, POOLINGS

# A sigmoid stays: in the networks here it is a gate (squeeze-and-excitation), which must lie between 0 and 1.
_ACTIVATIONS = tuple(kind for kind in ACTIVATIONS.values() if kind is not nn.Sigmoid)


def vary_layers(
    network: nn.Module, *, activation: str | None = None, norm: str | None = None, pooling: str | None = None
) -> None:
    """Replace in place every activation, every batch norm, or every max pool of a network by another of its kind.

    `activation`: a key of `ACTIVATIONS`, `norm` of `NORMS`, `pooling` of `POOLINGS`; None leaves them as they are. The
    new norm has the old one's channels, the new pool its kernel, stride, padding and rounding. All start fresh, on the
    device and in the type of the network's parameters, so load weights afterwards. One module in two places, or
    called several times (torchvision's residual blocks have one ReLU for all), becomes one module again: a PReLU there
    shares its slope. Sigmoids stay, because they are gates; functions such as `F.relu`, called in a forward method,
    can't be seen. Without a norm ("none"), convolutions that left their shift to it have none.

    Raises `ValueError`, before anything is changed, for an unknown name, when there is nothing to replace, and for a
    max pool that is dilated or returns its indices, which the others can't do.
    """
    swaps: list[tuple[dict[str, nn.Module], Callable[[nn.Module], nn.Module]]] = []
    if activation is not None:
        _check("activation", activation, ACTIVATIONS)
        swaps.append((_find(network, _ACTIVATIONS, "activation"), lambda _: ACTIVATIONS[activation]()))
    if norm is not None:
        _check("norm", norm, NORMS)
        swaps.append((_find(network, (nn.BatchNorm2d,), "batch norm"), _norm_like(norm)))
    if pooling is not None:
        _check("pooling", pooling, POOLINGS)
        swaps.append((_find(network, (nn.MaxPool2d,), "max pool"), _pool_like(pooling)))
        for pool in swaps[-1][0].values():
            _refuse_special(pool)
    for found, build in swaps:
        _replace(network, found, build)


def _check(kind: str, name: str, choices: Collection[str]) -> None:
    if name in choices:
        return
    near = get_close_matches(name, choices, n=3, cutoff=0.5)
    offer = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(choices)}"
    raise ValueError(f"There is no {kind} '{name}'; {offer}.")


def _find(network: nn.Module, kinds: tuple[type[nn.Module], ...], called: str) -> dict[str, nn.Module]:
    """By path; a module that stands in two places has two."""
    modules = network.named_modules(remove_duplicate=False)
    found = {path: module for path, module in modules if path and isinstance(module, kinds)}
    if not found:
        raise ValueError(f"This network has no {called} to replace.")
    return found


def _norm_like(name: str) -> Callable[[nn.Module], nn.Module]:
    def build(old: nn.Module) -> nn.Module:
        assert isinstance(old, nn.BatchNorm2d)
        new = NORMS[name](old.num_features)
        # timm's batch norms hold the activation that follows them.
        return nn.Sequential(new, *old.children()) if list(old.children()) else new

    return build


def _pool_like(name: str) -> Callable[[nn.Module], nn.Module]:
    def build(old: nn.Module) -> nn.Module:
        assert isinstance(old, nn.MaxPool2d)
        return POOLINGS[name](old.kernel_size, old.stride, old.padding, ceil_mode=old.ceil_mode)

    return build


def _refuse_special(pool: nn.Module) -> None:
    assert isinstance(pool, nn.MaxPool2d)
    if pool.dilation not in (1, (1, 1)):
        raise ValueError("This network has a dilated max pool, which no other pool can replace: take output_stride 32.")
    if pool.return_indices:
        raise ValueError("This network has a max pool that returns its indices, which no other pool has.")


def _replace(network: nn.Module, found: dict[str, nn.Module], build: Callable[[nn.Module], nn.Module]) -> None:
    like = next(network.parameters(), None)
    fresh: dict[nn.Module, nn.Module] = {}
    for path, old in found.items():
        if old not in fresh:
            fresh[old] = build(old).train(old.training)
            if like is not None:
                fresh[old].to(like.device, like.dtype)
        network.set_submodule(path, fresh[old])
