"""What authors of plugins wrote with old names of attributes works, and is told the new ones."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch

import t2ikit
from imagen_support import make_batch
from t2ikit.metrics.selection import _dependencies

NEW = {
    "wrong_ok": "mismatch_mask",
    "pool": "all_captions",
    "pool_text": "all_captions_text",
    "own": "caption_index",
}


@pytest.mark.parametrize("old", NEW)
def test_a_batch_answers_to_old_names(old):
    batch = make_batch()
    with pytest.warns(DeprecationWarning, match=rf"Batch\.{old} is now Batch\.{NEW[old]}") as told:
        assert getattr(batch, old) is getattr(batch, NEW[old])
    assert [one.filename for one in told] == [__file__]


def test_a_batch_is_made_with_old_names_and_new_ones_alike():
    batch = make_batch()
    fields = {name: getattr(batch, name) for name in ("images", "condition", "wrong", "keys")}
    with pytest.warns(DeprecationWarning, match="mismatch_mask"):
        made = t2ikit.Batch(**fields, **{old: getattr(batch, new) for old, new in NEW.items()})
    assert made.all_captions == batch.all_captions
    with pytest.warns(DeprecationWarning, match="mismatch_mask"):
        assert replace(batch, wrong_ok=torch.ones(3)).mismatch_mask.tolist() == [1, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(copy.deepcopy(replace(batch, mismatch_mask=torch.ones(3)))[:2].to("cpu")) == 2


def test_a_condition_answers_to_level():
    condition = replace(make_batch().condition, noise_level=torch.ones(3))
    with pytest.warns(DeprecationWarning, match="noise_level"):
        assert condition.level is condition.noise_level


def test_a_generator_that_enlarges_is_one_of_super_resolution():
    ratio = t2ikit.SuperResolution(2)
    with pytest.warns(DeprecationWarning, match="super_resolution") as told:

        class OfItsClass(t2ikit.Generator):
            enlarges = ratio

            def forward(self, batch, draws): ...

    assert told[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="super_resolution") as told:  # noqa: PT031

        class OfItself(t2ikit.Generator):
            def __init__(self):
                super().__init__()
                self.enlarges = ratio

            def forward(self, batch, draws): ...

        assert OfItsClass().super_resolution is OfItself().super_resolution is ratio
    assert told[0].filename == __file__


def test_a_dataset_with_pictures_gives_images():
    with pytest.warns(DeprecationWarning, match=r"Old\.pictures is now Old\.images"):

        class Old(t2ikit.Dataset):
            def pictures(self, captions, seed):
                return ["a picture"]

    assert Old.images(None, [], 0) == ["a picture"]


def test_a_metric_that_stands_on_something_depends_on_it():
    class Old:
        def stands_on(self):
            return {"weights": "1"}

    with pytest.warns(DeprecationWarning, match="dependencies"):
        assert _dependencies(Old()) == {"weights": "1"}
