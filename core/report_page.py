"""The page of a report: HTML with everything in it, for any browser, without a script and without a network.

Whatever comes from outside, be it the name of a file or of a class, passes through `text` on its way into the page.
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# Nothing is loaded and nothing runs, even if a name got into the page as markup.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

_STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #ffffff; --ink: #1c2126; --quiet: #58636e; --line: #dde2e7;
  --bar: #2f6ca3; --track: #e9edf1; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14181c; --card: #1e242a; --ink: #e7ebef; --quiet: #a3aeb9;
  --line: #343c45; --bar: #6aa9de; --track: #2a323a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 28px 24px 56px; }
h1 { margin: 0 0 2px; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 36px 0 10px; font-size: 18px; }
p { margin: 0 0 10px; }
a { color: var(--bar); }
.quiet { color: var(--quiet); }
.name { unicode-bidi: isolate; overflow-wrap: anywhere; }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; }
.numbers { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 12px; }
.numbers .panel { padding: 10px 18px 12px; flex: 0 1 auto; }
.numbers dt { color: var(--quiet); font-size: 13px; }
.numbers dd { margin: 0; font-size: 22px; font-weight: 600; line-height: 1.3; }
.numbers .bad { color: var(--bad); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 0; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 18px;
  align-items: start; }
.charts h2 { margin-top: 24px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--quiet); font: 12px system-ui, "DejaVu Sans", sans-serif; }
svg .small { font-size: 10.5px; }
svg .bar, svg.bar rect { fill: var(--bar); }
svg .axis { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; }
.classes { table-layout: fixed; }
.classes td { padding: 3px 0; }
.classes .name { width: 34%; padding-right: 12px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.classes svg { height: 14px; background: var(--track); border-radius: 3px; }
.classes .count { width: 32%; padding-left: 12px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(236px, 100%), 1fr)); gap: 14px; }
figure { margin: 0; padding: 10px; display: flex; flex-direction: column; }
figure .picture { display: flex; align-items: flex-start; justify-content: center; min-height: 120px; flex: 1; }
figure img { max-width: 100%; max-height: 400px; height: auto; border-radius: 4px; }
figcaption { margin-top: 8px; font-size: 13px; line-height: 1.4; }
figcaption .name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.failures { overflow-x: auto; }
.failures th { text-align: left; color: var(--quiet); font-weight: 500; }
.failures th, .failures td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.failures tr:last-child td { border-bottom: 0; }
.failures .name { min-width: 160px; }
.code { white-space: nowrap; font-size: 13px; font-weight: 600; color: var(--bad); }
.reason { min-width: 220px; overflow-wrap: anywhere; }
.remark { margin: 10px 0 0; }
summary { cursor: pointer; color: var(--quiet); }
details .facts { margin-top: 10px; font-size: 13px; }
"""


class Number(NamedTuple):
    """A number at the top of the page; `kind` is `bad` for one that nobody wants, `time` for one that is another in
    each run.
    """

    title: str
    value: str
    kind: str = ""


class Share(NamedTuple):
    """A class in the chart of classes."""

    name: str
    share: float  # of the longest bar
    count: str  # behind the bar


class Card(NamedTuple):
    """A picture of the contact sheet."""

    picture: str | None  # a JPEG in base 64, or None where there is none
    path: str
    name: str  # the path, shortened
    size: str
    result: str


class Failure(NamedTuple):
    """A file that could not be read."""

    path: str
    code: str
    reason: str


def text(value: object) -> str:
    """As text in a page or an attribute: signs that mean something in HTML are escaped, and what no page can hold
    (bytes of a name that are not UTF-8, control characters) is shown as �.
    """
    return html.escape(_UNPRINTABLE.sub("�", str(value)), quote=True)


