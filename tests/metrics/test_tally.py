import pytest
import torch
from torch.nn import functional

from mnist_lab.metrics.tally import Tally


def batches(count: int):
    """Random logits and labels; the last batch is a smaller one."""
    torch.manual_seed(0)
    sizes = [8] * (count - 1) + [3]
    return [(torch.randn(size, 4), torch.randint(4, (size,))) for size in sizes]


def add(tally: Tally, parts, first: int = 0) -> None:
    for index, (logits, labels) in enumerate(parts, first):
        tally.add(functional.cross_entropy(logits, labels), logits, labels, index)


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_totals_are_those_of_all_images(count):
    tally, parts = Tally(), batches(count)
    add(tally, parts)
    logits, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    hits = (logits.argmax(1) == labels).sum()
    expected = torch.stack([loss, hits, torch.tensor(len(labels))])
    torch.testing.assert_close(tally.totals(), expected)
    torch.testing.assert_close(tally.totals(), expected)  # looking at them changes nothing
    tally.reset()
    assert tally.totals().tolist() == [0, 0, 0]


@pytest.mark.parametrize("cut", [0, 30, 100, 130, 200])
def test_continued_it_gives_bitwise_the_same(cut):
    whole, begun, continued = Tally(), Tally(), Tally()
    parts = batches(230)
    add(whole, parts)
    add(begun, parts[:cut])
    continued.restore(begun.state())
    add(continued, parts[cut:], first=cut)
    assert torch.equal(continued.totals(), whole.totals())


def test_continued_on_another_device():
    begun, continued = Tally(), Tally()
    add(begun, batches(30))
    continued.restore(begun.state())  # Lightning moves a model only after it was restored
    continued.to("meta")
    logits, labels = torch.zeros(8, 4, device="meta"), torch.zeros(8, device="meta").long()
    continued.add(torch.zeros((), device="meta"), logits, labels, 30)
    assert continued.totals().is_meta
    assert all(part.device.type == "cpu" for part in begun.state()["uncounted"])
