"""The window of `foveal predict --select`: boxes drawn with the mouse around what is to be followed."""

from typing import Any, NamedTuple

import cv2
import numpy as np

from ..core.errors import UsageError
from ..tasks.detection.draw import class_colour

Box = tuple[float, float, float, float]  # x, y, width and height, in pixels of the frame

_SHARE = (0.95, 0.85)  # of a screen's width and height: the rest is for frames of windows and bars
_SMALL = 640  # pixels: the longer side of a smaller frame is enlarged to as many, so that a hand can be exact
_CLICK = 3  # pixels of the window: a drag that is shorter in a direction is a slip of the hand
_HINT = "Drag a box around each target.   Enter: follow them   Backspace: take the last one back   Escape: give up"
_WAKE = 200  # milliseconds: as long does Ctrl-C in the terminal wait, which Tk answers between two events alone
_INSTEAD = "Give --box X,Y,W,H instead."


class Fit(NamedTuple):
    """How a frame is shown: pixels of the window to a pixel of the frame."""

    across: float
    down: float

    def to_frame(self, corners: tuple[float, float, float, float], size: tuple[int, int]) -> Box | None:
        """The box between two opposite corners (x, y, x, y) in the window, in a frame of `size` (H, W).

        What lies outside of the frame is cut off. None where nothing is left but a click's width.
        """
        limits = (size[1] * self.across, size[0] * self.down)
        x1, x2 = sorted(min(max(x, 0.0), limits[0]) for x in corners[::2])
        y1, y2 = sorted(min(max(y, 0.0), limits[1]) for y in corners[1::2])
        if min(x2 - x1, y2 - y1) < _CLICK:
            return None
        left, top = round(x1 / self.across, 2), round(y1 / self.down, 2)
        return left, top, round(x2 / self.across - left, 2), round(y2 / self.down - top, 2)


def fit(size: tuple[int, int], screen: tuple[int, int]) -> tuple[Fit, tuple[int, int]]:
    """How a frame of `size` (H, W) is shown on a screen of (H, W) pixels, and its size (H, W) there.

    A frame that is too large is made smaller, one of less than 640 pixels is enlarged, as far as the screen has room.
    """
    height, width = size
    room = min(_SHARE[0] * screen[1] / width, _SHARE[1] * screen[0] / height)
    factor = min(room, max(1.0, _SMALL / max(size)))
    shown = max(1, round(height * factor)), max(1, round(width * factor))
    return Fit(shown[1] / width, shown[0] / height), shown


def select_boxes(image: np.ndarray) -> list[Box]:
    """What a person draws on `image` uint8 RGB (H, W, 3): one box or more, x, y, width and height in its pixels.

    Raises UsageError where no window can be opened, and where it is closed without an answer.
    """
    try:
        import tkinter
    except ImportError:
        raise UsageError(
            f"--select opens a window, which takes Python's tkinter, and it is not installed. {_INSTEAD}"
        ) from None
    try:
        window = BoxWindow(tkinter, image)
    except tkinter.TclError as error:
        raise UsageError(f"--select opens a window, and there is no display for it ({error}). {_INSTEAD}") from None
    boxes = window.run()
    if not boxes:
        raise UsageError(f"The window was closed and no box taken from it. {_INSTEAD}")
    return boxes


class BoxWindow:
    """A window with a frame, in which boxes are dragged; `toolkit` is the module tkinter."""

    def __init__(self, toolkit: Any, image: np.ndarray) -> None:
        self._size = (image.shape[0], image.shape[1])
        self._root = toolkit.Tk()
        self._root.title("foveal: what is to be followed?")
        screen = self._root.winfo_screenheight(), self._root.winfo_screenwidth()
        self._fit, (height, width) = fit(self._size, screen)
        self._picture = toolkit.PhotoImage(master=self._root, data=_to_ppm(image, width, height), format="PPM")
        self._canvas = toolkit.Canvas(
            self._root, width=width, height=height, highlightthickness=0, borderwidth=0, cursor="crosshair"
        )
        self._canvas.create_image(0, 0, anchor="nw", image=self._picture)
        self._canvas.pack(anchor="nw")
        toolkit.Label(self._root, text=_HINT, wraplength=max(width, 320), justify="left").pack(anchor="w")
        self._start: tuple[int, int] = (0, 0)
        self._dragged: Any = None  # the rectangle on the canvas
        self._boxes: list[tuple[Any, Box]] = []
        self._error: BaseException | None = None
        self._bind()

    def run(self) -> list[Box]:
        """Open until Enter, and then the boxes; none where it is closed or Escape is pressed."""
        self._root.lift()
        self._root.focus_force()
        self._wake()
        self._root.mainloop()
        if self._error is not None:
            raise self._error
        return [box for _, box in self._boxes]

    def _bind(self) -> None:
        self._canvas.bind("<ButtonPress-1>", self._press)
        self._canvas.bind("<B1-Motion>", self._drag)
        self._canvas.bind("<ButtonRelease-1>", self._release)
        for key in ("<Return>", "<KP_Enter>"):
            self._root.bind(key, self._accept)
        self._root.bind("<BackSpace>", self._take_back)
        self._root.bind("<Escape>", self._give_up)
        self._root.protocol("WM_DELETE_WINDOW", self._give_up)
        self._root.report_callback_exception = self._fail  # Tk's own prints a traceback and goes on

    def _press(self, event: Any) -> None:
        self._start = event.x, event.y
        colour = "#{:02x}{:02x}{:02x}".format(*class_colour(len(self._boxes)))  # as --draw draws the target
        self._dragged = self._canvas.create_rectangle(*self._start, *self._start, outline=colour, width=2)

    def _drag(self, event: Any) -> None:
        if self._dragged is not None:
            self._canvas.coords(self._dragged, *self._start, event.x, event.y)

    def _release(self, event: Any) -> None:
        if self._dragged is None:
            return
        self._drag(event)
        box = self._fit.to_frame((*self._start, event.x, event.y), self._size)
        if box is None:
            self._canvas.delete(self._dragged)
        else:
            self._boxes.append((self._dragged, box))
        self._dragged = None

    def _accept(self, _: Any) -> None:
        if self._boxes:
            self._root.destroy()

    def _take_back(self, _: Any) -> None:
        if self._boxes:
            self._canvas.delete(self._boxes.pop()[0])

    def _give_up(self, _: Any = None) -> None:
        self._boxes.clear()
        self._root.destroy()

    def _fail(self, _: type[BaseException], error: BaseException, __: Any) -> None:
        self._error = error
        self._root.destroy()

    def _wake(self) -> None:
        self._root.after(_WAKE, self._wake)


def _to_ppm(image: np.ndarray, width: int, height: int) -> bytes:
    shrinks = width < image.shape[1]
    shown = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return b"P6 %d %d 255\n" % (width, height) + shown.tobytes()
