import pytest

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")
from sj_train.fit.data.sampler import EpochSampler, mix_seed


def test_an_epoch_visits_every_sample_once_in_an_order_of_seed_and_epoch_alone():
    sampler = EpochSampler(101, shuffle=True, seed=3)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(101))
        assert orders[-1] == list(sampler)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    fresh = EpochSampler(101, shuffle=True, seed=3)
    fresh.set_epoch(2)
    assert list(fresh) == orders[2]
    assert list(EpochSampler(101, shuffle=True, seed=4)) != orders[0]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 6, 13])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_samples(size, world, shuffle):
    parts = [EpochSampler(size, shuffle=shuffle, rank=rank, world=world) for rank in range(world)]
    drawn = [list(part) for part in parts]
    assert [len(part) for part in parts] == [len(indices) for indices in drawn]
    together = sorted(index for indices in drawn for index in indices)
    if shuffle:
        assert len({len(indices) for indices in drawn}) == 1
        assert set(together) == set(range(size))
    else:
        assert together == list(range(size))


def test_a_rank_outside_the_world_is_an_error():
    with pytest.raises(ValueError, match=r"`rank` \(=2\)"):
        EpochSampler(4, shuffle=False, rank=2, world=2)


def test_mixed_seeds_differ_in_every_part():
    seeds = {mix_seed(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 512
    assert all(0 <= seed < 1 << 63 for seed in seeds)
