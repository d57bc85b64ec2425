"""A foveal backbone under a plain PyTorch head, without Lightning: handwritten digits, told apart in a minute."""

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from foveal.backbones import create_backbone

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
images = F.interpolate(torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), size=16)
labels = torch.tensor(labels)

backbone = create_backbone("resnet20", in_channels=1)  # maps of 16, 32 and 64 channels
head = torch.nn.Linear(backbone.channels[-1], 10)
parameters = [*backbone.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, momentum=0.9)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, epochs=4, steps_per_epoch=47)

for epoch in range(4):
    for batch in torch.randperm(1500).split(32):
        logits = head(backbone(images[batch])[-1].mean(dim=(2, 3)))
        optimizer.zero_grad()
        F.cross_entropy(logits, labels[batch]).backward()
        optimizer.step()
        schedule.step()
    backbone.eval()
    with torch.no_grad():
        right = head(backbone(images[1500:])[-1].mean(dim=(2, 3))).argmax(1) == labels[1500:]
    backbone.train()
    print(f"epoch {epoch + 1}: {right.float().mean():.1%} of 297 unseen digits right")
