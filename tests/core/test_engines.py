"""Engines in torch's place: the same answers, from graphs that are made once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage
import torch
from torchvision.models import MobileNet_V2_Weights

from foveal.core import engine_options
from foveal.core.data import preprocessing, to_tensor
from foveal.core.engines import accelerate
from foveal.core.errors import MachineError, UsageError
from foveal.core.images import read_image
from foveal.core.options import DataOptions
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.classification.options import ClassificationOptions
from foveal.tasks.classification.task import ClassificationTask
from foveal.tasks.depth.options import DepthOptions
from foveal.tasks.depth.task import DepthTask
from foveal.tasks.detection.options import DetectionOptions
from foveal.tasks.detection.task import DetectionTask
from foveal.tasks.edges.options import EdgesOptions
from foveal.tasks.edges.task import EdgesTask
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.task import SegmentationTask

CPU = torch.device("cpu")
ENGINES = ("onnx", "openvino")
PUBLISHED = MobileNet_V2_Weights.IMAGENET1K_V1
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "astronaut.png", "camera.png")


def drawn(number: int, height: int = 64, width: int = 64) -> torch.Tensor:
    """Scenes, uint8 (N, 3, height, width), in memory as `collate` leaves them."""
    world = ShapesWorld("detection", "test", images=number, size=(height, width))
    return torch.stack([torch.from_numpy(world[index]["image"]) for index in range(number)]).permute(0, 3, 1, 2)


def calibrated(task, images: torch.Tensor):
    """The task with batch norms that know what such images give: of one that does not, all answers are alike."""
    task.train()
    with torch.no_grad():
        for _ in range(3):
            task(images)
    return task.eval()


def classifier(backbone: str = "resnet18", size: int = 64) -> ClassificationTask:
    torch.manual_seed(0)
    options = ClassificationOptions(backbone=backbone)
    seen = preprocessing(DataOptions(size=size))
    return ClassificationTask(options, class_names=[str(number) for number in range(10)], preprocessing=seen).eval()


def segmenter(head: str = "unet", resize: str = "fit") -> SegmentationTask:
    torch.manual_seed(0)
    seen = preprocessing(DataOptions(size=90, resize=resize))
    options = SegmentationOptions(backbone="resnet18", head=head)
    return calibrated(SegmentationTask(options, class_names=["a", "b", "c"], preprocessing=seen), drawn(8))


@torch.inference_mode()
def answers(task, *batches: torch.Tensor) -> list:
    return [task(images.clone()) for images in batches]  # a tensor of inference mode, as a run's are


@pytest.mark.parametrize("engine", ENGINES)
def test_64_images_have_the_same_class_and_logits(engine):
    images = drawn(64)
    task = calibrated(classifier(), images)
    (wanted,) = answers(task, images)
    assert len(wanted.argmax(dim=1).unique()) > 3  # the images differ
    accelerate(task, CPU, engine=engine)
    found = torch.cat(answers(task, images[:40], images[40:]))  # the last batch of a run is a shorter one
    assert (found.argmax(dim=1) == wanted.argmax(dim=1)).all()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
    alone = torch.cat(answers(task, *images[:3].split(1)))
    torch.testing.assert_close(alone, found[:3], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """66 views of six photographs, of which each one sees a little less than the one before."""
    views = []
    prepare = classifier(size=224).transform()
    for name in PHOTOGRAPHS:
        image = read_image(Path(skimage.__file__).parent / "data" / name)
        for number in range(11):
            height, width = (int(side * (1 - 0.03 * number)) for side in image.shape[:2])
            part = image[-height:, :width] if number % 2 else image[:height, -width:]
            views.append(to_tensor(prepare({"image": part}, seed=0)["image"]))
    return torch.stack([view.permute(1, 2, 0) for view in views]).permute(0, 3, 1, 2)


@pytest.fixture
def published(real_data) -> ClassificationTask:
    """MobileNetV2 with ImageNet's weights."""
    options = ClassificationOptions(
        backbone="mobilenet_v2", weights=str(real_data / "weights" / PUBLISHED.url.rsplit("/", 1)[-1])
    )
    seen = preprocessing(DataOptions(size=224))
    return ClassificationTask(options, class_names=PUBLISHED.meta["categories"], preprocessing=seen).eval()


