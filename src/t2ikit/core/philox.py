"""Philox4x32-10, a counter-based generator: four random words are a function of a counter and a key.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), and its library Random123.

Words of 32 bits are held in int64, whose products wrap around. Bits above the 32nd are cleared only where
they would count: before a product, and in the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
"""What the two words of the key grow by in each round."""
MASK = 0xFFFFFFFF


def philox(block: Tensor, number: int, low: Tensor, high: Tensor, key: tuple[int, int]) -> Tensor:
    """Random words (4, B, N) in [0, 2^32), int64: words 0, 2, 1 and 3 of Random123, in this order.

    Args:
        block: (N,) int64 in [0, 2^32), word 0 of the counter.
        number: word 1 of the counter.
        low, high: (B, 1) int64, words 2 and 3; only their low 32 bits count.
        key: two words.
    """
    if torch.compiler.is_compiling():  # a compiler makes one kernel of plain formulas
        return _plain(block.expand(len(low), -1), number, low.expand(-1, len(block)), high, key)
    words = torch.empty(4, len(low), len(block), dtype=torch.int64, device=block.device)
    words[0], words[1] = block, low & MASK
    spare = torch.empty_like(words[2:])
    if type(words) is Tensor and words.device.type == "cpu":  # NumPy starts an operation in less time
        constants = _constants(key, np, {"dtype": np.int64})
        _stacked(np, np.right_shift, words.numpy(), spare.numpy(), number, high.numpy(), constants)
    else:
        constants = _constants(key, torch, {"device": block.device})
        _stacked(torch, torch.bitwise_right_shift, words, spare, number, high, constants)
    return words


def _plain(block: Tensor, number: int, low: Tensor, high: Tensor, key: tuple[int, int]) -> Tensor:
    """The four words one by one."""
    words: list[Any] = [block, number, low & MASK, high]
    for i in range(ROUNDS):
        even, odd = (word + i * step for word, step in zip(key, WEYL))
        p, q = words[0] * MULTIPLIERS[0], words[2] * MULTIPLIERS[1]
        words = [((q >> 32) ^ words[1] ^ even) & MASK, q, ((p >> 32) ^ words[3] ^ odd) & MASK, p]
    return torch.stack([words[place] & MASK for place in (0, 2, 1, 3)])


def _stacked(
    xp: Any, shift: Callable[..., Any], words: Any, spare: Any, number: int, high: Any, constants: Any
) -> None:
    """The same, both products of a round in one operation; they change places in every round.

    Args:
        xp: torch or NumPy.
        shift: its shift to the right.
        words: (4, B, N), words 0 and 2 of the counter in the first half; the result.
        spare: (2, B, N), room for products.
        number, high: words 1 and 3 of the counter.
        constants: as `_constants` gives them.
    """
    multipliers, keys = constants
    factors, products, addends = words[:2], words[2:], (number, high)
    upper, lower = factors
    for i in range(ROUNDS):
        products, spare = spare, products
        xp.multiply(factors, multipliers[i % 2], out=products)
        shift(products, 32, out=factors)
        upper ^= addends[1]
        lower ^= addends[0]
        factors ^= keys[i]
        factors &= MASK
        addends = products
    products &= MASK


def _constants(key: tuple[int, int], xp: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Multipliers (2, 2, 1, 1) of even and odd rounds, and keys (10, 2, 1, 1); no copy from the host."""

    def steps(start: int, step: int, count: int) -> Any:
        return xp.arange(start, start + count * step, step, **options)

    first, second = MULTIPLIERS
    multipliers = xp.stack([steps(first, second - first, 2), steps(second, first - second, 2)])
    even, odd = (steps(word, step, ROUNDS) for word, step in zip(key, WEYL))
    is_odd = steps(0, 1, ROUNDS) % 2 == 1
    keys = xp.stack([xp.where(is_odd, even, odd), xp.where(is_odd, odd, even)], 1)
    return multipliers[..., None, None], keys[..., None, None]
