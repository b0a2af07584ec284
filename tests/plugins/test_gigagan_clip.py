"""The CLIP teacher and its loss: right numbers, the right negatives, and gradients where they belong."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, BertConfig, CLIPModel, CLIPVisionModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from clip_support import clip_folder
from t2ikit import Draws, Prediction, Step, UserError, number_captions
from t2ikit.nn import clip
from t2ikit.nn.clip import ClipPixels, ClipTeacher, load_clip
from t2ikit.testing import check_loss
from t2ikit.testing.toys import toy_batch
from t2ikit.training.snapshots import own_state
from t2ikit.training.trainer import cut
from t2ikit_gigagan.clip_loss import ClipLoss
from t2ikit_gigagan.contrastive import clip_contrastive, find_duplicates

try:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as Processor
except ImportError:
    from transformers import CLIPImageProcessor as Processor

CAPTIONS = ["a red square", "a blue cat jumping", "green", "a red square"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def teacher(folder) -> ClipTeacher:
    return load_clip(folder)


def random_images(count=4, size=16, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def slow_contrastive(image, text, pool, own, scale):
    """-log of the share of the own caption among it and all that differ from it, one term at a time."""
    losses = []
    for row, place in enumerate(own):
        total = 0.0
        for other, caption in enumerate(pool):
            if other == place or caption != pool[place]:
                total += math.exp(
                    scale * sum(a * b for a, b in zip(image[row].tolist(), text[other].tolist()))
                )
        cosine = sum(a * b for a, b in zip(image[row].tolist(), text[place].tolist()))
        losses.append(math.log(total) - scale * cosine)
    return torch.tensor(losses, dtype=torch.float64)


POOL = ("a", "b", "a", "c", "b", "a", "d")


def test_contrastive_agrees_with_the_slow_sum():
    image, text, own = unit(3, 5), unit(7, 5, seed=1), torch.tensor([2, 3, 1])
    loss = clip_contrastive(image, text, own, find_duplicates(POOL, own), 7.0)
    torch.testing.assert_close(
        loss, slow_contrastive(image, text, POOL, own.tolist(), 7.0), rtol=1e-12, atol=0
    )


def test_contrastive_has_the_gradient_of_its_value():
    image, text = unit(3, 5).requires_grad_(True), unit(7, 5, seed=1).requires_grad_(True)
    own = torch.tensor([2, 3, 1])
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    others = find_duplicates(POOL, own)
    assert torch.autograd.gradcheck(
        lambda i, t, s: clip_contrastive(i, t, own, others, s), (image, text, scale)
    )


def test_duplicates_are_the_other_places_of_the_own_caption():
    own = torch.tensor([0, 3, 4])
    expected = [[i != o and c == POOL[o] for i, c in enumerate(POOL)] for o in own.tolist()]
    assert find_duplicates(POOL, own).tolist() == expected
    assert find_duplicates(number_captions(POOL), own).tolist() == expected


def test_a_repeated_caption_is_no_negative_of_its_own_images_but_of_others():
    image, own = unit(2, 5), torch.tensor([0, 1])
    text = unit(2, 5, seed=1)
    longer = torch.cat([text, text[:1]])
    plain = clip_contrastive(image, text, own, find_duplicates(("a", "b"), own), 5.0)
    repeated = clip_contrastive(image, longer, own, find_duplicates(("a", "b", "a"), own), 5.0)
    assert repeated[0] == plain[0]
    assert repeated[1] > plain[1] + 1e-3


def test_one_caption_alone_costs_nothing():
    image = unit(1, 5).requires_grad_(True)
    loss = clip_contrastive(image, unit(1, 5, seed=1), torch.tensor([0]), torch.tensor([[False]]), 100.0)
    loss.sum().backward()
    assert loss.tolist() == [0.0]
    assert image.grad is not None
    assert not image.grad.any()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_loss_is_finite_at_the_greatest_scale(sign):
    text = unit(4, 5).float()
    image = (sign * text).requires_grad_(True)
    own = torch.arange(4)
    loss = clip_contrastive(image, text, own, find_duplicates(tuple("abcd"), own), 100.0)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert (loss.mean() > 50) == (sign < 0)


def test_logits_are_not_rounded_under_autocast():
    image, text, own = unit(3, 64).float(), unit(7, 64, seed=1).float(), torch.tensor([2, 3, 1])
    others = find_duplicates(POOL, own)
    expected = clip_contrastive(image, text, own, others, 100.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(clip_contrastive(image, text, own, others, 100.0), expected)


def test_embeddings_are_those_of_the_whole_model(folder, teacher):
    model, tokenizer = CLIPModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(CAPTIONS, padding=True, return_tensors="pt")
    images = random_images()
    pixels = ((images + 1) / 2 - 0.5) / 0.25
    with torch.no_grad():
        expected = model(tokens["input_ids"], pixels, tokens["attention_mask"])
    torch.testing.assert_close(teacher.image_embeddings(images), expected.image_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(teacher.text_embeddings(CAPTIONS), expected.text_embeds, rtol=0, atol=1e-5)
    for embeddings in (teacher.image_embeddings(images), teacher.text_embeddings(CAPTIONS)):
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    assert not teacher.text_embeddings(CAPTIONS).requires_grad


@pytest.mark.parametrize(("size", "tolerance"), [(16, 1e-5), (40, 0.03), (9, 0.03)])
def test_images_are_prepared_as_transformers_does(size, tolerance):
    ramp = torch.linspace(40, 200, size).round()
    smooth = torch.stack(
        [ramp.expand(size, size), ramp[:, None].expand(size, size), (ramp + ramp[:, None]) / 2]
    )
    image = smooth.round().to(torch.uint8)  # no edges: Pillow clips what overshoots at them
    processor = Processor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, do_convert_rgb=False
    )
    expected = processor(
        np.asarray(image.permute(1, 2, 0)), return_tensors="pt", input_data_format="channels_last"
    )
    pixels = ClipPixels((16, 16), tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD))
    ours = pixels(image[None].float() / 127.5 - 1)
    torch.testing.assert_close(ours, torch.as_tensor(expected["pixel_values"]), rtol=0, atol=tolerance)


def test_mean_and_deviation_come_from_the_folder_or_are_clips(folder, tmp_path):
    assert load_clip(folder).pixels == ClipPixels((16, 16), (0.5,) * 3, (0.25,) * 3)
    bare = load_clip(clip_folder(tmp_path, mean=None))
    assert bare.pixels == ClipPixels((16, 16), tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD))


def test_the_gradient_reaches_the_images_and_no_weight(teacher):
    images = random_images(size=24).requires_grad_(True)
    text = teacher.text_embeddings(CAPTIONS)
    (teacher.image_embeddings(images) * text).sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(p.grad is None and not p.requires_grad for p in teacher.model.parameters())
    assert not teacher.model.training


def test_padding_and_neighbours_change_no_caption(teacher):
    together = teacher.encode(CAPTIONS)
    for row, caption in enumerate(CAPTIONS):
        torch.testing.assert_close(together[row : row + 1], teacher.encode([caption]), rtol=0, atol=1e-6)
    alone = load_clip_again(teacher).text_embeddings(["green"])
    assert torch.equal(alone[0], teacher.text_embeddings(CAPTIONS)[2]), "a resumed run would differ"


def load_clip_again(teacher):
    return ClipTeacher(teacher.model, teacher.tokenizer, teacher.pixels)


def test_captions_differ_and_long_ones_are_cut(teacher):
    text = teacher.text_embeddings(CAPTIONS)
    assert (text[0] - text[1]).abs().max() > 0.01
    assert torch.equal(text[0], text[3])
    long = teacher.text_embeddings(["a red square " * 20, "a red square a red square cat"])
    assert torch.equal(long[0], teacher.encode(["a red square a red square a"])[0])
    assert not torch.equal(long[0], text[0])


def test_captions_are_remembered_up_to_a_bound(teacher, monkeypatch):
    asked = []
    encode = teacher.encode
    monkeypatch.setattr(teacher, "encode", lambda part: asked.extend(part) or encode(part))
    monkeypatch.setattr(clip, "CACHED_CAPTIONS", 2)
    teacher.text_embeddings(CAPTIONS)
    assert asked == CAPTIONS[:3]
    teacher.text_embeddings(["green", "a red square"])
    assert asked == CAPTIONS[:3], "the two last seen are kept"
    teacher.text_embeddings(["a blue cat jumping", "green"])
    assert asked == [*CAPTIONS[:3], "a blue cat jumping", "green"][: len(asked)]


def test_the_scale_is_clamped(teacher):
    assert float(teacher.scale) == pytest.approx(math.exp(2.6592), rel=1e-4)
    teacher.model.logit_scale.data.fill_(10.0)
    assert float(teacher.scale) == 100.0


def step_of(batch, levels=None, weight=None):
    levels = [F.avg_pool2d(batch.images, 4), batch.images] if levels is None else levels
    weight = torch.ones(len(batch)) if weight is None else weight
    return Step(batch, Prediction(levels, weight), {}, "generator", Draws(batch.keys, 0), 0)


def test_the_loss_is_the_weighted_mean_over_samples(teacher):
    batch, weight = toy_batch(6, 16), torch.tensor([1.0, 0.0, 0.5, 1.0, 0.25, 1.0])
    image, text = teacher.image_embeddings(batch.images), teacher.text_embeddings(batch.all_captions)
    scale = float(teacher.scale)
    each = slow_contrastive(
        image.double(), text.double(), batch.all_captions, batch.caption_index.tolist(), scale
    )
    loss = ClipLoss(teacher)(step_of(batch, weight=weight))
    assert float(loss) == pytest.approx(float((each * weight).mean()), rel=1e-5)


def test_a_training_step_reads_no_captions(teacher):
    batch, loss = toy_batch(6, 16), ClipLoss(teacher)
    features = {loss.caption_key: loss.caption_features(batch.all_captions, torch.device("cpu"))}
    unread = replace(batch, all_captions=("",) * 6, caption_features=features)
    assert torch.equal(loss(step_of(unread)), loss(step_of(batch)))
    assert not torch.equal(loss(step_of(replace(unread, caption_features={}))), loss(step_of(batch)))


def test_only_the_full_image_is_looked_at(teacher):
    batch, loss = toy_batch(4, 16), ClipLoss(teacher)
    small = random_images(4, 4).requires_grad_(True)
    full = batch.images.clone().requires_grad_(True)
    value = loss(step_of(batch, [small, full]))
    gradients = torch.autograd.grad(value, [small, full], allow_unused=True)
    assert gradients[0] is None
    assert (gradients[1].abs().amax((1, 2, 3)) > 0).all()


def test_micro_batches_add_up_to_the_whole_pool(teacher):
    batch, loss = toy_batch(8, 16), ClipLoss(teacher)
    whole = loss(step_of(batch))
    parts = sum(loss(step_of(part)) * len(part) / 8 for part, _ in cut(batch, 2))
    assert float(parts) == pytest.approx(float(whole), rel=1e-5)
    small = replace(batch, all_captions=batch.all_captions[:2], caption_ids=batch.caption_ids[:2])[:2]
    assert abs(float(loss(step_of(small))) - float(loss(step_of(batch[:2])))) > 0.1, "the pool counts"


def test_extreme_images_give_finite_gradients(teacher):
    teacher.model.logit_scale.data.fill_(10.0)
    batch, loss = toy_batch(4, 16), ClipLoss(teacher)
    for value in (0.0, 1e4, -1e4):
        images = torch.full((4, 3, 16, 16), value, requires_grad=True)
        total = loss(step_of(batch, [images]))
        total.backward()
        assert total.isfinite()
        assert images.grad is not None
        assert images.grad.isfinite().all()


def test_the_teacher_is_neither_trained_nor_saved(folder):
    loss = ClipLoss(folder)
    assert not list(loss.parameters())
    assert not own_state(nn.ModuleDict({"clip": loss}))
    assert not loss.train().teacher.model.training


def test_conformance(folder):
    check_loss("gigagan/clip", model=folder)


def write_config(path, config):
    (path / "config.json").write_text(json.dumps(config))


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such folder") as caught:
        load_clip(str(tmp_path / "nowhere"))
    assert "model.safetensors" in str(caught.value)
    assert "train_clip.py" in str(caught.value)
    clip_folder(tmp_path / "whole")
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        hidden = (tmp_path / "whole" / file).rename(tmp_path / file)
        with pytest.raises(UserError, match=f"no {file}") as caught:
            load_clip(str(tmp_path / "whole"))
        assert f"into {tmp_path / 'whole'}" in str(caught.value)
        hidden.rename(tmp_path / "whole" / file)
    load_clip(str(tmp_path / "whole"))


def test_what_cannot_be_used_is_said(tmp_path, monkeypatch):
    other = clip_folder(tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    write_config(tmp_path / "other", BertConfig().to_dict())
    with pytest.raises(UserError, match="of the kind 'bert'"):
        load_clip(other)
    write_config(tmp_path / "other", config)
    CLIPVisionModel.from_pretrained(other).save_pretrained(tmp_path / "other")
    write_config(tmp_path / "other", config)
    with pytest.raises(UserError, match="weights are missing"):
        load_clip(other)
    (tmp_path / "other" / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match="cannot be opened"):
        load_clip(other)

    def unreachable(*_, **__):
        raise OSError("no connection")

    monkeypatch.setattr(clip, "download", unreachable)
    with pytest.raises(UserError, match="no connection") as caught:
        load_clip("someone/clip")
    assert "train_clip.py" in str(caught.value)
