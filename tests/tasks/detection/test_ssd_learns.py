"""SSD and SSDLite learn a few drawn images by heart."""

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.detection.metrics import DetectionMetrics

SIZE, IMAGES, STEPS = 128, 16, 130


def drawn_images():
    """Normalised images, what is to be found on them, hardly visible objects aside, and the names of the classes."""
    world = ShapesWorld("detection", "train", images=IMAGES, size=SIZE)
    samples = [world[number] for number in range(IMAGES)]
    images = torch.stack([torch.from_numpy(sample["image"]) for sample in samples]).permute(0, 3, 1, 2) / 255
    keys = ("boxes", "labels", "crowd", "difficult")
    truths = [{key: torch.from_numpy(sample[key][~sample["difficult"]]) for key in keys} for sample in samples]
    return (images - 0.45) / 0.225, truths, world.class_names


@pytest.mark.slow  # a minute each on one core
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["ssd", "ssdlite"])
def test_sixteen_images_by_heart(build_detector, name):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, truths, class_names = drawn_images()
    backbone, head = build_detector(name, "mobilenet_v2", num_classes=len(class_names), size=SIZE)

    weights = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        chosen = torch.randperm(IMAGES)[:8].tolist()
        batch = images[chosen]
        outputs = head(backbone(batch), ImageList(batch, [(SIZE, SIZE)] * 8))
        loss = torch.stack(list(head.losses(outputs, [truths[number] for number in chosen]).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 10)
        optimizer.step()
        schedule.step()

    metrics = DetectionMetrics(class_names)
    with torch.no_grad():
        outputs = head.eval()(backbone.eval()(images), ImageList(images, [(SIZE, SIZE)] * IMAGES))
    metrics.update([found._asdict() for found in head.detect(outputs)], truths)
    assert metrics.compute().numbers["ap50"] > 0.95
