"""Each image once per epoch, over all ranks, in an order that seed and epoch alone decide."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mnist_lab.data import TensorLoader

numbers = st.integers(1, 60)
seeds = st.integers(0, 2**32 - 1)


def loader(n, batch_size=4, **kwargs):
    labels = torch.arange(n)
    return TensorLoader(labels.int().view(n, 1, 1, 1), labels, batch_size, **kwargs)


def epoch(loader):
    """The labels of each batch; images must go with them."""
    batches = []
    for images, labels in loader:
        assert torch.equal(images.flatten().long(), labels)
        batches.append(labels.tolist())
    return batches


def global_epoch(n, batch_size, world_size, **kwargs):
    """Each batch of all ranks together, put back in the order that they were dealt from."""
    ranks = [
        epoch(loader(n, batch_size, rank=r, world_size=world_size, **kwargs))
        for r in range(world_size)
    ]
    batches = []
    for parts in zip(*ranks, strict=True):
        batch = [None] * sum(len(part) for part in parts)
        for rank, part in enumerate(parts):
            batch[rank::world_size] = part
        batches.append(batch)
    return batches


def flat(batches):
    return [label for batch in batches for label in batch]


def check_ranks(n, batch_size, world_size, shuffle):
    ranks = [
        loader(n, batch_size, rank=r, world_size=world_size, shuffle=shuffle)
        for r in range(world_size)
    ]
    for _ in range(2):
        seen = [epoch(each) for each in ranks]
        assert sorted(flat(flat(seen))) == list(range(n))
        assert [len(batches) for batches in seen] == [len(each) for each in ranks]
        assert len({len(each) for each in ranks}) == 1
        assert all(batch for batches in seen for batch in batches)


@given(numbers, numbers, st.integers(1, 8), st.booleans())
def test_each_image_once_over_ranks_that_step_together(n, batch_size, world_size, shuffle):
    assume(n >= world_size and batch_size >= world_size)
    check_ranks(n, batch_size, world_size, shuffle)


def test_a_batch_must_hold_an_image_for_each_rank():
    with pytest.raises(ValueError, match="batch_size=3 is less than one image for each process"):
        loader(10, 3, world_size=4)


@given(numbers, numbers)
def test_one_rank_has_the_usual_batches(n, batch_size):
    parts = [part.tolist() for part in torch.arange(n).split(batch_size)]
    if batch_size > 1 and len(parts) > 1 and len(parts[-1]) == 1:  # no batch of a single image
        parts[-2:] = [parts[-2] + parts[-1]]
    assert epoch(loader(n, batch_size)) == parts
    assert len(loader(n, batch_size)) == len(parts)


@given(numbers, numbers, st.integers(1, 8), seeds)
def test_global_batches_are_the_same_over_any_number_of_ranks(n, batch_size, world_size, seed):
    assume(n >= world_size and batch_size >= world_size)
    alone = global_epoch(n, batch_size, 1, shuffle=True, seed=seed)
    shared = global_epoch(n, batch_size, world_size, shuffle=True, seed=seed)
    if 1 < n % batch_size < world_size and n > batch_size:
        # Too few for the ranks: they join the batch before them, as a single one does anyway.
        alone[-2:] = [alone[-2] + alone[-1]]
    assert shared == alone


@given(numbers, numbers, numbers, seeds)
def test_order_depends_on_seed_and_epoch_alone(n, one_size, other_size, seed):
    one = loader(n, one_size, shuffle=True, seed=seed)
    other = loader(n, other_size, shuffle=True, seed=seed)
    torch.manual_seed(seed)
    first = [flat(epoch(one)) for _ in range(3)]
    torch.rand(1)
    assert [flat(epoch(other)) for _ in range(3)] == first


def test_order_differs_between_epochs_and_seeds():
    orders = set()
    for seed in range(5):
        shuffled = loader(40, shuffle=True, seed=seed)
        orders |= {tuple(flat(epoch(shuffled))) for _ in range(5)}
    assert len(orders) == 25
    assert tuple(range(40)) not in orders


def test_order_is_the_same_for_ever():
    shuffled = loader(8, shuffle=True, seed=7)
    golden = [[1, 7, 5, 6, 4, 3, 2, 0], [6, 7, 2, 3, 5, 0, 1, 4]]
    assert [flat(epoch(shuffled)) for _ in range(2)] == golden


@given(numbers, numbers)
def test_order_is_kept_without_shuffle(n, batch_size):
    plain = loader(n, batch_size)
    assert [flat(epoch(plain)) for _ in range(2)] == [list(range(n))] * 2


@given(numbers, numbers, st.booleans(), st.integers(0, 3), seeds, st.data())
def test_a_fresh_loader_continues_where_another_stopped(n, size, shuffle, done, seed, data):
    whole = loader(n, size, shuffle=shuffle, seed=seed)
    expected = [epoch(whole) for _ in range(done + 3)]

    stopped = loader(n, size, shuffle=shuffle, seed=seed)
    for _ in range(done):
        epoch(stopped)
    batches = iter(stopped)
    seen = data.draw(st.integers(0, len(stopped)))
    for _ in range(seen):
        next(batches)

    fresh = loader(n, size, shuffle=shuffle, seed=seed)
    fresh.load_state_dict(stopped.state_dict())
    # Of an epoch that was complete nothing remains: the next one comes.
    rest = [expected[done][seen:]] if seen < len(stopped) else []
    assert [epoch(fresh) for _ in range(len(rest) + 2)] == rest + expected[done + 1 :]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_state_taken_before_any_epoch_continues_with_the_first(shuffle):
    expected = loader(10, shuffle=shuffle)
    fresh = loader(10, shuffle=shuffle)
    fresh.load_state_dict(loader(10, shuffle=shuffle).state_dict())
    assert [epoch(fresh) for _ in range(2)] == [epoch(expected) for _ in range(2)]


def test_a_state_can_be_saved_again_before_it_is_used():
    stopped = loader(10, shuffle=True)
    next(iter(stopped))
    between = loader(10, shuffle=True)
    between.load_state_dict(stopped.state_dict())
    assert between.state_dict() == stopped.state_dict() == {"epoch": 0, "position": 1}
    fresh = loader(10, shuffle=True)
    fresh.load_state_dict(between.state_dict())
    assert epoch(fresh) == epoch(loader(10, shuffle=True))[1:]


def test_stopping_at_the_length_advances_the_epoch():
    whole = loader(10, shuffle=True)
    expected = [epoch(whole) for _ in range(3)]
    counting = loader(10, shuffle=True)
    for batches in expected:
        generator = iter(counting)
        # The generator is never asked for more than len() promises, so it never finishes.
        assert [next(generator)[1].tolist() for _ in range(len(counting))] == batches


def test_breaking_off_an_epoch_advances_it():
    whole = loader(10, shuffle=True)
    expected = [epoch(whole) for _ in range(2)]
    broken = loader(10, shuffle=True)
    next(iter(broken))
    continued = loader(10, shuffle=True)
    continued.load_state_dict(broken.state_dict())
    assert epoch(broken) == expected[1]
    next(iter(continued))
    assert epoch(continued) == expected[1]
