"""Who is portrayed, and in which moment: the numbers that a face is drawn from."""

from dataclasses import dataclass

import numpy as np

from .dice import Dice
from .pens import Colour, colour_of, mixed, shaded

_PERSON, _MOMENT = 3, 4  # end the keys of the streams; never 0, which SeedSequence does not tell from a shorter key

# Lengths in half widths of a middling head, from its middle: right and down.
_SHAPE = {
    "width": (0.88, 1.06), "chin": (1.06, 1.36), "jaw": (0.6, 0.93), "chin_width": (0.18, 0.5), "forehead": (0.84, 1.0),
    "eye_y": (-0.1, 0.1), "eye_gap": (0.34, 0.47), "eye_width": (0.15, 0.225), "eye_height": (0.075, 0.13),
    "slant": (-0.045, 0.05), "iris": (0.075, 0.1), "brow_lift": (0.19, 0.3), "brow_thick": (0.03, 0.095),
    "brow_arch": (0.0, 0.1), "brow_tilt": (-0.055, 0.035), "brow_length": (0.19, 0.27), "nose_y": (0.36, 0.56),
    "nose_width": (0.12, 0.26), "bridge": (0.05, 0.1), "mouth_gap": (0.2, 0.32), "mouth_width": (0.24, 0.42),
    "upper_lip": (0.03, 0.09), "lower_lip": (0.05, 0.12), "ear": (0.75, 1.25), "hairline": (-0.86, -0.62),
    "volume": (0.07, 0.26), "curl": (0.05, 0.12), "length": (0.9, 2.0), "cheek": (0.05, 0.3), "neck": (0.42, 0.6),
}  # fmt: skip
_VIEW = {
    "yaw": (-32, 32), "pitch": (-15, 15), "roll": (-14, 14), "scale": (0.92, 1.08), "x": (-0.04, 0.04),
    "y": (-0.03, 0.04), "smile": (-0.5, 1.0), "brow": (-0.03, 0.07), "gaze_x": (-0.03, 0.03), "gaze_y": (-0.015, 0.02),
    "azimuth": (-75, 75), "elevation": (-25, 65), "ambient": (0.3, 0.62), "key": (0.45, 0.95), "warmth": (-0.12, 0.14),
}  # fmt: skip
_SKINS = (
    (252, 224, 204), (243, 204, 176), (230, 184, 146), (206, 154, 114), (178, 124, 86), (142, 94, 64), (106, 70, 50),
    (84, 55, 42),
)  # fmt: skip
_HAIRS = (
    (36, 31, 34), (58, 40, 32), (88, 58, 40), (122, 82, 50), (128, 58, 38), (198, 102, 48), (216, 176, 104),
    (236, 220, 182), (150, 148, 150), (226, 226, 228), (52, 78, 142), (176, 72, 112),
)  # fmt: skip
_IRISES = (
    (62, 40, 28), (104, 66, 38), (128, 104, 50), (78, 122, 74), (66, 118, 178), (116, 134, 148), (46, 132, 128),
)  # fmt: skip
_RED = ((190, 60, 70), (200, 90, 90), (150, 50, 60))
_FRAMES = ((40, 38, 42), (120, 40, 44), (60, 84, 120), (176, 140, 70), (112, 78, 52))


@dataclass(frozen=True)
class Person:
    """What stays the same in every view of an identity; `shape` has a length for each name of `_SHAPE`."""

    shape: dict[str, float]
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    hairline: str
    back: str
    curly: bool
    side: int  # -1 or 1: where the parting is
    beard: str
    glasses: str
    frame: Colour
    ring: Colour | None
    folds: bool
    spots: np.ndarray  # freckles and a mole: (N, 3) x, y, radius


@dataclass(frozen=True)
class Moment:
    """What a view draws anew; `values` has a number for each name of `_VIEW`, angles in degrees."""

    values: dict[str, float]
    gape: float  # how far the mouth is open, 0 to 1
    lids: float  # how far the eyes are open, about 1
    backdrop: Colour
    clothes: Colour
    dice: Dice  # for the background and the noise


def draw_person(identity: int, seed: int) -> Person:
    """The person of this number."""
    dice = Dice(seed, identity, _PERSON)
    shape = {name: dice.uniform(*limits) for name, limits in _SHAPE.items()}
    tone = dice.uniform(0, len(_SKINS) - 1.001)
    skin = mixed(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone - int(tone))
    return Person(
        shape,
        skin,
        hair=mixed(dice.choice(_HAIRS[: 10 if dice.chance(0.9) else 12]), dice.choice(_HAIRS), 0.12),
        iris=dice.choice(_IRISES),
        lips=mixed(shaded(skin, 0.8), dice.choice(_RED), dice.uniform(0.3, 0.7)),
        hairline=dice.choice(("straight", "straight", "receding", "fringe", "swoop", "swoop", "centre", "bald")),
        back=dice.choice(("short", "short", "short", "bob", "long", "long", "afro", "bun")),
        curly=dice.chance(0.3),
        side=dice.choice((-1, 1)),
        beard=dice.choice(("", "", "", "", "moustache", "goatee", "full", "stubble")),
        glasses=dice.choice(("", "", "", "round", "square")),
        frame=dice.choice(_FRAMES),
        ring=dice.choice((None, None, None, (226, 190, 90), (216, 220, 228))),
        folds=dice.chance(0.3),
        spots=_draw_spots(dice),
    )


def _draw_spots(dice: Dice) -> np.ndarray:
    spots = []
    if dice.chance(0.25):
        spots += [(dice.uniform(-0.62, 0.62), dice.uniform(0.12, 0.5), dice.uniform(0.012, 0.026)) for _ in range(36)]
    if dice.chance(0.3):
        spots.append((dice.choice((-1, 1)) * dice.uniform(0.3, 0.65), dice.uniform(0.3, 0.95), 0.045))
    return np.array(spots).reshape(-1, 3)


def draw_moment(identity: int, view: int, seed: int) -> Moment:
    """The view of this number of a person."""
    dice = Dice(seed, identity, view, _MOMENT)
    return Moment(
        {name: dice.uniform(*limits) for name, limits in _VIEW.items()},
        gape=dice.uniform(0.25, 1.0) if dice.chance(0.35) else 0.0,
        lids=dice.uniform(0.45, 0.7) if dice.chance(0.15) else dice.uniform(0.85, 1.12),
        backdrop=colour_of(dice.uniform(), dice.uniform(0.05, 0.5), dice.uniform(0.35, 0.95)),
        clothes=colour_of(dice.uniform(), dice.uniform(0.1, 0.75), dice.uniform(0.25, 0.9)),
        dice=dice,
    )
