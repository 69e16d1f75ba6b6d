"""The stream of keys: a permutation an epoch, any place to resume at, any number of ranks."""

from collections import Counter
from itertools import chain, islice

import pytest
from torch.utils.data import BatchSampler

from medframe.base.errors import BadArgument
from medframe.data import Key, KeySampler, OnceSampler


def test_every_epoch_is_a_permutation_of_its_own():
    keys = list(islice(KeySampler(7, seed=3), 35))
    for epoch in range(5):
        part = keys[7 * epoch : 7 * epoch + 7]
        assert {k.epoch for k in part} == {epoch}
        assert sorted(k.index for k in part) == list(range(7))
    orders = {tuple(k.index for k in keys[7 * e : 7 * e + 7]) for e in range(5)}
    assert len(orders) > 1
    assert keys != list(islice(KeySampler(7, seed=4), 35))
    sampler = KeySampler(7, seed=3)
    assert list(islice(sampler, 9)) == list(islice(sampler, 9)) == keys[:9]  # iterating leaves no trace
    assert [sampler.key(k) for k in range(35)] == keys


def test_all_places_of_an_epoch_are_as_likely():
    first = Counter(KeySampler(4, seed).key(0).index for seed in range(400))
    assert all(abs(n - 100) < 45 for n in first.values())  # five standard deviations


def test_without_shuffling():
    assert list(KeySampler(3, shuffle=False, stop=5)) == [Key(0, 0), Key(0, 1), Key(0, 2), Key(1, 0), Key(1, 1)]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("start", [0, 4, 6, 13])
def test_ranks_share_the_stream(world, start):
    whole = list(islice(KeySampler(6, 1), start + 30))[start:]
    parts = [list(islice(KeySampler(6, 1, start, None, rank=r, world=world), 30 // world)) for r in range(world)]
    assert [key for row in zip(*parts, strict=True) for key in row] == whole


@pytest.mark.parametrize("stopped_at", range(0, 24, 3))
def test_resuming_continues_the_stream_on_other_ranks(stopped_at):
    whole = list(KeySampler(5, 2, stop=48))
    before = list(KeySampler(5, 2, stop=stopped_at))
    after = [list(KeySampler(5, 2, stopped_at, 48, rank=r, world=3)) for r in range(3)]
    assert before + [key for row in zip(*after, strict=True) for key in row] == whole


def test_every_rank_gets_as_many():
    samplers = [KeySampler(5, stop=11, rank=r, world=3) for r in range(3)]
    assert [len(s) for s in samplers] == [len(list(s)) for s in samplers] == [3, 3, 3]
    with pytest.raises(TypeError, match="endless"):
        len(KeySampler(5))


def test_batches_of_the_stream():
    batches = list(islice(BatchSampler(KeySampler(5, 1), 4, drop_last=False), 3))
    assert [len(b) for b in batches] == [4, 4, 4]  # across the end of an epoch
    assert list(chain(*batches)) == list(islice(KeySampler(5, 1), 12))


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_evaluation_sees_every_case_once(world):
    parts = [list(OnceSampler(7, r, world)) for r in range(world)]
    assert sorted(chain(*parts)) == [Key(0, k) for k in range(7)]
    assert [len(OnceSampler(7, r, world)) for r in range(world)] == [len(p) for p in parts]


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"rank": 2, "world": 2}, {"start": -1}, {"start": 4, "stop": 3}, {"world": 0}]
)
def test_numbers_out_of_their_domain(bad):
    with pytest.raises(BadArgument, match="KeySampler"):
        KeySampler(**{"size": 5, **bad})
