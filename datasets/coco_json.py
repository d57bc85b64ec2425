"""COCO's JSON as a file: read whole, with a sentence that says where it is damaged."""

import json
import os
import re
from pathlib import Path
from typing import Any

from ..core.errors import DataError

SECTIONS = ("images", "annotations", "categories")
_SHOWN = 60  # characters of a value in a sentence


def parse(file: Path) -> tuple[dict[str, Any], int]:
    """A COCO file as Python reads it, with its three sections, and the first line with a NaN or Infinity, or 0."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"'{file}' is not UTF-8 text (byte {error.start:,}): save it as JSON in UTF-8.") from None
    if not text.strip():
        raise DataError(f"'{file}' is empty: expected COCO's JSON; copy it again.")
    words: list[str] = []
    try:
        document = json.loads(text, parse_constant=lambda word: words.append(word) or float(word))
    except json.JSONDecodeError as error:
        raise _not_json(file, text, error) from None
    except (RecursionError, ValueError) as error:
        what = (
            "lists within lists too deep to read"
            if isinstance(error, RecursionError)
            else "a number of too many digits"
        )
        raise DataError(f"'{file}' holds {what}: expected COCO's JSON.") from None
    _require_sections(file, document)
    match = re.search(r"[\[:,]\s*(-?Infinity|NaN)\s*[,\]}]", text) if words else None
    return document, text.count("\n", 0, match.start(1)) + 1 if match else 0


def read_categories(file: Path) -> list[Any]:
    """The section of categories, found without parsing the rest where that is sure."""
    try:
        data = file.read_bytes()
        found = [match.end() - 1 for match in re.finditer(rb'"categories"\s*:\s*\[', data)]
        if len(found) == 1:
            return json.JSONDecoder().raw_decode(data[found[0] : found[0] + 2**20].decode(errors="ignore"))[0]
    except (OSError, ValueError, RecursionError):
        pass
    return parse(file)[0]["categories"]


def key_of(value: Any) -> int | str | None:
    """What an id is compared by: 17 for 17, 17.0 and "17"; None for what is no id."""
    if type(value) is str:
        return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else value or None
    if type(value) is float:
        return int(value) if value.is_integer() else None
    return value if type(value) is int else None


def shown(value: Any) -> str:
    """A value out of a JSON file, shortened for a sentence."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 4] + " ..."


def _not_json(file: Path, text: str, error: json.JSONDecodeError) -> DataError:
    byte = len(text[: error.pos].encode(errors="surrogatepass"))
    if error.msg.startswith("Unterminated string") or not text[error.pos :].strip():
        return DataError(
            f"'{file}' ends in the middle of line {text.count(chr(10)) + 1}, after {os.path.getsize(file):,} bytes: "
            "copy it again."
        )
    return DataError(
        f"'{file}' is not JSON: {error.msg} at line {error.lineno}, byte {byte:,} of the file; correct it."
    )


def _require_sections(file: Path, document: Any) -> None:
    if type(document) is not dict:
        what = "a list, as files of results are" if type(document) is list else f"only {shown(document)}"
        raise DataError(f"'{file}' is {what}: expected an object with images, annotations and categories.")
    for section in SECTIONS:
        if section not in document:
            held = ", ".join(list(document)[:8]) or "nothing"
            raise DataError(f"'{file}' has no section '{section}', only {held}: it is not COCO's file of objects.")
        if type(document[section]) is not list:
            raise DataError(f"'{file}': the section '{section}' is {shown(document[section])}: expected a list.")
