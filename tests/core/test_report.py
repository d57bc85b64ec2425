"""The page about a run: its numbers by hand, its pictures, and that nothing in it is more than text."""

import base64
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from foveal.core.images import ImageError, write_image
from foveal.core.report import Report, chosen_of
from foveal.core.report_page import short_number
from foveal.core.types import Prediction

# All that a page is made of.
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "a", "time"),
    *("dl", "dt", "dd", "div", "svg", "g", "rect", "line", "text", "table", "tr", "th", "td", "figure", "figcaption"),
    *("img", "span", "b", "br", "details", "summary"),
}


class Page(HTMLParser):
    """What a browser would find: the tags with their attributes, and the text without them."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open = ""
        self.source = file.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data} " if self._open != "style" else ""

    def bins(self) -> list[int]:
        counts = re.findall(r"<title>(\d.\d\d) to \d.\d\d: ([\d,]+)</title>", self.source)
        assert [low for low, _ in counts] == [f"{number / 20:.2f}" for number in range(20)]
        return [int(count.replace(",", "")) for _, count in counts]

    def classes(self) -> list[tuple[str, str, str]]:
        """Name, width of the bar and count."""
        row = r'<td class="name" title="[^"]*">(.*?)</td>.*?width="([\d.]+)".*?<td class="count">(.*?)</td>'
        return re.findall(row, self.source)

    def pictures(self) -> list[np.ndarray]:
        data = [base64.b64decode(re.sub("^data:image/jpeg;base64,", "", value)) for value in self.values("img", "src")]
        return [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR_RGB) for each in data]

    def values(self, tag: str, attribute: str) -> list[str]:
        return [
            attributes[attribute] or "" for name, attributes in self.tags if name == tag and attribute in attributes
        ]


def classified(path: str, *scores: float, names=("cat", "dog", "owl")) -> Prediction:
    labels = torch.arange(len(scores))
    return Prediction(
        path=path, size=(10, 20), labels=labels, scores=torch.tensor(scores), names=list(names[: len(scores)])
    )


def of_class(path: str, label: int, score: float = 0.5) -> Prediction:
    return Prediction(
        path=path, size=(10, 20), labels=torch.tensor([label]), scores=torch.tensor([score]), names=[f"class {label}"]
    )


def detected(path: str, boxes=(), labels=(), scores=(), size=(100, 200)) -> Prediction:
    return Prediction(
        path=path,
        size=size,
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
        names=[f"class {label}" for label in labels],
    )


def segmented(path: str, *pixels: int, names=("background", "cell", "nucleus")) -> Prediction:
    """A mask of one row, with so many pixels of each class."""
    mask = torch.repeat_interleave(torch.arange(len(pixels), dtype=torch.uint8), torch.tensor(pixels))[None]
    labels = torch.arange(len(pixels))
    return Prediction(
        path=path,
        size=(1, sum(pixels)),
        labels=labels,
        scores=torch.full((len(pixels),), 0.5),
        names=list(names[: len(pixels)]),
        mask=mask,
        pixels=torch.tensor(pixels),
    )


@pytest.fixture
def report(writing, tmp_path) -> Callable[..., Page]:
    """The page about predictions, and about files that failed."""

    def make(predictions=(), failures=(), draw=lambda image, _: image, model="a model") -> Page:
        files = {str(number): each["path"] for number, each in enumerate(predictions)}
        with writing(tmp_path / "out", files, overwrite=True, report=Report(draw, model)) as writer:
            for number, prediction in enumerate(predictions):
                writer.write(prediction, str(number))
            for failure in failures:
                writer.fail(failure)
        return Page(tmp_path / "out" / "report.html")

    return make


def image(path: Path, shape=(10, 20)) -> str:
    write_image(path, np.full((*shape, 3), (250, 0, 0), np.uint8))
    return str(path)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_of_classes_the_first_of_each_image_is_counted(report):
    scores = [(0.049, 0.04), (0.05, 0.01), (0.1499999, 0.1), (0.15, 0.1), (0.949, 0.01), (0.95, 0.01), (1.0, 0.0)]
    page = report([classified(f"{number}.png", *pair) for number, pair in enumerate(scores)])
    # 0.1499999 is written as 0.15.
    assert page.bins() == [1, 1, 0, 2, *[0] * 14, 1, 2]
    assert page.classes() == [("cat", "100.00", "7 (100.0 %)")]


def test_of_boxes_every_one_is_counted(report):
    first = detected("a.png", [(0, 0, 9, 9)] * 4, [1, 1, 0, 1], [0.9, 0.62, 0.61, 0.3])
    page = report([first, detected("b.png")])
    assert page.bins() == [*[0] * 6, 1, *[0] * 5, 2, *[0] * 5, 1, 0]
    assert page.classes() == [("class 1", "100.00", "3 (75.0 %)"), ("class 0", "33.33", "1 (25.0 %)")]
    assert "4 objects by their score" in page.text and "without any: 1 of 2 images" in page.text
    assert "class 1 0.90, and 3 more" in page.text and "nothing found" in page.text


def test_where_nothing_is_found_there_are_pictures_and_no_charts(report):
    page = report([detected("a.png"), detected("b.png")])
    assert "Scores" not in page.text and "Classes" not in page.text
    assert "all images" in page.text and page.text.count("nothing found") == 2


def test_of_masks_pixels_are_counted_and_the_background_is_no_bar(report):
    page = report([segmented("a.png", 60, 30, 10), segmented("b.png", 90, 10)])
    # Of 200 pixels 150, 40 and 10.
    assert page.classes() == [("cell", "100.00", "20.0 %, in 2"), ("nucleus", "25.00", "5.0 %, in 1")]
    assert "background: 75.0 %, in 2" in page.text
    assert page.bins() == [*[0] * 10, 5, *[0] * 9]
    assert "cell: 30.0 % of pixels" in page.text and "cell: 10.0 % of pixels" in page.text


def test_thirty_classes_are_shown_and_the_others_are_a_sum(report):
    # Of class 0 ten, of classes 1 to 29 two each, of classes 30 to 33 one each.
    labels = [0] * 10 + [*range(1, 30)] * 2 + [30, 31, 32, 33]
    page = report([of_class(f"{number}.png", label) for number, label in enumerate(labels)])
    names = [name for name, _, _ in page.classes()]
    assert names == [f"class {label}" for label in range(30)]
    assert page.classes()[0][1:] == ("100.00", "10 (13.9 %)") and page.classes()[1][1:] == ("20.00", "2 (2.8 %)")
    assert "4 other classes: 4 (5.6 %)" in page.text


def test_scores_that_are_no_numbers_are_said(report):
    page = report([classified("a.png", float("nan")), classified("b.png", 0.5)])
    assert sum(page.bins()) == 1 and "no numbers: 1 of 2 scores" in page.text


def test_the_numbers_at_the_top(report):
    page = report([classified("a.png", 0.5)] * 1234, [ImageError("b.png", "EMPTY_FILE", "is empty")])
    assert re.findall(r'<dt>(.*?)</dt><dd class="(\w*)">(.*?)</dd>', page.source)[:3] == [
        ("images predicted", "", "1,234"),
        ("unreadable", "bad", "1"),
        ("classes found", "", "1"),
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(9999, "9999"), (10_000, "10k"), (999_499, "999k"), (999_500, "1.0M"), (1_260_000, "1.3M"), (12 * 10**10, "120G")],
)
def test_numbers_on_bars_are_short(count, text):
    assert short_number(count) == text


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "most", "chosen"), [(3, 4, {0, 1, 2}), (10, 4, {0, 3, 6, 9}), (5, 4, {0, 1, 2, 4}), (0, 4, set())]
)
def test_pictures_are_chosen_in_even_steps(count, most, chosen):
    assert chosen_of(count, most) == chosen


def test_at_most_48_pictures_are_shown(report, tmp_path):
    page = report([classified(image(tmp_path / f"{number:03d}.png"), 0.5) for number in range(95)])
    assert [Path(path).stem for path in page.values("span", "title")] == [f"{number:03d}" for number in range(0, 95, 2)]
    assert len(page.pictures()) == 48
    assert "48 of 95 images, in even steps" in page.text


def test_a_picture_is_small_and_boxes_are_where_they_were(report, tmp_path):
    seen: list[tuple] = []

    def draw(picture, prediction):
        seen.append((picture.shape, prediction["boxes"].tolist(), prediction["size"]))
        return picture

    path = image(tmp_path / "a.png", (640, 1280))
    page = report([detected(path, [(100, 200, 400, 600)], [0], [0.5], size=(640, 1280))], draw=draw)
    assert seen == [((160, 320, 3), [[25, 50, 100, 150]], (640, 1280))]
    (picture,) = page.pictures()
    assert picture.shape == (160, 320, 3) and np.abs(picture.mean(axis=(0, 1)) - (250, 0, 0)).max() < 3
    assert "1,280 × 640" in page.text


def test_what_is_drawn_below_makes_a_picture_no_longer_than_480(report, tmp_path):
    path = image(tmp_path / "a.png")
    page = report([classified(path, 0.5)], draw=lambda picture, _: np.zeros((2000, 1000, 3), np.uint8))
    assert page.pictures()[0].shape == (480, 240, 3)


def test_a_mask_comes_back_from_its_file(report, tmp_path):
    seen = []
    prediction = segmented(image(tmp_path / "a.png", (1, 100)), 60, 30, 10)
    report([prediction], draw=lambda picture, found: (seen.append(found), picture)[1])
    (found,) = seen
    assert found["mask"].dtype == torch.uint8 and torch.equal(found["mask"], prediction["mask"])
    assert found["labels"].tolist() == [0, 1, 2] and found["pixels"].tolist() == [60, 30, 10]
    assert found["names"] == prediction["names"] and torch.equal(found["scores"], prediction["scores"])


def test_a_file_gone_since_has_a_caption_and_no_picture(report, tmp_path):
    page = report([classified(image(tmp_path / "a.png"), 0.5), classified("/nowhere/b.png", 0.875)])
    assert len(page.pictures()) == 1
    assert "no picture: its file cannot be read again" in page.text and "cat 87.5 %" in page.text


# --- nothing more than text -------------------------------------------------------------------------------------------


def test_names_are_text_whatever_is_in_them(report, tmp_path):
    evil = """</td></style><script>alert("1")</script>'"><img src=http://evil.example onerror=alert(2)>&amp;"""
    prediction = classified(evil, 0.5, names=[evil])
    page = report([prediction], [ImageError(evil, "EMPTY_FILE", "is empty")], model=evil)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    # As the model, in the chart of classes, in the caption twice, and as the file that failed.
    assert page.text.count(evil) == 5


