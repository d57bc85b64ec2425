"""An image that cannot be read stops a run with its name, or is skipped, counted, and never changes a batch's size."""

import numpy as np
import pytest

from foveal.cli.main import main
from foveal.core.data import DataModule
from foveal.core.errors import DataError
from foveal.core.options import DataOptions
from foveal.core.transforms import Transform


class Broken:
    """Twelve images, of which some cannot be read."""

    class_names, labels = ("a", "b"), np.arange(12) % 2

    def __init__(self, *bad):
        self.bad = bad

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index in self.bad:
            raise DataError(f"'{index}.png' is cut short.")
        return {"image": np.full((4, 4, 3), index, np.uint8), "path": str(index), "size": (4, 4), "label": 0}


def loaders(*bad, on_error="skip"):
    data = DataModule(lambda split: Broken(*bad), DataOptions(batch_size=4, num_workers=0, on_error=on_error))
    data.transform = lambda augment: Transform([])
    return list(data.train_dataloader()), list(data.val_dataloader())


def test_by_default_the_error_comes_in_place_of_the_batch():
    train, _ = loaders(5, on_error="stop")
    assert [str(batch) for batch in train if isinstance(batch, DataError)] == ["'5.png' is cut short."]


def test_a_training_batch_keeps_its_size_and_says_what_it_skipped():
    train, val = loaders(5)
    assert [len(batch["path"]) for batch in train] == [4, 4, 4]
    paths = [path for batch in train for path in batch["path"]]
    assert sorted(map(int, paths)) == sorted([0, 1, 2, 3, 4, 6, 6, 7, 8, 9, 10, 11])  # 6 stands in for 5
    assert [s for batch in train for s in batch.get("skipped", [])] == ["'5.png' is cut short."]
    assert [path for batch in val for path in batch["path"]] == [str(n) for n in range(12) if n != 5]


def test_an_evaluation_may_lose_a_whole_batch():
    _, val = loaders(4, 5, 6, 7)
    assert [len(batch["path"]) for batch in val] == [4, 0, 4]
    assert len(val[1]["skipped"]) == 4


def test_a_data_set_of_ruins_ends_the_training():
    train, _ = loaders(*range(12))
    assert all(isinstance(batch, DataError) and "20 images in a row" in str(batch) for batch in train)


@pytest.fixture
def folder(tmp_path, write_blobs):
    write_blobs(tmp_path / "data", count=12)
    (tmp_path / "data" / "circle" / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def train(folder, *more):
    return main(
        f"train classification/lenet5_digits --data.format image_folder --data.root {folder}/data --data.augment none "
        f"--trainer.max_epochs 2 --data.batch_size 8 --out {folder}/run {' '.join(more)}".split()
    )


def test_the_command_stops_with_the_name_of_the_image(folder, capsys):
    assert train(folder) == 3
    assert "circle/03.png' is cut" in capsys.readouterr().err


def test_or_goes_on_and_says_once_what_it_skipped(folder, capsys):
    assert train(folder, "--data.on_error skip") == 0
    assert capsys.readouterr().err.count("foveal: Skipped: ") == 1
