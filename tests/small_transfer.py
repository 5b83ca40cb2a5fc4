"""The experiment of chapter 10 in small, on the shipped digits: learn which digit it is, transfer to odd or even."""

import numpy as np

from minivision import data, models, optim, transfer, weights


def parity(images):
    return data.LabelledImages(images.images, images.labels % 2, ("even", "odd"))


def batches(images):
    return data.Batches(images, 16, mean=[0.3], deviation=[0.36], ahead=0)


def fit(model, parameters, images, epochs):
    optimiser, rng, model = optim.SGD(parameters, 0.02, momentum=0.9), np.random.default_rng(1), model.train()
    for _ in range(epochs):
        for x, labels in batches(images).epoch(rng):
            optimiser.zero_grad()
            model.loss(x, labels)["cross_entropy"].backward()
            optimiser.step()


def first_task(path):
    """Save a network that knows the ten digits."""
    model = models.SmallCNN(10, channels=1, size=8, rng=0)
    fit(model, model.parameters(), data.load("digits")[0], 10)
    weights.save(model, path)


def second_task(path, labels, seed, epochs=40):
    """Accuracy on odd or even from `labels` examples of each digit: from scratch, with a frozen body, fine-tuned."""
    learn, test = data.load("digits")
    rng = np.random.default_rng(seed)
    few = parity(learn.subset(np.concatenate([rng.permutation(np.flatnonzero(learn.labels == k))[:labels] for k in range(10)])))

    def begun():
        model = models.SmallCNN(10, channels=1, size=8, rng=5)
        weights.load(model, path)
        transfer.new_head(model, 2, rng=seed)
        return model

    scratch, frozen, tuned = models.SmallCNN(2, channels=1, size=8, rng=seed + 50), begun(), begun()
    transfer.freeze_body(frozen)
    found = []
    for model, parameters in ((scratch, scratch.parameters()), (frozen, frozen.parameters()), (tuned, transfer.groups(tuned, factor=0.3))):
        fit(model, parameters, few, epochs)
        found.append(model.evaluate(batches(parity(test)))["accuracy"])
    return found
