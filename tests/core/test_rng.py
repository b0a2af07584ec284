import math

import pytest
import torch
from scipy import stats

from t2ikit import Draws
from t2ikit.core import philox as implementation
from t2ikit.core.philox import MASK, philox
from t2ikit.core.rng import normal

# Random123's kat_vectors: counter, key, result.
PUBLISHED = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
KEYS = torch.tensor([5, -1, 2**62 + 3, 6, -(2**40), 7])


def of_torch(block, number, low, high, key):
    """The form of other devices, here on the CPU."""
    words = torch.empty(4, len(low), len(block), dtype=torch.int64)
    words[0], words[1] = block, low & MASK
    constants = implementation._constants(key, torch, {})
    shift = torch.bitwise_right_shift
    implementation._stacked(torch, shift, words, torch.empty_like(words[2:]), number, high, constants)
    return words


def plain(block, number, low, high, key):
    block, low, high = torch.broadcast_tensors(block, low, high)
    return implementation._plain(block, number, low, high, key)


FORMS = pytest.mark.parametrize("form", [philox, of_torch, plain])


def slow(counter, key):
    """The paper's algorithm in Python's integers."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q % 2**32, (p >> 32) ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return [a, b, c, d]


def words_of(form, counter, key):
    block, number, low, high = counter
    found = form(torch.tensor([block]), number, torch.tensor([[low]]), torch.tensor([[high]]), key)
    return found[[0, 2, 1, 3]].flatten().tolist()


@FORMS
@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_the_published_vectors(form, counter, key, expected):
    numbers = [[int(word, 16) for word in words.split()] for words in (counter, key, expected)]
    assert words_of(form, numbers[0], tuple(numbers[1])) == numbers[2]


@FORMS
def test_as_the_slow_one(form):
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        *counter, k, m = torch.randint(2**32, (6,), generator=generator).tolist()
        assert words_of(form, counter, (k, m)) == slow(counter, (k, m))


@FORMS
def test_many_samples_and_blocks(form):
    keys = KEYS[:, None]
    found = form(torch.arange(5), 3, keys, keys >> 32, (1, 2))
    assert found.shape == (4, 6, 5)
    for row, key in enumerate(KEYS.tolist()):
        for block in range(5):
            expected = slow((block, 3, key % 2**32, (key >> 32) % 2**32), (1, 2))
            assert found[[0, 2, 1, 3], row, block].tolist() == expected


def every(draws):
    other = draws.named("other")
    return [
        draws.randn(3, 5, 5), draws.rand(7), draws.rand(), draws.randint(9, 2), draws.randn(), other.randn(33)
    ]  # fmt: skip


def equal(ours, theirs):
    return all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("numbers", ["counter", "torch"])
def test_shapes_ranges_and_repetition(numbers):
    found = every(Draws(KEYS, "a", numbers=numbers))
    assert [tuple(one.shape) for one in found] == [(6, 3, 5, 5), (6, 7), (6,), (6, 2), (6,), (6, 33)]
    assert [one.dtype for one in found] == [torch.float32] * 3 + [torch.int64] + [torch.float32] * 2
    assert equal(found, every(Draws(KEYS, "a", numbers=numbers)))
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        assert equal([one[part] for one in found], every(Draws(KEYS, "a", numbers=numbers)[part]))
        assert equal([one[part] for one in found], every(Draws(KEYS[part], "a", numbers=numbers)))


@pytest.mark.parametrize("size", [1, 2, 3, 12, 75, 1003, 3072])
def test_normal_numbers_of_a_micro_batch_are_bit_equal(size):
    keys = torch.arange(8)
    whole = Draws(keys, 0).randn(size)
    for count in (1, 3, 8):
        parts = [Draws(keys[start : start + count], 0).randn(size) for start in range(0, 8, count)]
        assert torch.equal(torch.cat(parts), whole)


def test_everything_that_tells_numbers_apart_does():
    draws = Draws(KEYS, "a")
    streams = [draws, draws.named("x"), draws.named("y"), draws.named("x").named("y"), Draws(KEYS, "b")]
    streams += [Draws(KEYS, 0), Draws(KEYS, "0"), Draws(KEYS + 2**32, "a")]
    found = [stream.rand(4) for stream in streams] + [streams[0].rand(4)]
    rows = {tuple(row) for one in found for row in one.tolist()}
    assert len(rows) == len(found) * len(KEYS)


def test_compiled_without_a_break_or_recompilation():
    def made(keys):
        draws = Draws(keys, "0/generator").named("x")
        return draws.randn(3, 5, 5), draws.rand(), draws.spread(), draws.named("y")[1:3].randint(9, 2)

    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for keys in (KEYS, KEYS + 1, KEYS * 3):
            assert equal(compiled(keys), made(keys))


def test_uniform_numbers():
    u = Draws(torch.arange(200), "u").rand(1000)
    assert u.min() >= 0
    assert u.max() < 1
    assert (u * 2**24).frac().abs().max() == 0
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(u[:, 0].numpy(), "uniform").pvalue > 1e-3  # across samples, at one place


def test_spread_numbers_are_evenly_spread_and_belong_to_the_sample():
    keys = torch.arange(2**31 - 500, 2**31 + 500)
    draws = Draws(keys, "u")
    found = draws.spread()
    assert found.dtype == torch.float32
    assert torch.equal(found, draws.spread())
    assert torch.equal(found[7:23], draws[7:23].spread())
    for stream in (draws.named("x"), Draws(keys, "v"), Draws(keys, 0)):
        assert (found - stream.spread()).abs().min() > 0
    # The golden ratio's multiples, in float64, from wherever they begin.
    steps = torch.arange(1000, dtype=torch.float64) * (math.sqrt(5) - 1) / 2
    offset = found[0].double()
    torch.testing.assert_close(found.double(), (steps + offset).frac(), atol=1e-6, rtol=0)
    # Each of 8 intervals holds 1 to 3 of 16 samples; by chance, one of them would often be empty.
    for start in range(0, 984, 41):
        counts = torch.histc(found[start : start + 16], 8, 0, 1)
        assert counts.min() >= 1
        assert counts.max() <= 3


def test_a_mean_over_spread_numbers_has_less_variance():
    keys = torch.arange(16 * 500)
    means = [x.reshape(500, 16).mean(1).var() for x in (Draws(keys, "u").spread(), Draws(keys, "u").rand())]
    assert means[0] < 0.2 * means[1]


def test_normal_numbers():
    z = Draws(torch.arange(200), "z").randn(1000).double()
    n = z.numel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((z**power).mean()) - moment) < 4 * math.sqrt(variance / n)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3


def test_whole_numbers():
    found = Draws(torch.arange(100), "i").randint(7, 700)
    counts = torch.bincount(found.flatten(), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    with pytest.raises(ValueError, match="high"):
        Draws(KEYS, 0).randint(0)


def test_neighbours_are_independent():
    n, keys = 20_000, torch.arange(9)
    draws, other, salted = Draws(keys, "a"), Draws(keys, "a").named("x"), Draws(keys, "b")
    rows = torch.cat([draws.randn(n), draws.randn(n), other.randn(n), salted.randn(n)])
    found = torch.corrcoef(rows) - torch.eye(len(rows))
    assert found.abs().max() < 5 / math.sqrt(n)
    lagged = torch.corrcoef(torch.stack([rows[:, :-1].flatten(), rows[:, 1:].flatten()]))
    assert lagged[0, 1].abs() < 5 / math.sqrt(rows.numel())


def test_the_normal_transform_against_float64():
    words = torch.tensor([0, 1, 2**31, 2**32 - 1, 123456789, 3 * 2**30, 2**24 + 1, 77]).view(4, 1, 2)
    words = torch.cat([words, philox(torch.arange(1000), 0, KEYS[:1, None], KEYS[:1, None], (3, 4))], 2)
    u, angle = (words[:2].double() + 1) / 2**32, words[2:].double() * (2 * math.pi / 2**32)
    radius = (-2 * u.log()).sqrt()
    expected = torch.cat([radius * angle.cos(), radius * angle.sin()])
    assert (normal(words) - expected).abs().max() < 5e-6
    assert normal(words).isfinite().all()


def test_numbers_of_earlier_versions():
    draws = Draws(torch.arange(2), "a", numbers="torch").named("b")
    expected = torch.tensor(
        [[-0.29953163862228394, 0.6664385199546814], [-0.21596334874629974, -0.30232474207878113]]
    )
    assert torch.allclose(draws.randn(2), expected)
    assert draws.randint(9).tolist() == [1, 5]
    assert torch.allclose(draws.rand(), torch.tensor([0.4046946167945862, 0.08967220783233643]))
