"""The peers of `models/resnet_cifar.py` and `models/resnet.py` in PyTorch, written as its users write them."""

from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, projection):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu, self.stride, self.extra, self.project = nn.ReLU(inplace=True), stride, outputs - inputs, None
        if projection and (stride > 1 or inputs != outputs):
            self.project = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.project is not None:
            x = self.project(x)
        elif self.extra:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.extra // 2, self.extra // 2))
        return self.relu(y + x)


def stage(inputs, outputs, blocks, stride, projection):
    return [Block(inputs if i == 0 else outputs, outputs, stride if i == 0 else 1, projection) for i in range(blocks)]


def resnet20(classes=10):
    return nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
                         *stage(16, 16, 3, 1, False), *stage(16, 32, 3, 2, False), *stage(32, 64, 3, 2, False),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def resnet18(classes=1000):
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
                         *stage(64, 64, 2, 1, True), *stage(64, 128, 2, 2, True), *stage(128, 256, 2, 2, True),
                         *stage(256, 512, 2, 2, True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
