"""What a recipe may say is what the code behind it knows."""

import inspect
import warnings
from dataclasses import fields

import lightning.pytorch as pl
import pytest

from foveal.cli.checks import _RANGES, type_of
from foveal.cli.recipe import _types
from foveal.core.data import preprocessing
from foveal.core.options import DataOptions, TrainerOptions
from foveal.tasks import TASKS, augmentations, options_class, ranges, task_class


def test_the_trainer_section_holds_arguments_of_lightnings_trainer():
    known = set(inspect.signature(pl.Trainer.__init__).parameters)
    assert {field.name for field in fields(TrainerOptions)} - known == {"threads"}


@pytest.mark.parametrize("task", TASKS)
def test_every_range_belongs_to_an_entry(task):
    entries = [*_RANGES, *(f"model.{name}" for name in ranges(task))]
    assert all(type_of(key, _types(task)) in (int, float, int | None, float | None) for key in entries)


@pytest.mark.parametrize("task", TASKS)
def test_every_entry_has_a_meaning(task):
    for section in _types(task).values():
        for field in fields(section) if hasattr(section, "__dataclass_fields__") else ():
            assert f"    {field.name}: " in (section.__doc__ or ""), f"{section.__name__}.{field.name}"


@pytest.mark.parametrize("task", TASKS)
def test_every_augmentation_can_be_named_and_made(task):
    instance = task_class(task).build(
        options_class(task)(backbone="resnet18"),
        class_names=["a", "b"],
        preprocessing=preprocessing(DataOptions(size=32)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in augmentations(task):
            instance.transform(name)
    assert augmentations(task)[0] == "none"
