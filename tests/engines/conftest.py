import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors gain nothing from threads, and one thread gives the same bits everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TinyNet(torch.nn.Module):
    """A convolution, batch normalisation and dropout: weights, buffers and chance."""

    def __init__(self, dropout=0.2):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.BatchNorm3d(3), torch.nn.Dropout(dropout)
        )
        self.head = torch.nn.Conv3d(3, 2, 1)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


@pytest.fixture
def tiny_net():
    """A function that makes the same small network every time."""

    def make(seed=0, dropout=0.2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyNet(dropout)

    return make


@pytest.fixture
def batch_at():
    """A function that makes batch k of a stream: sample i depends on i alone."""

    def make(k, size=2, shape=(8, 8, 8)):
        samples = [torch.Generator().manual_seed(1000 + k * size + i) for i in range(size)]
        images = torch.stack([torch.randn(1, *shape, generator=g) for g in samples])
        labels = torch.stack([torch.randint(0, 2, shape, generator=g) for g in samples])
        return {"image": images, "label": labels, "case": [f"case-{k * size + i}" for i in range(size)]}

    return make