@pytest.mark.parametrize("engine", ENGINES)
def test_photographs_have_the_same_class_with_published_weights(engine, published, photographs):
    (wanted,) = answers(published, photographs)
    accelerate(published, CPU, engine=engine)
    (found,) = answers(published, photographs)
    assert (found.argmax(dim=1) == wanted.argmax(dim=1)).all()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


def test_bfloat16_names_the_same_class_wherever_one_leads(published, photographs):
    (wanted,) = answers(published, photographs)
    first, second = wanted.topk(2, dim=1).values.unbind(dim=1)
    accelerate(published, CPU, engine="openvino", precision="bf16")
    (found,) = answers(published, photographs)
    same = found.argmax(dim=1) == wanted.argmax(dim=1)
    assert (found - wanted).abs().max() > 1e-3  # it is not what 32 bits give
    assert same[first - second > 1].all() and same.sum() >= 60


@pytest.mark.parametrize("engine", ENGINES)
def test_masks_of_images_of_many_sizes_come_from_one_graph(engine, kept):
    task = segmenter()
    batches = [drawn(2, *size) for size in ((90, 90), (90, 61), (50, 90), (33, 90), (60, 90))]
    wanted = answers(task, *batches)
    before = set(kept.rglob("*.onnx"))
    accelerate(task, CPU, engine=engine)
    found = answers(task, *batches)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape and theirs.argmax(dim=1).unique().numel() > 1
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
        assert (ours.argmax(dim=1) != theirs.argmax(dim=1)).float().mean() <= 1e-3
    assert [file.stem for file in set(kept.rglob("*.onnx")) - before] == ["float32-from64"]


