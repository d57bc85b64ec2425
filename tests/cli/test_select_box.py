"""Boxes drawn in a window: its pixels and those of the frame, mouse and keys by a stand-in for Tk."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from foveal.cli.select_box import BoxWindow, Fit, fit, select_boxes
from foveal.core.errors import UsageError
from foveal.tasks.detection.draw import class_colour

FRAME = np.zeros((400, 800, 3), np.uint8)


class Widget:
    """What Tk has one of: it keeps what is bound to it and drawn on it."""

    def __init__(self, *_, **options) -> None:
        self.options, self.bound, self.items, self.colours = options, {}, {}, []

    def bind(self, event, call) -> None:
        self.bound[event] = call

    def create_rectangle(self, *corners, outline, **_) -> int:
        self.colours.append(outline)
        self.items[number := len(self.items) + 1] = corners
        return number

    def coords(self, number, *corners) -> None:
        self.items[number] = corners

    def delete(self, number) -> None:
        del self.items[number]

    def pack(self, **_) -> None: ...

    def create_image(self, *_, **__) -> None: ...


class Root(Widget):
    """A window on a screen of 1600 x 1000 pixels, where one does as the steps say: names of events, and places."""

    def __init__(self, toolkit) -> None:
        super().__init__()
        self.toolkit, self.is_open = toolkit, True

    def winfo_screenwidth(self) -> int:
        return 1600

    def winfo_screenheight(self) -> int:
        return 1000

    def mainloop(self) -> None:
        for name, *place in self.toolkit.steps:
            assert self.is_open, f"{name}: the window is closed already"
            call = (self.bound | self.toolkit.canvas.bound)[name]
            event = SimpleNamespace(x=place[0], y=place[1]) if place else None
            try:
                call(event)
            except Exception as error:
                self.report_callback_exception(type(error), error, None)
        assert not self.is_open, "the window is still open"

    def destroy(self) -> None:
        self.is_open = False

    def protocol(self, name, call) -> None:
        self.bound[name] = call

    def title(self, _) -> None: ...

    def lift(self) -> None: ...

    def focus_force(self) -> None: ...

    def after(self, *_) -> None: ...


class Toolkit:
    TclError = type("TclError", (Exception,), {})

    def __init__(self, *steps) -> None:
        self.steps, self.PhotoImage, self.Label = steps, Widget, Widget

    def Tk(self) -> Root:
        return Root(self)

    def Canvas(self, *_, **options) -> Widget:
        self.canvas = Widget(**options)
        return self.canvas


def drag(x1, y1, x2, y2) -> list[tuple]:
    return [("<ButtonPress-1>", x1, y1), ("<B1-Motion>", x1 + 1, y1 + 1), ("<ButtonRelease-1>", x2, y2)]


ENTER, ESCAPE, BACK = ("<Return>",), ("<Escape>",), ("<BackSpace>",)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((400, 800), (400, 800)),  # has room as it is
        ((2000, 4000), (760, 1520)),  # 0.95 of the screen's width, 1600
        ((4000, 2000), (850, 425)),  # 0.85 of its height, 1000
        ((48, 64), (480, 640)),  # too small for a hand
        ((1, 20000), (1, 1520)),
    ],
)
def test_a_frame_fits_the_screen(size, shown):
    assert fit(size, (1000, 1600))[1] == shown


def test_boxes_come_back_in_pixels_of_the_frame():
    size = (2000, 4000)  # is shown 1520 pixels wide: 0.38 of a pixel a pixel
    scale, _ = fit(size, (1000, 1600))
    assert scale.to_frame((38, 76, 418, 266), size) == (100, 200, 1000, 500)
    assert scale.to_frame((418, 266, 38, 76), size) == (100, 200, 1000, 500)  # from the lower right
    assert scale.to_frame((418, 76, 38, 266), size) == (100, 200, 1000, 500)
    assert scale.to_frame((-50, -50, 9999, 9999), size) == (0, 0, 4000, 2000)  # beyond the border
    assert scale.to_frame((1480, 700, 1600, 900), size) == pytest.approx((3894.74, 1842.11, 105.26, 157.89))


def test_each_axis_has_its_own_scale():
    assert Fit(across=0.5, down=2).to_frame((10, 10, 60, 60), (100, 200)) == (20, 5, 100, 25)


@pytest.mark.parametrize("corners", [(50, 50, 50, 50), (50, 50, 52, 300), (50, 50, 300, 52), (-90, 50, 2, 300)])
def test_a_click_is_no_box(corners):
    assert fit((400, 800), (1000, 1600))[0].to_frame(corners, (400, 800)) is None


def test_two_boxes_and_enter():
    window = BoxWindow(Toolkit(*drag(10, 20, 110, 70), *drag(300, 200, 200, 100), ENTER), FRAME)
    assert window.run() == [(10, 20, 100, 50), (200, 100, 100, 100)]


def test_what_is_dragged_is_seen():
    toolkit = Toolkit(*drag(10, 20, 110, 70), *drag(5, 5, 6, 6), ENTER)
    BoxWindow(toolkit, FRAME).run()
    assert list(toolkit.canvas.items.values()) == [(10, 20, 110, 70)]  # the click has left nothing


def test_boxes_have_the_colours_in_which_targets_are_drawn():
    toolkit = Toolkit(*drag(10, 20, 110, 70), *drag(200, 100, 300, 200), ENTER)
    BoxWindow(toolkit, FRAME).run()
    assert [tuple(bytes.fromhex(colour[1:])) for colour in toolkit.canvas.colours] == [class_colour(0), class_colour(1)]


def test_enter_waits_for_a_box():
    assert BoxWindow(Toolkit(ENTER, *drag(10, 20, 110, 70), ENTER), FRAME).run() == [(10, 20, 100, 50)]


def test_backspace_takes_the_last_box_back():
    toolkit = Toolkit(BACK, *drag(10, 20, 110, 70), *drag(200, 100, 300, 200), BACK, ENTER)
    assert BoxWindow(toolkit, FRAME).run() == [(10, 20, 100, 50)]
    assert list(toolkit.canvas.items.values()) == [(10, 20, 110, 70)]


@pytest.mark.parametrize("closing", [ESCAPE, ("WM_DELETE_WINDOW",)])
def test_giving_up_takes_no_box(monkeypatch, closing):
    monkeypatch.setitem(sys.modules, "tkinter", Toolkit(*drag(10, 20, 110, 70), closing))
    with pytest.raises(UsageError, match=r"closed and no box taken from it. Give --box X,Y,W,H instead"):
        select_boxes(FRAME)


def test_a_fault_closes_the_window_and_is_told():
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'x'"):
        BoxWindow(Toolkit(("<ButtonPress-1>",)), FRAME).run()


def test_the_picture_is_a_ppm_of_the_size_shown():
    seen = {}
    toolkit = Toolkit(*drag(10, 20, 110, 70), ENTER)
    toolkit.PhotoImage = lambda **options: seen.update(options)
    BoxWindow(toolkit, np.full((2000, 4000, 3), (1, 2, 3), np.uint8))
    assert seen["data"] == b"P6 1520 760 255\n" + bytes((1, 2, 3)) * (1520 * 760)
    assert (toolkit.canvas.options["width"], toolkit.canvas.options["height"]) == (1520, 760)


def test_without_tkinter_the_option_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(UsageError, match=r"tkinter, and it is not installed. Give --box X,Y,W,H instead"):
        select_boxes(FRAME)


def test_without_a_display_the_option_is_named(monkeypatch):
    toolkit = Toolkit()
    toolkit.Tk = lambda: (_ for _ in ()).throw(toolkit.TclError("no display name"))
    monkeypatch.setitem(sys.modules, "tkinter", toolkit)
    with pytest.raises(UsageError, match=r"no display for it \(no display name\). Give --box X,Y,W,H instead"):
        select_boxes(FRAME)