def test_the_page_loads_nothing_and_links_to_what_lies_beside_it(report, tmp_path):
    page = report([classified(image(tmp_path / "a.png"), 0.5)], [ImageError("b.png", "EMPTY_FILE", "is empty")])
    assert set(page.values("a", "href")) == {"predictions.jsonl", "predictions.csv", "failures.jsonl", "summary.json"}
    assert all((tmp_path / "out" / name).exists() for name in page.values("a", "href"))
    loaded = [value for tag, each in page.tags for name, value in each.items() if name in ("src", "srcset", "data")]
    assert all(value.startswith("data:image/jpeg;base64,") for value in loaded) and len(loaded) == 1
    assert "url(" not in page.source and "@import" not in page.source and "://" not in page.source
    assert "default-src 'none'" in page.values("meta", "content")[0]


def test_a_name_in_any_bytes_does_not_break_the_page(report, tmp_path):
    page = report([classified(name, 0.5, names=["a\x00\x1b[31m"]) for name in (os.fsdecode(b"caf\xe9.png"), "🐈.png")])
    assert all(name in page.text for name in ("caf�.png", "🐈.png", "a��[31m"))


def test_two_hundred_failures_are_shown_and_all_are_counted(report):
    failures = [ImageError(f"{number}.png", "EMPTY_FILE", "is empty") for number in range(250)]
    page = report([classified("a.png", 0.5)], failures)
    assert page.source.count('<td class="code">EMPTY_FILE</td>') == 200
    assert "250 EMPTY_FILE" in page.text and "and 50 more, in  failures.jsonl" in page.text
    assert '199.png</td><td class="code">EMPTY_FILE</td><td class="reason">is empty.</td>' in page.source


def test_a_run_without_any_failure_or_any_result_has_a_page(report):
    assert "none: every file could be read" in report([classified("a.png", 0.5)]).text
    page = report([], [ImageError("b.png", "EMPTY_FILE", "is empty")])
    assert "1 EMPTY_FILE" in page.text and "Scores" not in page.text and "Pictures" not in page.text