@pytest.mark.parametrize("engine", ENGINES)
def test_edges_of_sides_that_are_no_multiples_of_32_come_from_one_graph(engine, kept):
    # 64 x 96 needs no padding: the graph is made for it, and must pad the others all the same.
    torch.manual_seed(0)
    task = calibrated(
        EdgesTask(EdgesOptions(backbone="resnet18"), preprocessing=preprocessing(DataOptions(size=64))), drawn(8)
    )
    for side in task.head.sides:
        torch.nn.init.normal_(side.weight, std=0.1)  # they start at 0: all answers would be alike
    batches = [drawn(1, *size) for size in ((64, 96), (65, 99), (81, 127), (97, 64))]
    wanted = answers(task, *batches)
    before = set(kept.rglob("*.onnx"))
    accelerate(task, CPU, engine=engine)
    for ours, theirs in zip(answers(task, *batches), wanted, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
    assert [file.stem for file in set(kept.rglob("*.onnx")) - before] == ["uint8-from64"]


@pytest.mark.parametrize(("head", "engine"), [("fcrn", "onnx"), ("unet", "openvino")])
def test_depths_of_sides_that_are_no_multiples_of_32_come_from_one_graph(head, engine, kept):
    torch.manual_seed(0)
    seen = preprocessing(DataOptions(size=96, resize="fit"))
    task = calibrated(DepthTask(DepthOptions(backbone="resnet18", head=head), preprocessing=seen), drawn(8))
    for layer in task.head.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 1:
            torch.nn.init.normal_(layer.weight, std=0.3)  # they start near 0: all answers would be alike
    batches = [drawn(1, *size) for size in ((64, 96), (65, 99), (81, 127), (97, 64))]
    wanted = answers(task, *batches)
    before = set(kept.rglob("*.onnx"))
    accelerate(task, CPU, engine=engine)
    for ours, theirs in zip(answers(task, *batches), wanted, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert [file.stem for file in set(kept.rglob("*.onnx")) - before] == ["uint8-from64"]


@pytest.mark.parametrize("options", [{"engine": "onnx"}, {"compiled": True}])
def test_a_filter_is_no_network(options):
    with pytest.raises(UsageError, match="for networks, and this model has none"):
        accelerate(EdgesTask(EdgesOptions(head="canny")), CPU, **options)


def test_a_network_that_is_of_one_size_gets_a_graph_for_each(kept):
    torch.manual_seed(0)
    seen = preprocessing(DataOptions(size=96, resize="fit"))
    # SSD pads its last, smallest maps or not, by the size of the image.
    task = DetectionTask(DetectionOptions(backbone="resnet18", head="ssd"), class_names=["a"], preprocessing=seen)
    task = calibrated(task, drawn(2, 96, 96))
    batches = [drawn(2, 96, 96), drawn(1, 64, 96)]
    wanted = answers(task, *batches)
    before = set(kept.rglob("*.onnx"))
    accelerate(task, CPU, engine="onnx")
    for ours, theirs in zip(answers(task, *batches), wanted, strict=True):
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-3)
        torch.testing.assert_close(ours.deltas, theirs.deltas, rtol=0, atol=1e-3)
        assert torch.equal(ours.default_boxes, theirs.default_boxes)
    names = sorted(file.stem for file in set(kept.rglob("*.onnx")) - before)
    assert names == ["float32-64x96", "float32-96x96"]


def test_faster_rcnn_finds_the_same_boxes():
    torch.manual_seed(0)
    seen = preprocessing(DataOptions(size=96))
    options = DetectionOptions(backbone="resnet18", head="fasterrcnn_fpn", channels=32)
    images = drawn(2, 96, 96)
    task = calibrated(DetectionTask(options, class_names=["a", "b"], preprocessing=seen), images)
    task.thresholds = [0.1, 0.1]
    batch = {"image": images, "shape": [(96, 96)] * 2, "path": ["1", "2"], "size": [(96, 96)] * 2}
    with torch.inference_mode():
        wanted = task.predict(batch)
    accelerate(task, CPU, engine="openvino")
    with torch.inference_mode():
        found = task.predict(batch)
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(theirs["boxes"]) > 5 and ours["names"] == theirs["names"]
        torch.testing.assert_close(ours["boxes"], theirs["boxes"], rtol=0, atol=0.05)
        torch.testing.assert_close(ours["scores"], theirs["scores"], rtol=0, atol=1e-3)


@pytest.mark.apart
def test_compiled_gives_what_torch_gives_for_batches_of_all_lengths():
    images = drawn(8, 32, 32)
    task = calibrated(classifier("resnet20", 32), images)
    batches = (images, images[:1], images[:5])
    wanted = answers(task, *batches)
    told = []
    accelerate(task, CPU, compiled=True, batch_size=8, say=told.append)
    with torch.compiler.set_stance("fail_on_recompile"):
        found = answers(task, *batches)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert len(told) == 1 and told[0].startswith("Compiling the network")


@pytest.mark.apart
@pytest.mark.slow
def test_compiled_masks_of_images_of_many_sizes():
    task = segmenter()
    batches = [drawn(2, *size) for size in ((90, 90), (60, 90), (90, 61))]
    wanted = answers(task, *batches)
    accelerate(task, CPU, compiled=True, batch_size=2)
    with torch.compiler.set_stance("fail_on_recompile"):
        found = answers(task, *batches)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def small() -> ClassificationTask:
    return classifier("lenet5", 32)


@pytest.fixture
def no_export(monkeypatch):
    """Nothing can be exported."""

    def export(*_arguments, **_options):
        raise ValueError("exports are off")

    monkeypatch.setattr(torch.export, "export", export)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_second_time_nothing_is_exported(engine, kept, request):
    told = []
    accelerate(small(), CPU, engine=engine, say=told.append)
    assert len(told) == 1 and str(kept) in told[0] and "Preparing the network" in told[0]
    request.getfixturevalue("no_export")
    task, told = small(), []
    images = drawn(3, 32, 32)
    wanted = answers(task, images)
    accelerate(task, CPU, engine=engine, say=told.append)
    torch.testing.assert_close(answers(task, images), wanted, rtol=0, atol=1e-5)
    assert told == []
    other = small()
    with torch.no_grad():
        other.head.linear.bias[3] += 1e-6
    with pytest.raises(UsageError, match=rf"--engine {engine} can't take this network \(ValueError: exports are off\)"):
        accelerate(other, CPU, engine=engine)


def test_a_damaged_graph_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path))
    accelerate(small(), CPU, engine="onnx")
    (file,) = tmp_path.rglob("*.onnx")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    accelerate(small(), CPU, engine="onnx")
    assert len(file.read_bytes()) == len(whole)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_where_no_graph_can_be_kept_it_works_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file"))
    task, images = small(), drawn(2, 32, 32)
    wanted = answers(task, images)
    accelerate(task, CPU, engine="onnx")
    torch.testing.assert_close(answers(task, images), wanted, rtol=0, atol=1e-5)


