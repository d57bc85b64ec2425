"""Video files, each with a text file of the same name beside it: `clip.mp4` and `clip.txt`, one box a frame.

Boxes are x, y, width and height in pixels from 0, as in `frame_folder`. A frame's path is that of its video with its
number from 0 behind it: "clip.mp4#000012".
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2

from ..core.errors import MachineError
from ..core.images import ImageError
from ..core.inputs import VIDEO_SUFFIXES
from ..core.videos import checked_path, frame_times, read_frame, read_header
from .box_files import Change, is_blank, read_lines
from .findings import Finding, Findings
from .frames import Frames, Layout, Track, below, box_line, join, mend_tracks, open_tracks, require_tracks, walk_folders

_EXPECTED = f"videos ({' '.join(sorted(VIDEO_SUFFIXES))}) with a .txt of the same name beside each"
_FPS = 25.0  # of videos that are written; boxes go by frames, not by time


def open_split(
    root: str | os.PathLike, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> Frames:
    """One split of a folder of videos, at any depth; see `open_tracks`.

    Videos whose path is not UTF-8 are refused: OpenCV ends the process on one. A sample raises ImageError where a video
    ends before the frame, whatever its header says of their number.
    """
    return open_tracks(root, _LAYOUT, split=split, fractions=fractions, seed=seed, findings=findings)


def write_split(samples: Iterable[dict[str, Any]], root: Path, *, split: str, class_names: Sequence[str]) -> None:
    """Writes each sequence as a motion JPEG video, which every machine can read, with its boxes, into `root/split`."""
    (root / split).mkdir(parents=True, exist_ok=True)
    for number, run in groupby(samples, key=itemgetter("sequence")):
        target, lines, writer = root / split / f"{class_names[int(number)]}.avi", [], None
        for sample in run:
            if writer is None:
                height, width = sample["image"].shape[:2]
                codec = cv2.VideoWriter.fourcc(*"MJPG")
                writer = cv2.VideoWriter(checked_path(target), cv2.CAP_FFMPEG, codec, _FPS, (width, height))
            writer.write(cv2.cvtColor(sample["image"], cv2.COLOR_RGB2BGR))
            lines.append(box_line(sample, 0.0))
        if writer is not None:
            writer.release()
        if not target.is_file():
            raise MachineError(f"'{target}' cannot be written: OpenCV made no file.")
        target.with_suffix(".txt").write_text("".join(lines))


def mend(root: Path, out: Path, findings: Sequence[Finding], dropped: Mapping[str, str]) -> list[Change]:
    """A copy of the files of boxes without their faults; see `mend_tracks`."""
    return mend_tracks(root, out, findings, dropped, _LAYOUT)


class VideoFrames(Frames):
    """Frames of video files. Neither this nor a copy in another process holds an open file."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The frame with its truth; raises ImageError where the video ends before it or cannot be decoded."""
        path = self.path(index)
        file, _, number = path.rpartition("#")
        image = read_frame(file, int(number))
        return {"image": image, "path": path, "size": image.shape[:2], **self.truth(index)}

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of a frame, from the head of its video."""
        return read_header(self.path(index).rpartition("#")[0]).size


def _find(root: Path, inside: str, findings: Findings) -> list[Track]:
    tracks = []
    for folder in walk_folders(root, inside, findings):
        videos = [name for name in folder.files if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES]
        stems = [os.path.splitext(name)[0] for name in videos]
        for name, stem in zip(videos, stems, strict=True):
            video, boxes = join(folder.path, name), join(folder.path, f"{stem}.txt")
            if f"{stem}.txt" not in folder.files:
                findings.note("NO_BOXES", video, f"there is no {stem}.txt beside it")
            elif is_blank(root / boxes):
                findings.note("NO_BOXES", boxes, "the file is empty")
            elif (made := _track(root, video, boxes, findings)) is not None:
                # Two videos of one stem keep their suffixes, so that names differ.
                called = below(join(folder.path, stem if stems.count(stem) == 1 else name), inside)
                tracks.append(made._replace(name=called, group=called))
    return require_tracks(tracks, root / inside, _EXPECTED)


def _track(root: Path, video: str, boxes: str, findings: Findings) -> Track | None:
    try:
        path = checked_path(root / video)
        count, size, _ = read_header(path)
        lines = len(read_lines(root / boxes))
        if count != lines:  # headers count by duration, which is wrong where frames last for unlike times
            count = len(frame_times(path)) or lines
    except ImageError as error:
        refused = error.code == "UNSUPPORTED"
        findings.note("NOT_A_VIDEO", video, error.reason, action="refused" if refused else "left out")
        return None
    return Track("", "", boxes, [f"{video}#{number:06d}" for number in range(count)], size=size)


_LAYOUT = Layout(_find, origin=0.0, kind=VideoFrames)
