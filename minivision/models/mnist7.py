"""A published digit network whose weights and answers we did not make: a test of the whole forward pass."""

from minivision.models.classifier import Classifier
from minivision.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from minivision.weights import read_safetensors


class MNIST7(Classifier):
    """The ONNX model zoo's MNIST-7: (N,1,28,28), white on black, pixels in [0, 1] → scores (N,10).

        conv 5×5, 8 → ReLU → pool 2 → conv 5×5, 16 → ReLU → pool 3 → fc 10          (5 994 parameters)
    """

    def __init__(self, *, rng=0):
        self.conv1 = Conv2d(1, 8, 5, padding=2, rng=rng)
        self.conv2 = Conv2d(8, 16, 5, padding=2, rng=rng)
        self.pool2, self.pool3, self.relu, self.flatten = MaxPool2d(2), MaxPool2d(3), ReLU(), Flatten()
        self.fc = Linear(16 * 4 * 4, 10, rng=rng)

    @classmethod
    def from_file(cls, path):
        """The network with the zoo's weights, whose fully-connected matrix is stored (inputs, outputs)."""
        state = read_safetensors(path)
        model = cls()
        model.load_state(state | {"fc.weight": state["fc.weight"].T} if "fc.weight" in state else state)
        return model.eval()

    def forward(self, x):
        x = self.pool2(self.relu(self.conv1(x)))
        x = self.pool3(self.relu(self.conv2(x)))
        return self.fc(self.flatten(x))