def head(title: str) -> str:
    """The beginning of a page, up to its first section."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
    )


def overview(title: str, date: str, numbers: Sequence[Number], facts: Mapping[str, str], files: Sequence[str]) -> str:
    """What was done and when, in numbers and words, and links to the `files` beside the page."""
    tiles = "".join(
        f'<div class="panel"><dt>{text(each.title)}</dt><dd class="{each.kind}">{text(each.value)}</dd></div>\n'
        for each in numbers
    )
    links = "".join(f' · <a href="{text(name)}">{text(name)}</a>' for name in files)
    return (
        f'<header>\n<h1>{text(title)}</h1>\n<p class="quiet">foveal predict, <time>{text(date)}</time>{links}</p>\n'
        f'<dl class="numbers">\n{tiles}</dl>\n<div class="panel">{_facts(facts)}</div>\n</header>\n'
    )


def charts(scores: str, classes: str) -> str:
    """The two charts beside one another, where there is room."""
    return f'<div class="charts">\n{scores}{classes}</div>\n'


def score_chart(title: str, bins: Sequence[int], remark: str = "") -> str:
    """A histogram of scores from 0 to 1 in bins of equal width, as SVG."""
    width, height, left, top, bottom = 560, 250, 4, 22, 30
    step, most = (width - 2 * left) / len(bins), max(*bins, 1)
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(title)}">']
    for number, count in enumerate(bins):
        high = (height - top - bottom) * count / most
        x, y = left + number * step, height - bottom - max(high, 1.0 if count else 0.0)
        low, up = number / len(bins), (number + 1) / len(bins)
        parts.append(
            f'<g><title>{low:.2f} to {up:.2f}: {count:,}</title><rect class="bar" x="{x + 1.5:.1f}" y="{y:.1f}" '
            f'width="{step - 3:.1f}" height="{height - bottom - y:.1f}" rx="2"/>'
        )
        place = f'x="{x + step / 2:.1f}" y="{y - 5:.1f}" text-anchor="middle"'
        parts.append(f'<text class="small" {place}>{short_number(count) if count else ""}</text></g>')
    line = height - bottom + 0.5
    parts.append(f'<line class="axis" x1="{left}" x2="{width - left}" y1="{line}" y2="{line}"/>')
    for tick in range(6):
        x, anchor = left + tick / 5 * (width - 2 * left), {0: "start", 5: "end"}.get(tick, "middle")
        parts.append(f'<text x="{x:.1f}" y="{height - 10}" text-anchor="{anchor}">{tick / 5:.1f}</text>')
    return _panel("Scores", title, "".join([*parts, "</svg>"]), remark)


def class_chart(title: str, rows: Sequence[Share], remark: str = "") -> str:
    """A bar a class, as SVG, with its name before and its count behind it."""
    body = "".join(
        f'<tr><td class="name" title="{text(row.name)}">{text(row.name)}</td><td><svg class="bar" viewBox="0 0 100 14" '
        f'preserveAspectRatio="none" aria-hidden="true"><rect width="{100 * row.share:.2f}" height="14"/></svg></td>'
        f'<td class="count">{text(row.count)}</td></tr>\n'
        for row in rows
    )
    return _panel("Classes", title, f'<table class="classes">\n{body}</table>' if rows else "", remark)


def contact_sheet(title: str, cards: Sequence[Card]) -> Iterator[str]:
    """Pictures with their captions."""
    yield f'<section>\n<h2>Pictures</h2>\n<p class="quiet">{text(title)}</p>\n<div class="sheet">\n'
    for card in cards:
        picture = (
            f'<img src="data:image/jpeg;base64,{card.picture}" alt="{text(card.result)}">'
            if card.picture is not None
            else '<span class="quiet">no picture: its file cannot be read again</span>'
        )
        yield (
            f'<figure class="panel"><div class="picture">{picture}</div><figcaption>'
            f'<span class="name" title="{text(card.path)}">{text(card.name)}</span>'
            f'<span class="quiet">{text(card.size)}</span><br><b>{text(card.result)}</b></figcaption></figure>\n'
        )
    yield "</div>\n</section>\n"


def failure_table(title: str, rows: Sequence[Failure], file: str, left: int) -> str:
    """Files that could not be read; `left` are those that `file` alone has."""
    body = "".join(
        f'<tr><td class="name">{text(row.path)}</td><td class="code">{text(row.code)}</td>'
        f'<td class="reason">{text(row.reason)}</td></tr>\n'
        for row in rows
    )
    heads = "<tr><th>file</th><th>code</th><th>reason</th></tr>"
    table = f'<div class="panel failures"><table>\n{heads}\n{body}</table></div>\n' if rows else ""
    more = f'<p class="quiet">and {left:,} more, in <a href="{text(file)}">{text(file)}</a></p>\n' if left else ""
    return _section("Failures", title, table + more)


def options(values: Mapping[str, str]) -> str:
    """What the results depend on, folded away."""
    folded = f'<details class="panel"><summary>show them</summary>{_facts(values)}</details>\n'
    return _section("Options", "all that the results depend on", folded)


def foot() -> str:
    """The end of a page."""
    return "</main>\n</body>\n</html>\n"


def short_number(count: int) -> str:
    """At most five signs: 9999, 12k, 3.4M, 120M."""
    if count < 10_000:
        return str(count)
    for unit, name in ((10**3, "k"), (10**6, "M"), (10**9, "G")):
        if count < 999.5 * unit or name == "G":
            return f"{count / unit:.0f}{name}" if count >= 10 * unit else f"{count / unit:.1f}{name}"
    raise AssertionError


def _facts(values: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>\n" for key, value in values.items())
    return f'<dl class="facts">\n{rows}</dl>'


def _panel(heading: str, title: str, body: str, remark: str) -> str:
    below = f'<p class="quiet remark">{text(remark)}</p>\n' if remark else ""
    return _section(heading, title, f'<div class="panel">{body}{below}</div>\n' if body or below else "")


def _section(heading: str, title: str, body: str) -> str:
    return f'<section>\n<h2>{heading}</h2>\n<p class="quiet">{text(title)}</p>\n{body}</section>\n'