def test_graphs_lie_in_the_users_folder_for_caches(monkeypatch):
    from foveal.core.engines import engines_folder

    monkeypatch.delenv("FOVEAL_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert engines_folder() == Path("/home/somebody/.cache/foveal/engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert engines_folder() == Path("/caches/foveal/engines")


def test_a_graph_that_answers_otherwise_is_not_used(monkeypatch, tmp_path):
    from foveal.core import engines

    def off(precision):
        start = engines_start(precision)
        return lambda graph, exact: lambda pixels: [answer * 1.01 for answer in start(graph, exact)(pixels)]

    engines_start = engines.RUNTIMES["onnx"]
    monkeypatch.setitem(engines.RUNTIMES, "onnx", off)
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=r"its answers for images of .* pixels are off by up to"):
        accelerate(small(), CPU, engine="onnx")
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.apart
def test_without_a_compiler_compiling_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._inductor import config

    sentence = r"^--compile: torch's compiler fails here .*install a C\+\+ compiler"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(MachineError, match=sentence):
        accelerate(small(), CPU, compiled=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_package_is_named_with_its_command(engine, monkeypatch):
    monkeypatch.setattr(engine_options, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"needs onnx and onnxscript and .*pip install 'foveal\[{engine}\]'"):
        engine_options.check_engine(engine, compiled=False, precision="32", device="auto")


def test_signals_are_heard_when_graphs_have_come_and_gone():
    """In a process of its own: without a stack for them it would end here."""
    code = """
import gc, os, signal
import torch
from foveal.core.data import preprocessing
from foveal.core.engines import accelerate
from foveal.core.options import DataOptions
from foveal.tasks.classification.options import ClassificationOptions
from foveal.tasks.classification.task import ClassificationTask
import faulthandler
faulthandler.enable()  # gives signals a stack of their own, as others may
for size in (28, 32, 36):
    task = ClassificationTask(
        ClassificationOptions(backbone="resnet20"), class_names=["a", "b"],
        preprocessing=preprocessing(DataOptions(size=size)),
    ).eval()
    accelerate(task, torch.device("cpu"), engine="openvino")
    task(torch.zeros(3, 3, size, size, dtype=torch.uint8))
    del task
    gc.collect()
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGTERM)
print("heard", len(heard))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard 1\n"), done.stderr


def test_openvino_reports_to_nobody(tmp_path):
    # Its package's own import leaves a number for the user in HOME/intel, and sends it.
    code = "from foveal.core.runtimes import openvino; import sys; openvino('32'); print([*sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "'openvino'" in done.stdout and "openvino_telemetry'" not in done.stdout
    assert list(tmp_path.iterdir()) == []
