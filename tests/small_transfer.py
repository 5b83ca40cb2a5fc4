"""The experiment of chapter 10 in small, on the shipped digits: pre-train on the digits 0–6, transfer to 7, 8 and 9."""

import numpy as np

from minivision import data, models, optim, transfer, weights


def only(images, classes):
    """The images of these classes, numbered anew."""
    rows = np.flatnonzero(np.isin(images.labels, classes))
    return data.LabelledImages(images.images[rows], np.searchsorted(classes, images.labels[rows]), tuple(images.classes[c] for c in classes))


def batches(images):
    return data.Batches(images, 16, mean=[0.3], deviation=[0.36], ahead=0)


def experiment(directory, labels, seed, epochs=40):
    """Accuracy on 7, 8, 9 from `labels` examples of each: from scratch, with a frozen body, fine-tuned."""
    learn, test = data.load("digits")

    def fit(model, parameters, images, epochs):
        optimiser, rng, model = optim.SGD(parameters, 0.02, momentum=0.9), np.random.default_rng(1), model.train()
        for _ in range(epochs):
            for x, labels in batches(images).epoch(rng):
                optimiser.zero_grad()
                model.loss(x, labels)["cross_entropy"].backward()
                optimiser.step()

    first, old, new = models.SmallCNN(7, channels=1, size=8, rng=seed), [0, 1, 2, 3, 4, 5, 6], [7, 8, 9]
    fit(first, first.parameters(), only(learn, old), 10)
    weights.save(first, directory / "before.safetensors")
    rest, rng = only(learn, new), np.random.default_rng(seed)
    few = rest.subset(np.concatenate([rng.permutation(np.flatnonzero(rest.labels == k))[:labels] for k in range(3)]))

    def begun():
        model = models.SmallCNN(7, channels=1, size=8, rng=5)
        weights.load(model, directory / "before.safetensors")
        transfer.new_head(model, 3, rng=1)
        return model

    scratch, frozen, tuned = models.SmallCNN(3, channels=1, size=8, rng=seed + 50), begun(), begun()
    transfer.freeze_body(frozen)
    found = []
    for model, parameters in ((scratch, scratch.parameters()), (frozen, frozen.parameters()), (tuned, transfer.groups(tuned, factor=0.3))):
        fit(model, parameters, few, epochs)
        found.append(model.evaluate(batches(only(test, new)))["accuracy"])
    return found
