"""Batches are a function of (seed, step, rank): every image meets its caption, and wrong ones are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from conftest import make_toy
from t2ikit import UserError
from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset
from t2ikit.data.loader import BatchLoader
from t2ikit.text.builtin import default_encoder


class Tagged(Dataset):
    """Image i is filled with i; its captions carry i, and some captions are shared."""

    def __init__(self, count: int = 23) -> None:
        self.count = count

    def size(self, split):
        return self.count

    def record(self, split, index):
        image = torch.full((3, 8, 8), index, dtype=torch.uint8)
        return Record(image, self.captions(split, index), str(index))

    def captions(self, split, index):
        return (f"image {index}", f"shared {index % 3}")

    def prompts(self, n, seed):
        return [f"image {i}" for i in range(n)]

    @property
    def fingerprint(self):
        return "tagged"


def owners(caption: str, count: int) -> set[int]:
    kind, number = caption.split()
    return {int(number)} if kind == "image" else {i for i in range(count) if i % 3 == int(number)}


def test_every_image_meets_its_caption_and_wrong_captions_are_wrong():
    data = Tagged()
    loader = BatchLoader(data, seed=5, batch=8)
    wrong, accidental = 0, 0
    for step in range(60):
        batch = loader[step]
        for i in range(8):
            index = int(batch.images[i, 0, 0, 0])
            assert index in owners(batch.captions[i], 23)
            assert batch.all_captions[batch.caption_index[i]] == batch.captions[i]
            truly_wrong = index not in owners(batch.wrong[i], 23)
            assert bool(batch.mismatch_mask[i]) == truly_wrong or not batch.mismatch_mask[i]
            if batch.mismatch_mask[i]:
                assert truly_wrong
                wrong += 1
            accidental += not truly_wrong
    assert wrong > 200
    assert accidental > 20  # the case does come up


def test_every_epoch_shows_every_image_once():
    loader = BatchLoader(Tagged(24), seed=1, batch=8)
    epochs = [
        [int(image[0, 0, 0]) for step in range(3 * e, 3 * e + 3) for image in loader[step].images]
        for e in (0, 1)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(24))
    assert epochs[0] != epochs[1]


def test_ranks_share_one_batch_and_its_captions():
    whole = BatchLoader(Tagged(), seed=2, batch=8)[3]
    parts = [BatchLoader(Tagged(), seed=2, batch=8, rank=rank, world=2)[3] for rank in (0, 1)]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.keys for part in parts]), whole.keys)
    assert torch.equal(torch.cat([part.caption_index for part in parts]), torch.arange(8))
    assert parts[0].all_captions == parts[1].all_captions == whole.all_captions
    assert parts[0].wrong + parts[1].wrong == whole.wrong


def test_captions_are_numbered_by_their_first_place():
    loader, repeated = BatchLoader(Tagged(), seed=2, batch=8, rank=1, world=2), 0
    for step in range(20):
        local_batch = loader[step]
        batch = local_batch.batch(default_encoder(), "cpu")
        assert batch.caption_ids.tolist() == [batch.all_captions.index(c) for c in batch.all_captions]
        assert torch.equal(batch.caption_ids, local_batch.caption_ids)
        assert torch.equal(batch[:2].caption_ids, batch.caption_ids)
        repeated += len(batch.caption_ids.unique()) < 8
    assert repeated  # the case does come up
    assert torch.equal(replace(batch, caption_ids=None).caption_ids, batch.caption_ids)
    with pytest.raises(ValueError, match="8 caption_ids of 7 captions"):
        replace(batch, all_captions=batch.all_captions[:7])


def test_keys_are_never_used_twice():
    loader = BatchLoader(Tagged(), seed=2, batch=8)
    keys = torch.cat([loader[step].keys for step in range(50)])
    assert len(keys.unique()) == len(keys)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_worker_processes_change_nothing(num_workers):
    loader = BatchLoader(Tagged(), seed=9, batch=4)
    here = [loader[step] for step in range(2, 8)]
    there = BatchLoader(Tagged(), seed=9, batch=4, num_workers=num_workers).steps(2, 8)
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.keys, b.keys)
        assert (a.captions, a.wrong, a.all_captions) == (b.captions, b.wrong, b.all_captions)


def test_batches_have_the_promised_ranges():
    batch = make_toy("gan").batch()
    assert batch.images.min() >= -1
    assert batch.images.max() <= 1
    assert batch.images.dtype == torch.float32
    assert len(batch.condition.empty) == 1
    assert batch.condition.empty.mask.any()


class Broken(Tagged):
    def record(self, split, index):
        raise UserError("image 7 cannot be read", expected="a PNG", got=ValueError("torn"), fix="remove it")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_mistake_in_a_worker_stays_a_users_mistake(num_workers):
    with pytest.raises(UserError) as error:
        next(BatchLoader(Broken(), seed=0, batch=4, num_workers=num_workers).steps(0, 3))
    assert str(error.value).splitlines() == [
        "image 7 cannot be read",
        "  expected: a PNG",
        "  got:      torn",
        "  fix:      remove it",
    ]


def test_images_are_kept_while_there_is_room():
    data, drawn = Tagged(), []
    record = data.record
    data.record = lambda split, index: drawn.append(index) or record(split, index)
    loader = BatchLoader(data, seed=0, batch=8, cache_bytes=5 * 3 * 8 * 8)
    for step in range(23):
        _ = loader[step]
    assert len(set(drawn)) == 23
    assert len(drawn) == 5 + (8 * 23 - 8 * 5)  # five were drawn once, the others in each of eight epochs
