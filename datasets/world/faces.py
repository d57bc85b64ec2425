"""Portraits of people who do not exist: an identity is a set of proportions and colours, a view is one moment of it.

The head is a rounded thing in space: its features lie on a curved surface and move and narrow as it turns, hair and
chin shift against them, and light falls on a relief with nose, sockets, cheeks and chin. So two views of one identity
differ in as many pixels as two identities do, and what stays the same is what a face verifier should learn.
"""

import cv2
import numpy as np

from .heads import NOSE, Head
from .pens import colour_of, cosine, fill, halved, mixed, shaded, sine
from .people import Person, draw_moment, draw_person

_WHITE, _PUPIL, _TEETH = (240, 238, 234), (18, 16, 18), (240, 236, 226)


def draw_face(identity: int, view: int, *, size: int = 112, seed: int = 0) -> np.ndarray:
    """A portrait, uint8 (size, size, 3) RGB: the same bytes for the same call.

    `identity` and `view` are any whole numbers of 0 or more. A view draws pose (yaw to 32 degrees, pitch to 15, roll to
    14), light, expression, clothes and background anew.
    """
    return _drawn(_head(identity, view, size, seed))[0]


def cut_out_face(identity: int, view: int, *, size: int = 112, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The same portrait, and how much of each pixel is person and not background: uint8 (size, size), 0 to 255."""
    portrait, parts = _drawn(_head(identity, view, size, seed))
    return portrait, (np.minimum(parts, 150).astype(np.uint16) * 255 // 150).astype(np.uint8)


def face_landmarks(identity: int, view: int, *, size: int = 112, seed: int = 0) -> np.ndarray:
    """Where left eye, right eye, tip of the nose, left and right corner of the mouth are, as seen in the picture.

    float32 (5, 2): x, y in continuous pixels. Left is where the picture's left is.
    """
    head = _head(identity, view, size, seed)
    shape, (width, corner, _, _) = head.person.shape, _mouth_shape(head)
    eyes = head.on_face([(-shape["eye_gap"], shape["eye_y"]), (shape["eye_gap"], shape["eye_y"])])
    nose = head.on_face([(0, shape["nose_y"])], lift=NOSE)
    corners = head.on_face([(-width, corner), (width, corner)], lift=_LIPS)
    return np.concatenate([eyes, nose, corners]).astype(np.float32)


def face_box(identity: int, view: int, *, size: int = 112, seed: int = 0) -> np.ndarray:
    """The box around a view's face, from the hairline to the chin: float32 (4,), xyxy in continuous pixels."""
    head = _head(identity, view, size, seed)
    outline = _smooth(_both(_skull(head)))
    edge = head.on_rim(outline[outline[:, 1] > -0.8])
    return np.concatenate([edge.min(axis=0), edge.max(axis=0)]).astype(np.float32)


def face_pose(identity: int, view: int, *, seed: int = 0) -> tuple[float, float, float]:
    """Yaw (to the picture's right), pitch (up) and roll (clockwise) of a view, in degrees."""
    values = draw_moment(identity, view, seed).values
    return values["yaw"], values["pitch"], values["roll"]


def _drawn(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """The portrait, and of each pixel 0 for the background, 150 for the body and 255 for the head."""
    for part in (_background, _back_hair, _body, _ears, _skin, _beard, _mouth, _nose, _eyes, _brows, _hair, _glasses):
        part(head)
    drawn = halved(head.canvas)
    return head.lit(drawn), drawn[..., 3]


def _head(identity: int, view: int, size: int, seed: int) -> Head:
    return Head(draw_person(identity, seed), draw_moment(identity, view, seed), size)


# --- curves -----------------------------------------------------------------------------------------------------------

_RING = np.stack([cosine(np.arange(20) / 20), sine(np.arange(20) / 20)], -1)


def _disc(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([x, y]) + _RING * np.array([width, height])


def _disc_beside(x: float, y: float, width: float, height: float, z: float) -> np.ndarray:
    return np.column_stack([_disc(x, y, width, height), np.full(len(_RING), z)])


def _smooth(points, closed: bool = True, steps: int = 5) -> np.ndarray:
    """A Catmull-Rom curve through points (N, D), with `steps` places for each."""
    points = np.asarray(points, np.float64)
    before, after = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    around = np.concatenate([before, points, after])[:, None]
    t = (np.arange(steps) / steps)[:, None]
    a, b, c, d = around[:-3], around[1:-2], around[2:-1], around[3:]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, points.shape[1])
    return curve if closed else np.concatenate([curve, points[-1:]])


def _mirrored(points):
    """Points (x, ...) on the other side, in the opposite order."""
    return [(-point[0], *point[1:]) for point in points[::-1]]


def _both(right) -> np.ndarray:
    """A closed outline from its right half, whose first and last point lie on the middle line."""
    return np.array([*right, *_mirrored(right[1:-1])], np.float64)


def _across(right) -> np.ndarray:
    """A smooth curve from the left to the right from its right half, which starts on the middle line."""
    return _smooth([*_mirrored(right[1:]), *right], closed=False)


def _between(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The outline between two curves that run the same way."""
    return np.concatenate([upper, lower[::-1]])


def _line(points: np.ndarray, thick) -> np.ndarray:
    """The outline of a line (N, 2) that is `thick` high, everywhere or at each point."""
    half = np.zeros_like(points)
    half[:, 1] = thick / 2
    return _between(points - half, points + half)


# --- the parts, from the back to the front ----------------------------------------------------------------------------


def _background(head: Head) -> None:
    dice, size, colour = head.moment.dice, head.size, head.moment.backdrop
    for _ in range(dice.between(0, 5)):
        other = mixed(shaded(colour, dice.uniform(0.6, 1.3)), colour_of(dice.uniform(), 0.5, 0.8), dice.uniform(0, 0.3))
        place, radius = (dice.uniform(0, size), dice.uniform(0, size)), dice.uniform(0.08, 0.4) * size
        corners = dice.choice((_RING, _RING[::5], 3 * _RING[[1, 9, 11, 19]]))  # a disc, a diamond, a bar
        head.fill(np.array(place) + radius * corners, other, 0)


def _skull(head: Head) -> list[tuple[float, float, float]]:
    """The right half of the head's outline, from the top to the chin."""
    shape = head.person.shape
    width, chin, round_chin = shape["width"], shape["chin"] + 0.1 * head.moment.gape, shape["chin_width"]
    fore = width * shape["forehead"]
    upper = [(0, -1.2, 0), (0.55 * fore, -1.11, 0), (0.92 * fore, -0.72, 0), (width, -0.15, 0)]
    jaw = [(0.97 * width, 0.25, 0.05), (shape["jaw"] * width, 0.68 * chin, 0.2)]
    low = [(0.55 * round_chin + 0.3 * shape["jaw"], 0.88 * chin, 0.35), (0.6 * round_chin, 0.98 * chin, 0.42)]
    return [*upper, *jaw, *low, (0, chin, 0.45)]


def _back_hair(head: Head) -> None:
    person, volume = head.person, head.person.shape["volume"]
    if person.hairline == "bald" or person.back == "short":
        return
    if person.back == "bun":
        head.fill(head.on_rim(_disc_beside(0, -1.3 - volume, 0.42, 0.36, -0.4)), shaded(person.hair, 0.85))
        return
    if person.back == "afro":
        right = [(0, -1.55), (0.8, -1.4), (1.3, -0.8), (1.38, -0.1), (1.15, 0.5), (0, 0.7)]
    else:
        low, wide = 0.95 if person.back == "bob" else person.shape["length"], 1.05 + volume
        right = [
            (0, -1.2),
            (0.85, -0.95),
            (wide, -0.2),
            (wide + 0.03, 0.5),
            (wide - 0.03, low),
            (0.7, low + 0.12),
            (0, low),
        ]
    outline = _smooth(_both(right))
    outline = _curled(outline, person) if person.curly or person.back == "afro" else outline
    head.fill(head.on_rim(np.column_stack([outline, np.full(len(outline), -0.3)])), shaded(person.hair, 0.72))


def _curled(outline: np.ndarray, person: Person) -> np.ndarray:
    """An outline (N, 2 or 3) in scallops."""
    swell = 1 + person.shape["curl"] * np.abs(sine(np.arange(len(outline)) * 0.13))
    return np.column_stack([outline[:, :2] * swell[:, None], outline[:, 2:]])


def _body(head: Head) -> None:
    person, neck, chin = head.person, head.person.shape["neck"], head.person.shape["chin"]
    body = _both([(0, 1.75), (neck + 0.15, 1.65), (1.5, 1.95), (2.1, 2.4), (2.2, 3.5), (0, 3.5)])
    throat = _both([(0, 0.4), (neck, 0.4), (neck * 0.95, 1.3), (neck + 0.2, 1.75), (0, 2.05)])
    shadow = _both([(0, 0.5), (neck, 0.5), (neck * 0.97, chin + 0.08), (0.5 * neck, chin + 0.22), (0, chin + 0.27)])
    head.fill(head.on_body(body), head.moment.clothes, 150)
    head.fill(head.on_body(_smooth(throat)), shaded(person.skin, 0.9), 150)
    head.fill(head.on_body(_smooth(shadow)), shaded(person.skin, 0.66), 150)


def _ears(head: Head) -> None:
    person, tall = head.person, 0.24 * head.person.shape["ear"]
    for side in (-1, 1):
        x = side * (person.shape["width"] + 0.03)
        head.fill(head.on_rim(_disc_beside(x, 0.1, 0.15, tall, -0.22)), shaded(person.skin, 0.92))
        head.fill(head.on_rim(_disc_beside(x, 0.1, 0.08, 0.6 * tall, -0.22)), shaded(person.skin, 0.72))
        if person.ring is not None:
            head.fill(head.on_rim(_disc_beside(x, 0.14 + tall, 0.06, 0.06, -0.2)), person.ring)


def _skin(head: Head) -> None:
    person, skin = head.person, head.person.skin
    head.fill(head.on_rim(_smooth(_both(_skull(head)))), skin)
    red, green, blue = skin
    blush = mixed(skin, (min(255, int(red * 1.15)), int(green * 0.55), int(blue * 0.6)), person.shape["cheek"])
    for share, radius in ((0.5, 0.24), (1, 0.16)):
        discs = [head.on_face(_disc(0.57 * side, 0.4, radius, 0.66 * radius)) for side in (-1, 1)]
        head.fill(discs, mixed(skin, blush, share))
    if len(person.spots):
        places = person.spots[:, None, :2] + person.spots[:, None, 2:] * _RING[::2]
        for spot, pixels in zip(person.spots, head.on_face(places.reshape(-1, 2)).reshape(places.shape), strict=True):
            head.fill(pixels, shaded(skin, 0.7 if spot[2] < 0.04 else 0.4))


def _beard(head: Head) -> None:
    person, (width, corner, middle, _) = head.person, _mouth_shape(head)
    if not person.beard:
        return
    colour = mixed(person.skin, person.hair, 0.3) if person.beard == "stubble" else shaded(person.hair, 0.9)
    top = (person.shape["nose_y"] + middle) / 2 + 0.03
    if person.beard in ("full", "stubble"):
        jaw = [(x * 1.02, y * 1.03, z) for x, y, z in _skull(head)[3:]]
        edge = _across([(0, top), (0.38, top + 0.06), (0.62, top - 0.02), (0.84, 0.22), (0.94, -0.1)])
        rim = _smooth([*jaw, *_mirrored(jaw[:-1])], closed=False)
        head.fill(np.concatenate([head.on_rim(rim), head.on_face(edge)]), colour)
    if person.beard == "goatee":
        low = person.shape["chin"] + 0.1 * head.moment.gape
        patch = _both([(0, middle + 0.1), (0.25, middle + 0.16), (0.22, low - 0.02), (0, low + 0.03)])
        head.fill(head.on_face(_smooth(patch)), colour)
    if person.beard != "stubble":
        wide = width * 1.05
        upper = [(0, top - 0.05), (0.5 * wide, top - 0.03), (wide, corner + 0.06)]
        lower = [(0.5 * wide, middle), (0, middle - 0.02)]
        head.fill(head.on_face(_smooth(_both(upper + lower)), 0.06), shaded(colour, 0.92))


_LIPS = 0.04  # how far the mouth stands out


def _mouth_shape(head: Head) -> tuple[float, float, float, float]:
    """Half its width, y of its corners and of the middle of the upper lip's edge, and how far it is open."""
    shape, smile, gape = head.person.shape, head.moment.values["smile"], 0.2 * head.moment.gape
    y = shape["nose_y"] + shape["mouth_gap"]
    return shape["mouth_width"] * (1 + 0.16 * smile), y - 0.07 * smile, y + 0.02 * smile - 0.1 * gape, gape


def _mouth(head: Head) -> None:
    person, (width, corner, middle, gape) = head.person, _mouth_shape(head)
    up, low, end = person.shape["upper_lip"], person.shape["lower_lip"], (width, corner)
    upper = _across([(0, middle - 0.8 * up), (0.18 * width, middle - up), (0.6 * width, middle - 0.6 * up), end])
    lower = _across([(0, middle + gape + low), (0.45 * width, middle + 0.9 * (gape + low)), end])
    seam = _across([(0, middle + 0.01), (0.55 * width, middle - 0.005), end])
    floor = _across([(0, middle + gape + 0.02), (0.45 * width, middle + 0.85 * gape + 0.015), end])
    teeth = _across([(0, middle + 0.05), (0.55 * width, middle + 0.035), (0.86 * width, corner + 0.01)])
    y = middle + gape + low + 0.05
    shade = _smooth(_both([(0, y), (0.3 * width, y - 0.01), (0, y + 0.05)]))
    head.fill(head.on_face(shade, 0.02), shaded(person.lips if person.beard else person.skin, 0.82))
    head.fill(head.on_face(_between(upper, lower), _LIPS), shaded(person.lips, 0.88))
    head.fill(head.on_face(_between(floor, lower), _LIPS), person.lips)
    head.fill(head.on_face(_between(seam, floor), _LIPS), shaded(person.lips, 0.3))
    if gape > 0.05:
        head.fill(head.on_face(_between(seam[2:-2], teeth), _LIPS), _TEETH)


def _nose(head: Head) -> None:
    shape, skin = head.person.shape, head.person.skin
    y, wide, bridge = shape["nose_y"], shape["nose_width"], shape["bridge"]
    side = 1 if head.moment.values["azimuth"] < 0 else -1  # the shadow falls away from the light
    flank = [(bridge, shape["eye_y"] - 0.1), (bridge, y - 0.25), (wide, y + 0.02), (0.5 * wide, y - 0.06)]
    head.fill(head.on_face(_smooth([(side * x, down) for x, down in flank]), 0.12), shaded(skin, 0.86))
    wing = [(0.55 * wide, y - 0.01), (wide, y - 0.03), (1.02 * wide, y + 0.03), (0.5 * wide, y + 0.07)]
    head.fill(head.on_face(_smooth(_both([(0, y), *wing, (0, y + 0.1)])), 0.12), shaded(skin, 0.78))
    nostrils = [head.on_face(_disc(each * wide, y + 0.05, 0.22 * wide, 0.024), 0.12) for each in (-0.5, 0.5)]
    head.fill(nostrils, shaded(skin, 0.42))
    head.fill(head.on_face(_disc(0, y - 0.03, 0.55 * wide, 0.08), 0.2), mixed(skin, (255, 250, 240), 0.12))
    if head.person.folds:
        width, corner, _, _ = _mouth_shape(head)
        fold = _smooth([(wide + 0.05, y), (wide + 0.16, y + 0.12), (width + 0.06, corner)], closed=False)
        head.fill([head.on_face(_line(fold * (each, 1), 0.035)) for each in (-1, 1)], shaded(skin, 0.78))


def _eyes(head: Head) -> None:
    shape, skin = head.person.shape, head.person.skin
    lids = [_lids(head, side) for side in (-1, 1)]
    places = [(side * shape["eye_gap"], shape["eye_y"]) for side in (-1, 1)]
    for place in places:
        head.fill(head.on_face(_disc(*place, 1.25 * shape["eye_width"], 1.6 * shape["eye_height"])), shaded(skin, 0.9))
    balls, mask = head.canvas.copy(), np.zeros(head.canvas.shape[:2], np.uint8)
    for place, (upper, lower) in zip(places, lids, strict=True):
        _eyeball(head, balls, place)
        fill(balls, head.on_face(_line(upper, 0.05)), (*shaded(skin, 0.45), 255))
        fill(mask, head.on_face(_between(upper, lower)), (255,))
    cv2.copyTo(balls, mask, head.canvas)
    lash = shaded(mixed(skin, head.person.hair, 0.5), 0.35)
    for upper, _ in lids:
        head.fill(head.on_face(_line(upper - (0, 0.012), 0.045)), lash)
        head.fill(head.on_face(_line(upper[2:-2] - (0, 0.06), 0.02)), shaded(skin, 0.72))


def _eyeball(head: Head, canvas: np.ndarray, place: tuple[float, float]) -> None:
    values, iris, radius = head.moment.values, head.person.iris, head.person.shape["iris"]
    x, y = place[0] + values["gaze_x"], place[1] + values["gaze_y"]
    for disc, colour in (
        (_disc(*place, 0.4, 0.3), _WHITE),
        (_disc(x, y, radius, radius), shaded(iris, 0.6)),
        (_disc(x, y, 0.82 * radius, 0.82 * radius), iris),
        (_disc(x, y, 0.52 * radius, 0.52 * radius), _PUPIL),
        (_disc(x - 0.4 * radius, y - 0.45 * radius, 0.24 * radius, 0.24 * radius), (250, 250, 250)),
    ):
        fill(canvas, head.on_face(disc), (*colour, 255))


def _lids(head: Head, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower edge of an eye, from its inner to its outer corner."""
    shape, lids = head.person.shape, head.moment.lids
    wide, slant = shape["eye_width"], shape["slant"]
    high, low = shape["eye_height"] * lids, shape["eye_height"] * (0.5 + 0.22 * lids)
    upper = [(-wide, slant), (-0.5 * wide, -0.85 * high), (0.1 * wide, -high), (0.6 * wide, -0.75 * high - 0.4 * slant)]
    lower = [(-wide, slant), (-0.5 * wide, 0.75 * low), (0.1 * wide, low), (0.6 * wide, 0.7 * low - 0.4 * slant)]
    place, way = np.array([side * shape["eye_gap"], shape["eye_y"]]), np.array([side, 1])
    above, below = (_smooth([*edge, (wide, -slant)], closed=False) for edge in (upper, lower))
    return place + above * way, place + below * way


def _brows(head: Head) -> None:
    shape, hair = head.person.shape, head.person.hair
    long, tilt, arch = shape["brow_length"], shape["brow_tilt"], shape["brow_arch"]
    line = _smooth([(-long, tilt), (0, -0.5 * arch), (0.55 * long, -arch - 0.5 * tilt), (long, -tilt)], closed=False)
    brow = _line(line, shape["brow_thick"] * _TAPER)
    brow += (shape["eye_gap"] + 0.03, shape["eye_y"] - shape["brow_lift"] - head.moment.values["brow"])
    colour = mixed(shaded(hair, 0.62), shaded(head.person.skin, 0.5), 0.25)
    head.fill([head.on_face(brow * (side, 1), 0.05) for side in (-1, 1)], colour)


_TAPER = np.array([0.7, 0.85, 0.95, 1, 1, 1, 1, 1, 0.97, 0.94, 0.9, 0.8, 0.7, 0.6, 0.45, 0.25])


def _hair(head: Head) -> None:
    person = head.person
    if person.hairline == "bald":
        return
    volume = person.shape["volume"] * (1.3 if person.back == "afro" else 1)
    right = [(x * (1 + 0.45 * volume), y * (1 + volume), z) for x, y, z in _skull(head)[:4]]
    right[-1] = (right[-1][0], 0.05, -0.05)
    outer = _across(right)
    rim = head.on_rim(_curled(outer, person) if person.curly else outer)
    edge = head.on_face(_hairline(person))
    head.fill(np.concatenate([rim, edge[::-1]]), person.hair)
    _strands(head, rim, edge)
    if person.back in ("bob", "long"):
        low = 0.85 if person.back == "bob" else person.shape["length"] - 0.1
        outside = [(1 + 0.5 * volume, -0.3), (1.08 + 0.7 * volume, 0.4), (1.04 + 0.6 * volume, low)]
        lock = _smooth([(0.84, -0.45), *outside, (0.88, low + 0.08), (0.92, 0.3)])
        for side in (-1, 1):
            places = np.column_stack([lock * (side, 1), np.zeros(len(lock))])
            head.fill(head.on_rim(places), shaded(person.hair, 0.94))


def _strands(head: Head, rim: np.ndarray, edge: np.ndarray) -> None:
    """Darker and lighter wedges from the head's outline to the hairline."""
    for share in range(1, 8):
        place, end = share * (len(rim) - 2) // 8, edge[share * (len(edge) - 2) // 8]
        wedge = np.stack([rim[place] * 0.85 + end * 0.15, end, rim[place + 1] * 0.85 + end * 0.15])
        head.fill(wedge, shaded(head.person.hair, 0.82 if share % 2 else 1.18))


def _hairline(person: Person) -> np.ndarray:
    """The hair's edge on the face, from the left temple to the right one."""
    y = person.shape["hairline"]
    if person.hairline == "swoop":
        low = [(-0.95, 0.05), (-0.84, -0.3), (-0.5, -0.52), (-0.05, -0.68)]
        line = _smooth([*low, (0.36, -0.98), (0.5, -0.92), (0.74, y + 0.2), (0.95, 0.0)], closed=False)
        return line if person.side > 0 else line[::-1] * (-1, 1)
    halves: dict[str, list[tuple[float, float]]] = {
        "straight": [(0, y - 0.05), (0.4, y - 0.02), (0.72, y + 0.14), (0.84, -0.3), (0.95, 0.0)],
        "receding": [(0, y), (0.2, y - 0.06), (0.46, y - 0.2), (0.7, y - 0.02), (0.88, -0.35), (0.95, 0.0)],
        "fringe": [(0, -0.42), (0.36, -0.44), (0.7, -0.4), (0.86, -0.25), (0.95, 0.05)],
        "centre": [(0, -1.08), (0.3, -0.78), (0.66, -0.5), (0.88, -0.2), (0.95, 0.1)],
    }
    return _across(halves[person.hairline])


def _glasses(head: Head) -> None:
    person = head.person
    if not person.glasses:
        return
    frame, y, gap = person.frame, person.shape["eye_y"] + 0.03, person.shape["eye_gap"] + 0.02
    corners = _RING if person.glasses == "round" else _SQUARE
    for side in (-1, 1):
        places = [np.array([side * gap, y]) + corners * (min(wide, wide + gap - 0.31), wide) for wide in (0.29, 0.25)]
        head.fill([head.on_face(places_of_ring, 0.12) for places_of_ring in places], frame)
        hinge = head.on_face([(side * (gap + 0.26), y - 0.1), (side * (gap + 0.26), y - 0.05)], 0.12)
        head.fill(np.concatenate([hinge, head.on_rim([(side, 0.03, -0.1), (side, -0.02, -0.1)])]), frame)
    bridge = np.array([(-gap + 0.26, y - 0.02), (0, y - 0.06), (gap - 0.26, y - 0.02)])
    head.fill(head.on_face(_line(bridge, 0.05), 0.14), frame)


_SQUARE = np.array(
    [(-0.8, -0.76), (0.95, -0.76), (1.05, -0.6), (1, 0.4), (0.75, 0.76), (-0.6, 0.76), (-1, 0.46), (-1.05, -0.5)]
)
