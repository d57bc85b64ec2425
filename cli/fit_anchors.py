"""`foveal fit-anchors RECIPE`: anchors that fit the boxes of a recipe's training images, as lines for the recipe."""

from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, FovealError, UsageError
from .main import CommandParser
from .recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    import numpy as np

    from ..tasks.detection.anchors import Anchors
    from ..tasks.detection.fit_anchors import Fit

_EPILOG = """Every entry of a recipe is an option, as for `foveal train`: --data.root DIR, --data.size N ...
No image is decoded. Boxes are scaled as data.resize scales their images, and compared with the anchors that lie nearest
to their middle."""
_AS_GOOD = 0.01  # of both qualities: what is not worth an entry in a recipe


def run(arguments: list[str]) -> int:
    """Print the lines; 0 at the end."""
    from .train import require_root, split_overrides

    arguments, overrides = split_overrides(arguments)
    parser = CommandParser("foveal fit-anchors", __doc__, epilog=_EPILOG)
    parser.add_argument("recipe", metavar="RECIPE", help="a name from `foveal list recipes`, or a YAML file")
    given = parser.parse_args(arguments)
    require_root(dict(overrides).get("data.root"))
    recipe = parse_recipe(given.recipe, overrides)
    if recipe.task != "detection":
        raise UsageError(f"Anchors are for detection, and the recipe {given.recipe} is for {recipe.task}.")
    _print(*_fit(recipe))
    return 0


def _fit(recipe: Recipe) -> tuple[Recipe, "Fit", list[str], "np.ndarray", "np.ndarray"]:
    from ..tasks.detection.anchors import default_anchors
    from ..tasks.detection.fit_anchors import fit_anchors
    from .train import open_split

    default = default_anchors(recipe.model, recipe.data.size)
    dataset = open_split(recipe, "train")
    boxes, labels = _read(dataset, recipe)
    fit = fit_anchors(boxes, default, pairs=recipe.model.head.startswith("ssd"), seed=recipe.seed)
    return recipe, fit, dataset.class_names, boxes, labels


def _read(dataset: Any, recipe: Recipe) -> "tuple[np.ndarray, np.ndarray]":
    """Boxes (M, 4), in pixels of the network's input, and classes (M,) of all objects that a training learns."""
    import numpy as np

    from ..core.bars import progress
    from ..tasks.detection.fit_anchors import boxes_at_input

    alike = None if hasattr(dataset, "size") else dataset[0]["size"]
    boxes, labels = [np.zeros((0, 4))], [np.zeros(0, np.int64)]
    for index in progress(range(len(dataset)), "reading boxes"):
        truth = dataset.truth(index)
        if not len(truth["boxes"]):
            continue
        try:
            size = alike or dataset.size(index)
        except FovealError as error:
            if recipe.data.on_error == "skip" and isinstance(error, DataError):
                continue
            raise
        own = boxes_at_input(truth["boxes"], size, recipe.data)
        wanted = (own[:, 2:] > own[:, :2]).all(axis=1)
        for flag in ("crowd", "difficult"):
            wanted &= ~truth.get(flag, np.zeros(len(own), bool))
        boxes.append(own[wanted])
        labels.append(truth["labels"][wanted])
    return np.concatenate(boxes), np.concatenate(labels)


def _print(recipe: Recipe, fit: "Fit", class_names: list[str], boxes: "np.ndarray", labels: "np.ndarray") -> None:
    size, resize = recipe.data.size, recipe.data.resize
    print(f"{len(boxes):,} boxes of {len(class_names)} classes at the network's input (data.size {size}, {resize})\n")
    print(f"{'anchors':<10}{'mean best IoU':>15}{'boxes with IoU from 0.5':>26}")
    for name, quality in (("default", fit.default), ("fitted", fit.fitted)):
        print(f"{name:<10}{quality.mean_iou:>15.3f}{100 * quality.share:>24.1f} %")
    print(f"\n{_too_small(fit.anchors, class_names, boxes, labels)}")
    if sum(fit.fitted) < sum(fit.default) + _AS_GOOD:
        print(f"The default anchors of {recipe.model.head} are as good: model.anchors can be left out.")
    sizes, ratios = fit.anchors.sizes, fit.anchors.ratios
    print(f"\nin the recipe:\nmodel: {{anchors: {{sizes: {sizes}, ratios: {ratios}}}}}")
    print(f"\nor as options:\n--model.anchors.sizes '{sizes}' --model.anchors.ratios '{ratios}'")


def _too_small(anchors: "Anchors", class_names: list[str], boxes: "np.ndarray", labels: "np.ndarray") -> str:
    """How many boxes of each class are smaller than a cell of the finest map."""
    stride = anchors.strides[0]
    small = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) < stride**2
    if not small.any():
        return f"No box is smaller than a cell of the finest map ({stride} x {stride} pixels)."
    counts = [
        f"{name} {int(small[labels == label].sum()):,} of {int((labels == label).sum()):,}"
        for label, name in enumerate(class_names)
        if small[labels == label].any()
    ]
    remedy = "a larger data.size or a head with a finer map may find them"
    return f"Smaller than a cell of the finest map ({stride} x {stride} pixels): {', '.join(counts)}; {remedy}."
