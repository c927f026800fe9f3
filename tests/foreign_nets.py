"""PyTorch denoisers as others write them, for the tests of what scores them."""

import torch

functional = torch.nn.functional


class Functional(torch.nn.Module):
    """Convolutions with F.relu: no activation module."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(1, 6, 3, padding=1)
        self.second = torch.nn.Conv2d(6, 6, 3, padding=1)
        self.last = torch.nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x):
        return self.last(functional.relu(self.second(functional.relu(self.first(x)))))


class Normalized(torch.nn.Module):
    """Batch normalization, dropout and an in-place ReLU; a tuple is returned."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(1, 6, 3, padding=1),
            torch.nn.BatchNorm2d(6),
            torch.nn.ReLU(inplace=True),
            torch.nn.Dropout(0.5),
            torch.nn.Conv2d(6, 1, 3, padding=1),
        )

    def forward(self, x):
        return self.body(x), "something else"


class Shared(torch.nn.Module):
    """One block called twice, whose nonlinearity is functional and behind a normalization."""

    def __init__(self):
        super().__init__()
        self.inside, self.block = torch.nn.Conv2d(1, 6, 1), torch.nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.out = torch.nn.BatchNorm2d(6), torch.nn.Conv2d(6, 1, 1)

    def forward(self, x):
        h = self.inside(x)
        for _ in range(2):
            h = functional.relu(self.norm(self.block(h)))
        return {"sample": self.out(h)}


class Transformer(torch.nn.Module):
    """Patches as tokens, GELU, and the noise level as an argument; predicts the noise."""

    def __init__(self):
        super().__init__()
        self.inside = torch.nn.Linear(16, 8)
        self.level = torch.nn.Linear(1, 8)
        self.block = torch.nn.TransformerEncoderLayer(8, 2, 16, activation=torch.nn.GELU(), batch_first=True)
        self.out = torch.nn.Linear(8, 16)

    def forward(self, x, noise_std):
        tokens = x.reshape(len(x), 4, 16)
        h = self.inside(tokens) + self.level(noise_std[:, None])[:, None]
        return self.out(self.block(h)).reshape(x.shape)


class Residual(torch.nn.Module):
    """A block before whose layers stands a LayerNorm, GELU as a function, one layer rectified in place."""

    def __init__(self):
        super().__init__()
        self.inside, self.norm = torch.nn.Linear(64, 8), torch.nn.LayerNorm(8)
        self.wide, self.narrow = torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)
        self.last, self.out = torch.nn.Linear(8, 8), torch.nn.Linear(8, 64)

    def forward(self, x):
        h = self.inside(x.reshape(len(x), -1))
        h = h + self.narrow(functional.gelu(self.wide(self.norm(h))))
        return self.out(functional.relu(self.last(h), inplace=True)).reshape(x.shape)


def _of_noise(net, y, noise_std):
    return y - noise_std[:, None, None, None] * net(y, noise_std)


FOREIGN = {
    "functional": (Functional, {}, ["first", "second"]),
    "normalized": (Normalized, {}, ["body.2"]),
    "shared": (Shared, {}, ["norm"]),
    "residual": (Residual, {}, ["wide", "narrow", "last"]),
    "transformer": (Transformer, {"predict": _of_noise}, ["block.activation"]),
}
