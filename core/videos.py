"""Video files: frames in a row, any one frame exactly, and a video of pictures that were drawn.

OpenCV's decoder ends the process on a path that is not UTF-8, seeks by time as if all frames lasted equally long, and
calls a cut file a shorter one; here such a file is one `ImageError`.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np

from .errors import MachineError
from .images import ImageError

_NEAR = 16  # frames ahead that are sooner decoded than sought
_USUAL_RATE = 25.0  # frames a second, of a video that says nothing sensible
_MISSING_SHARE = 0.1  # of a video's duration without frames: it was cut

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: the errors below say what is wrong with a video


class VideoHeader(NamedTuple):
    """What the head of a video says."""

    frames: int  # by duration in some formats, so not exact; 0 where it does not say
    size: tuple[int, int]  # (H, W)
    rate: float  # frames a second


def read_header(file: str) -> VideoHeader:
    """The head of a video; raises ImageError for a file that is none."""
    return _header_of(_opened(file))


def frame_times(file: str) -> np.ndarray:
    """When each frame is shown, float64 (F,), rising, in the video's own unit; raises ImageError."""
    capture, times = _opened(file, packets=True), []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_PTS))
    return np.sort(np.array(times, np.float64))


def read_frames(file: str, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers, from 0, and frames, uint8 (H, W, 3) RGB, of a video: each `every`-th, in one pass.

    Raises ImageError for a file that is no video, and after its last good frame for one that ends too early.
    """
    capture = _opened(file)
    header, number, seconds = _header_of(capture), 0, 0.0
    while capture.grab():
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if number % every == 0:
            good, frame = capture.retrieve()
            if not good or frame is None:
                break
            yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        number += 1
    expected = header.frames / header.rate
    if number == 0 or seconds + 2 / header.rate < expected * (1 - _MISSING_SHARE):
        raise ImageError(file, "TRUNCATED", f"is a damaged video: only its first {number} frames can be read")


def read_frame(file: str, number: int) -> np.ndarray:
    """Frame `number`, from 0, of a video, uint8 (H, W, 3) RGB: quick for frames in a row, exact for all.

    Raises ImageError where the video ends before it or cannot be decoded.
    """
    return _reader.read(file, number)


class VideoFile:
    """An MP4 file that takes pictures; a context manager, or `close` it.

    The first picture says the size, made even as the format wants it; others are resized to it. Raises MachineError
    where the file cannot be made, or at its end does not hold all pictures: OpenCV does not say that a disk is full.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self._rate = rate
        self._size = (0, 0)  # (W, H), as OpenCV wants it
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def write(self, picture: np.ndarray) -> None:
        """Add a frame, uint8 (H, W, 3) RGB."""
        if self._writer is None:
            self._open(*picture.shape[:2])
        assert self._writer is not None
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Write what makes it a whole file, and see that it is one."""
        if self._writer is not None:
            self._release()
            self._check()

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _check(self) -> None:
        try:
            there = len(frame_times(str(self._path)))
        except ImageError:
            there = 0
        if there != self._frames:
            held = f"it holds {there} of {self._frames} frames"
            raise MachineError(f"'{self._path}' cannot be written: {held}; is the disk full?")

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._release()

    def _open(self, height: int, width: int) -> None:
        self._size = (width + width % 2, height + height % 2)
        try:
            path = checked_path(self._path)
        except ImageError as error:
            raise MachineError(str(error)) from None
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, codec, self._rate, self._size)
        if not self._writer.isOpened():
            width, height = self._size
            raise MachineError(f"'{self._path}' cannot be written: OpenCV made no video of {width} x {height} pixels.")


def checked_path(path: str | Path) -> str:
    """A path that OpenCV can take; raises ImageError for one that would end the process."""
    name = os.fspath(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ImageError(
            name, "UNSUPPORTED", "has a name that is not UTF-8, on which OpenCV fails: rename it"
        ) from None
    return name


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
            self._known[file] = frame_times(file)
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


def _opened(file: str, packets: bool = False) -> cv2.VideoCapture:
    """An open video, for decoding or for its packets alone; raises ImageError."""
    # One thread each: loader workers are many. A file alone: never a stream or a series of images of that name.
    options = [cv2.CAP_PROP_N_THREADS, 1, *([cv2.CAP_PROP_FORMAT, -1] if packets else [])]
    capture = cv2.VideoCapture(checked_path(os.path.abspath(file)), cv2.CAP_FFMPEG, options)
    if not capture.isOpened():
        there = os.path.isfile(file)
        reason = "is no video that can be decoded; convert it to MP4" if there else "does not exist; check the path"
        raise ImageError(file, "DAMAGED" if there else "MISSING", reason)
    return capture


def _header_of(capture: cv2.VideoCapture) -> VideoHeader:
    size = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    rate = capture.get(cv2.CAP_PROP_FPS)
    frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return VideoHeader(frames, size, rate if 0 < rate <= 1000 else _USUAL_RATE)
