"""Pictures for people: captions under images, the curves of a run, a confusion matrix."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

_LARGEST = 2000  # pixels on the longer side of a drawn picture
BLUE, GREY, INK, PAPER = (47, 108, 163), (225, 229, 233), (28, 33, 38), (255, 255, 255)


def draw_caption(image: np.ndarray, names: Sequence[str], shares: Sequence[float]) -> np.ndarray:
    """`image` uint8 RGB (H, W, 3) with a line and a bar below it for each name and its share of 1; uint8 (H', W', 3).

    The image is made a size to look at, see `sized_to_see`.
    """
    image = sized_to_see(image)
    line = max(22, round(max(image.shape[:2]) / 24))
    width = max(image.shape[1], 10 * line)
    picture = Image.new("RGB", (width, image.shape[0] + line * len(names) + line // 2), PAPER)
    picture.paste(Image.fromarray(image), ((width - image.shape[1]) // 2, 0))
    canvas = ImageDraw.Draw(picture)
    font = load_font(round(line * 0.62))
    for row, (name, share) in enumerate(zip(names, shares, strict=True)):
        top = image.shape[0] + line // 4 + row * line
        right = width - line // 4
        canvas.rectangle((right - 3 * line, top + line // 5, right, top + 4 * line // 5), fill=GREY)
        canvas.rectangle(
            (right - 3 * line, top + line // 5, right - round(3 * line * (1 - share)), top + 4 * line // 5), BLUE
        )
        middle = top + line / 2
        canvas.text((right - 3.2 * line, middle), f"{100 * share:.1f} %", INK, font, anchor="rm")
        room = right - 5.6 * line - line // 4
        canvas.text((line // 4, middle), shorten(name, font, room), INK, font, anchor="lm")
    return np.asarray(picture)


def sized_to_see(image: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3) at a size for people.

    A small one is enlarged by a whole number, so that its pixels stay squares and words on it are readable; one of more
    than 2,000 pixels is made smaller.
    """
    shrink = _LARGEST / max(image.shape[:2])
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    factor = max(1, -(-240 // max(image.shape[:2])))
    return np.kron(image, np.ones((factor, factor, 1), np.uint8)) if factor > 1 else image


def draw_sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], side: int = 240) -> np.ndarray:
    """Pictures uint8 RGB (H, W, 3) of any sizes in a table under `titles`, each made `side` pixels wide, or twice as
    high where it would be higher still; uint8 (H', W', 3).
    """
    gap, head = 12, 40
    heights = [max(_fitted(picture, side).shape[0] for picture in row) for row in rows]
    width = gap + (side + gap) * len(titles)
    sheet = Image.new("RGB", (width, head + sum(heights) + gap * len(rows)), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        left = gap + column * (side + gap)
        canvas.text((left + side / 2, head / 2), title, INK, load_font(17), anchor="mm")
    top = head
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            left = gap + column * (side + gap)
            fitted = Image.fromarray(_fitted(picture, side))
            sheet.paste(fitted, (left + (side - fitted.width) // 2, top))
        top += height + gap
    return np.asarray(sheet)


def _fitted(picture: np.ndarray, side: int) -> np.ndarray:
    share = min(side / picture.shape[1], 2 * side / picture.shape[0])
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC)


def plot_curves(rows: Sequence[Mapping[str, float]], path: str | Path) -> None:
    """The table of a run, one row an epoch, as curves: what train and val share lies in one panel."""
    from matplotlib.figure import Figure

    names = dict.fromkeys(key for row in rows for key in row if key not in ("epoch", "step", "seconds"))
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(name.split("/")[-1], []).append(name)
    columns = min(3, len(panels)) or 1
    figure = Figure(figsize=(4.2 * columns, 3.0 * -(-len(panels) // columns)), layout="constrained")
    for index, (title, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(-(-len(panels) // columns), columns, index + 1)
        for curve in curves:
            points = [(row["epoch"], row[curve]) for row in rows if curve in row]
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, label=curve.split("/")[0])
        axes.set_title((title if len(curves) > 1 else curves[0]).replace("/", " ").replace("_", " "), fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        if len(curves) > 1:
            axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)


_CURVES = 10  # that the colours tell apart


def plot_precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray, float | None]], path: str | Path) -> None:
    """Precision by recall of each class: `curves` has recall and precision, shares of 1, and the average precision.

    Of more than ten classes those of the lowest average precision are named, and all others lie behind them in grey.
    """
    from matplotlib.figure import Figure

    there = {name: curve for name, curve in curves.items() if curve[2] is not None}
    order = sorted(there, key=lambda name: there[name][2] or 0.0)
    named = set(order[:_CURVES])
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for name in order[::-1]:
        recall, precision, average = there[name]
        first = precision[0] if len(precision) else 0.0
        points = (np.append(0.0, recall), np.append(first, precision))
        if name in named:
            label = " ".join(name.split()).replace("$", r"\$")  # $ begins mathematics in matplotlib
            axes.plot(*points, linewidth=1.6, label=f"{label}  {average:.2f}", zorder=3)
        else:
            axes.plot(*points, linewidth=0.8, color="0.8", zorder=2)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    if named:
        classes = "class" if len(order) <= _CURVES else f"{_CURVES} lowest of {len(order)} classes"
        figure.legend(
            loc="outside right upper", fontsize=8, frameon=False, title=f"{classes}, AP at IoU 0.5", title_fontsize=8
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # as in plot_confusion
        figure.savefig(path, dpi=130, bbox_inches="tight")


def plot_confusion(matrix: torch.Tensor, names: Sequence[str], path: str | Path) -> None:
    """`matrix` int64 (C, C), rows the truth, columns what was predicted; coloured by share of the row, counts where
    there is room.
    """
    from matplotlib.figure import Figure

    names = [" ".join(name.split()).replace("$", r"\$") for name in names]  # $ begins mathematics in matplotlib
    counts = matrix.double()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    side = min(16.0, 3.0 + 0.35 * len(names))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, fraction=0.046, label="share of the true class")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= 60:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
    if len(names) <= 30:
        for row, column in np.argwhere(matrix.numpy() > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(matrix[row, column])), ha="center", va="center", fontsize=7, color=colour)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a script that DejaVu Sans has no letters for is drawn as boxes
        figure.savefig(path, dpi=130, bbox_inches="tight")


def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Letters `size` pixels high."""
    # DejaVu Sans comes with matplotlib, and has the letters of most alphabets; Pillow's own font stops at ASCII.
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """`text` in one line, cut so that it takes no more than `room` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
