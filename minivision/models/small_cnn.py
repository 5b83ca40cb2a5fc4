"""The documents' small networks, corrected: C4 and C5 (two convolutions), C3 (three convolutions and dropout)."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import ConvPoolReLU, Dropout, Flatten, Linear, ReLU, Sequential
from minivision.nn.initialisers import small_normal


class SmallCNN(Classifier):
    """Two convolutions, two fully-connected layers (C4: document 002 §4.1; C5: document 003 §4.1).

        conv 3×3, 32 → pool 2 → ReLU → conv 3×3, 64 → pool 2 → ReLU → fc 128 → ReLU → fc classes

    (N,channels,size,size) → scores (N,classes), size a multiple of 4; with 32² images the first fully-connected layer
    has 64·8·8 inputs, not the 64·6·6 that C5 prints (E33).

    The documents rectify before they pool. The largest of rectified pixels is the rectified largest pixel, so this order
    gives the same numbers; and since no pixel is rectified that pooling drops, a layer does all three in one pass.
    """

    def __init__(self, classes=10, channels=3, size=32, *, rng=0):
        if size % 4 or size < 4:
            raise ValueError(f"size is {size}; the network halves the image twice, so it must be a multiple of 4")
        rng = as_rng(rng)
        self.conv1 = ConvPoolReLU(channels, 32, 3, padding=1, rng=rng)
        self.conv2 = ConvPoolReLU(32, 64, 3, padding=1, rng=rng)
        self.relu, self.flatten = ReLU(), Flatten()
        self.fc1 = Linear(64 * (size // 4) ** 2, 128, rng=rng)
        self.fc2 = Linear(128, classes, rng=rng, initialise=small_normal)

    def forward(self, x):
        x = self.conv2(self.conv1(x))
        x = self.relu(self.fc1(self.flatten(x)))
        return self.fc2(x)


class ThreeConvCNN(Classifier):
    """Three unpadded convolutions and dropout (C3: document 001 §4.1).

        (conv 3×3 → pool 2 → ReLU) with 32, 64, 128 filters → fc 512 → ReLU → dropout ½ → fc classes

    (N,channels,size,size) → scores (N,classes). With 224² images and 10 classes it has 44 401 226 parameters, 99.8 % of
    them between the 26·26·128 flattened numbers and the 512 (E17). The document's softmax layer is in the loss (E16).
    """

    def __init__(self, classes=10, channels=3, size=224, *, hidden=512, rng=0):
        rng, side = as_rng(rng), size
        for _ in range(3):
            side = (side - 2) // 2          # an unpadded 3×3 takes two pixels, the pool halves
        if side < 1:
            raise ValueError(f"size is {size}; three times (n − 2)/2 leaves no pixel: 22 is the smallest")
        widths = (channels, 32, 64, 128)
        self.features = Sequential(*(ConvPoolReLU(i, o, 3, rng=rng) for i, o in zip(widths, widths[1:])))
        self.head = Sequential(Flatten(), Linear(128 * side * side, hidden, rng=rng), ReLU(), Dropout(0.5, rng=rng),
                               Linear(hidden, classes, rng=rng, initialise=small_normal))

    def forward(self, x):
        return self.head(self.features(x))
