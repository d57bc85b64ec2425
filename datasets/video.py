"""Video files, each with a text file of the same name beside it: `clip.mp4` and `clip.txt`, one box a frame.

Boxes are x, y, width and height in pixels from 0, as in `frame_folder`. A frame's path is that of its video with its
number from 0 behind it: "clip.mp4#000012".
"""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.errors import MachineError
from ..core.images import ImageError
from .box_files import Change, is_blank, read_lines
from .findings import Finding, Findings
from .frames import Frames, Layout, Track, below, box_line, join, mend_tracks, open_tracks, require_tracks, walk_folders

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"))

_EXPECTED = f"videos ({' '.join(sorted(VIDEO_SUFFIXES))}) with a .txt of the same name beside each"
_NEAR = 16  # frames ahead that are sooner decoded than sought
_FPS = 25.0  # of videos that are written; boxes go by frames, not by time

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: the errors below say what is wrong with a video


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
                writer = cv2.VideoWriter(_checked(target), cv2.CAP_FFMPEG, codec, _FPS, (width, height))
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
        image = _reader.read(file, int(number))
        return {"image": image, "path": path, "size": image.shape[:2], **self.truth(index)}

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of a frame, from the head of its video."""
        return _header(self.path(index).rpartition("#")[0])[1]


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
        path = _checked(root / video)
        count, size = _header(path)
        lines = len(read_lines(root / boxes))
        if count != lines:  # headers count by duration, which is wrong where frames last for unlike times
            count = len(_times(path)) or lines
    except ImageError as error:
        refused = error.code == "UNSUPPORTED"
        findings.note("NOT_A_VIDEO", video, error.reason, action="refused" if refused else "left out")
        return None
    return Track("", "", boxes, [f"{video}#{number:06d}" for number in range(count)], size=size)


# --- decoding ---------------------------------------------------------------------------------------------------------


class _Reader:
    """The one open video of this process. Frames in a row are decoded in a row; a jump is checked by its time.

    Seeking goes by time, as if all frames lasted equally long: in a video of a phone, frame 50 may well not be where
    it is looked for. So the times of all frames are read first (packets, without decoding: a thousand in some
    milliseconds), and a frame that was sought must have the one that is its own; else the video is decoded from its
    beginning.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._file = ""
        self._capture: cv2.VideoCapture | None = None
        self._next = 0  # number of the frame that the next read gives
        self._known: dict[str, np.ndarray] = {}

    def read(self, file: str, number: int) -> np.ndarray:
        """Frame `number` of a video, uint8 (H, W, 3), RGB; raises ImageError."""
        with self.lock:
            capture = self._capture if self._capture is not None and file == self._file else self._open(file)
            frame = None
            if not 0 <= number - self._next <= _NEAR:
                frame = self._sought(capture, number)
                capture = capture if frame is not None else self._open(file)
            if frame is None:
                frame = self._decoded(capture, number)
            return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Let go of the video: its file, and the decoder's threads, must not be taken into a forked process."""
        self._capture, self._file, self._next = None, "", 0

    def _open(self, file: str) -> cv2.VideoCapture:
        self.close()
        self._capture, self._file = _opened(file), file
        return self._capture

    def _sought(self, capture: cv2.VideoCapture, number: int) -> np.ndarray | None:
        """The frame, or None where seeking does not lead to it."""
        file = self._file
        if file not in self._known:
            self._known[file] = _times(file)
        times = self._known[file]
        if number < len(times) and (np.diff(times) > 0).all():
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            good, frame = capture.read()
            if good and capture.get(cv2.CAP_PROP_PTS) == times[number]:
                self._next = number + 1
                return frame
        return None

    def _decoded(self, capture: cv2.VideoCapture, number: int) -> np.ndarray:
        """The frame, after those before it."""
        while self._next < number and capture.grab():
            self._next += 1
        good, frame = capture.read() if self._next == number else (False, None)
        if not good or frame is None:
            file, ended = self._file, self._next
            self.close()
            reason = f"cannot be read: of its video only {ended} frames can; copy it again, or cut its file of boxes"
            raise ImageError(f"{file}#{number:06d}", "TRUNCATED", reason)
        self._next += 1
        return frame


def _before_fork() -> None:
    _reader.lock.acquire()
    _reader.close()


_reader = _Reader()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_reader.lock.release, after_in_child=_reader.lock.release)


def _checked(path: str | Path) -> str:
    """A path that OpenCV can take; raises ImageError for one that would end the process."""
    name = os.fspath(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ImageError(
            name, "UNSUPPORTED", "has a name that is not UTF-8, on which OpenCV fails: rename it"
        ) from None
    return name


def _opened(file: str, packets: bool = False) -> cv2.VideoCapture:
    """An open video, for decoding or for its packets alone; raises ImageError."""
    # One thread each: loader workers are many. A file alone: never a stream or a series of images of that name.
    options = [cv2.CAP_PROP_N_THREADS, 1, *([cv2.CAP_PROP_FORMAT, -1] if packets else [])]
    capture = cv2.VideoCapture(_checked(os.path.abspath(file)), cv2.CAP_FFMPEG, options)
    if not capture.isOpened():
        there = os.path.isfile(file)
        reason = "is no video that can be decoded; convert it to MP4" if there else "does not exist; check the path"
        raise ImageError(file, "DAMAGED" if there else "MISSING", reason)
    return capture


def _header(file: str) -> tuple[int, tuple[int, int]]:
    """The number of frames and their size (H, W) that the head of a video gives."""
    capture = _opened(file)
    size = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), size


def _times(file: str) -> np.ndarray:
    """When each frame is shown, float64 (F,), rising, in the video's own unit."""
    capture, times = _opened(file, packets=True), []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_PTS))
    return np.sort(np.array(times, np.float64))


_LAYOUT = Layout(_find, origin=0.0, kind=VideoFrames)
