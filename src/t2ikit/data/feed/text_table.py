"""Embeddings of the captions met lately, each encoded once, in tensors that a step gathers from.

Letters: M texts that there is room for, n captions of a call, L tokens, D text width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.interfaces import TextEncoder
from t2ikit.data.feed.inputs import to_device


class TextTable:
    """A table of embeddings that forgets the captions asked for longest ago.

    Args:
        encoder: of the captions.
        device: where the table lies.
        room: bytes it may take; at least `least` captions have room.
        least: the most captions of one call.
    """

    def __init__(self, encoder: TextEncoder, device: torch.device, room: int, least: int) -> None:
        self.encoder, self.device = encoder, device
        empty = encoder.encode([""])
        each = sum(part.numel() * part.element_size() for part in (empty.tokens, empty.mask, empty.pooled))
        self.count = max(least, room // each)
        tensors = (part.new_empty(self.count, *part.shape[1:], device=device) for part in parts(empty))
        self.embeddings = TextEmbedding(*tensors)
        self._rows: OrderedDict[str, int] = OrderedDict()

    def rows(self, captions: Sequence[str]) -> Tensor:
        """Where the captions are in `embeddings`, (n,) long, on the CPU; those that were not are now."""
        missing = []
        for caption in dict.fromkeys(captions):
            if caption in self._rows:
                self._rows.move_to_end(caption)
            else:
                missing.append(caption)
        if missing:
            self._add(missing)
        return torch.tensor([self._rows[caption] for caption in captions])

    def _add(self, captions: list[str]) -> None:
        found = dict(zip(("tokens", "mask", "pooled"), parts(self.encoder.encode(captions)), strict=True))
        for caption in captions:
            full = len(self._rows) == self.count
            self._rows[caption] = self._rows.popitem(last=False)[1] if full else len(self._rows)
        rows = torch.tensor([self._rows[caption] for caption in captions])
        sent = to_device({"rows": rows, **found}, self.device)
        for table, name in zip(parts(self.embeddings), found, strict=True):
            table.index_copy_(0, sent["rows"], sent[name].to(self.device))


def parts(text: TextEmbedding) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask and pooled vectors of an embedding."""
    return text.tokens, text.mask, text.pooled
