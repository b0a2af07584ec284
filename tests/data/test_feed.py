"""Batches are the same bits wherever images and texts lie; the device makes them without the host."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from test_loader import Tagged
from test_streaming import open_stream, spec  # noqa: F401 - a fixture

from t2ikit import SuperResolution, TextEmbedding, UserError
from t2ikit.core.batch import Batch, number_captions
from t2ikit.data.configs import CreaturesConfig, ShardsConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.feed import resident
from t2ikit.data.feed.batches import BatchMaker
from t2ikit.data.feed.inputs import ALIGNMENT, Assembly, InputBuffer, assemble, to_device
from t2ikit.data.feed.resident import ResidentImages, stays_on_device
from t2ikit.data.feed.text_table import TextTable, parts
from t2ikit.data.loader import BatchLoader
from t2ikit.data.workers import resolve_workers
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig

CPU = torch.device("cpu")
ENCODER = BuiltinTextEncoder(BuiltinTextConfig(width=16, length=6))
CROPS = SuperResolution(2, 4)


def expected(local_batch, rank: int = 0, ratio: int = 0) -> Batch:
    """A batch by hand: each text encoded alone, each pixel by the formula."""

    def encode(captions) -> TextEmbedding:
        return TextEmbedding.cat([ENCODER.encode([caption]) for caption in captions])

    images = local_batch.images.float() / 127.5 - 1
    count = len(images)
    small = images.reshape(count, 3, images.shape[2] // 2, 2, -1, 2).mean((3, 5)) if ratio else None
    return Batch(
        images,
        replace_condition(local_batch, encode, small),
        encode(local_batch.wrong),
        local_batch.mismatch_mask,
        local_batch.all_captions,
        encode(local_batch.all_captions),
        torch.arange(rank * count, (rank + 1) * count),
        local_batch.keys,
        number_captions(local_batch.all_captions),
    )


def replace_condition(local_batch, encode, small):
    from t2ikit import Condition

    return Condition(local_batch.captions, encode(local_batch.captions), encode([""]), small)


def flat(value, name: str = "batch") -> dict[str, object]:
    """Everything in a batch by its path."""
    if hasattr(value, "__dataclass_fields__"):
        return {
            path: one
            for field in fields(value)
            for path, one in flat(getattr(value, field.name), f"{name}.{field.name}").items()
        }
    return {name: value}


def assert_same(a: Batch, b: Batch) -> None:
    left, right = flat(a), flat(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == right[name].dtype, name
            assert torch.equal(value, right[name]), name
        else:
            assert value == right[name], name


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("scaling", [None, CROPS, SuperResolution(2)])
def test_batches_are_the_same_wherever_images_lie(rank, world, scaling):
    loader = BatchLoader(Tagged(), 3, 8, rank, world, super_resolution=scaling)
    place = (ENCODER, CPU, 8, 8 // world, rank)
    there = BatchMaker(*place, super_resolution=scaling, resident=ResidentImages(23, (3, 8, 8), CPU))
    host, start = BatchMaker(*place, super_resolution=scaling), 2
    indexed = loader.indexed_steps((3, 8, 8), start, start + 9)
    for step, (plain, index) in enumerate(zip(loader.steps(start, start + 9), indexed, strict=True), start):
        wanted = expected(loader[step], rank, 2 if scaling else 0)
        for batch in (plain.batch(ENCODER, "cpu"), host.batch(plain), there.batch(index)):
            assert_same(batch, wanted)


def test_crops_of_real_images_are_the_same_on_the_device():
    data, scaling = Creatures(CreaturesConfig(size=32, count=12)), SuperResolution(2, 12)
    loader = BatchLoader(data, 0, 4, super_resolution=scaling)
    there = BatchMaker(
        ENCODER, CPU, 4, 4, super_resolution=scaling, resident=ResidentImages(11, (3, 32, 32), CPU)
    )
    for plain, index in zip(loader.steps(0, 6), loader.indexed_steps((3, 32, 32), 0, 6), strict=True):
        assert_same(there.batch(index), plain.batch(ENCODER, "cpu"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_image_comes_once_in_the_order_of_first_need(num_workers):
    loader = BatchLoader(Tagged(), 3, 8, num_workers=num_workers)
    found, wanted = [], []
    for step, batch in enumerate(loader.indexed_steps((3, 8, 8), 5, 13), 5):
        assert torch.equal(batch.new_images[:, 0, 0, 0].long(), batch.new_rows)
        assert torch.equal(batch.rows.to(torch.uint8), loader[step].images[:, 0, 0, 0])
        found += batch.new_rows.tolist()
        wanted = list(dict.fromkeys([*wanted, *batch.rows.tolist()]))
        assert found == wanted
    assert sorted(found) == list(range(23))


@pytest.mark.parametrize("on_device", [True, False])
def test_the_devices_part_is_tensor_operations_alone(on_device):
    loader = BatchLoader(Tagged(), 3, 4, super_resolution=CROPS)
    table = ResidentImages(23, (3, 8, 8), CPU) if on_device else None
    maker = BatchMaker(ENCODER, CPU, 4, 4, super_resolution=CROPS, resident=table)
    step = next(loader.indexed_steps((3, 8, 8)) if on_device else loader.steps())
    inputs, how = maker.inputs(step), maker.how
    real = assemble(inputs, how)
    if on_device:
        texts = TextEmbedding(*(part.to("meta") for part in parts(how.texts)))
        how = replace(how, images=how.images.to("meta"), texts=texts)
        assert {value.dtype for value in inputs.values()} == {torch.int64, torch.float32}
    unreal = assemble({name: value.to("meta") for name, value in inputs.items()}, how)
    for name, value in flat(unreal).items():
        if isinstance(value, torch.Tensor):
            assert value.device.type == "meta"
            assert (value.shape, value.dtype) == (flat(real)[name].shape, flat(real)[name].dtype)


def test_a_buffer_keeps_its_place_and_gives_back_what_it_was_filled_with():
    maker, loader = BatchMaker(ENCODER, CPU, 4, 4), BatchLoader(Tagged(), 3, 4)
    buffer, places = InputBuffer(maker.inputs(loader[0]), CPU), None
    for step in range(3):
        inputs = maker.inputs(loader[step])
        found = {name: value.data_ptr() for name, value in buffer.fill(inputs).items()}
        assert places in (None, found)
        places = found
        assert all(place % ALIGNMENT == 0 for place in places.values())
        assert all(torch.equal(buffer.tensors[name], value) for name, value in inputs.items())
        assert_same(assemble(buffer.tensors, maker.how), assemble(inputs, Assembly()))
    assert {value.device.type for value in to_device(inputs, torch.device("meta")).values()} == {"meta"}


def test_the_table_of_texts_forgets_what_was_asked_for_longest_ago():
    encoded: list[str] = []

    class Counting(BuiltinTextEncoder):
        def encode(self, captions):
            encoded.extend(captions)
            return super().encode(captions)

    table = TextTable(Counting(BuiltinTextConfig(width=16, length=6)), CPU, 0, least=3)
    encoded.clear()
    for captions in (["a", "b", "a"], ["c", "a"], ["d", "a", "c"], ["b"], ["c", "d"]):
        found = table.embeddings[table.rows(captions)]
        wanted = ENCODER.encode(captions)
        assert all(map(torch.equal, parts(found), parts(wanted)))
    assert encoded == ["a", "b", "c", "d", "b"]


def test_features_of_captions_come_with_the_inputs():
    maker = BatchMaker(
        ENCODER, CPU, 4, 4, features={"length": lambda captions: torch.tensor([len(c) for c in captions])}
    )
    batch = maker.batch(BatchLoader(Tagged(), 3, 4)[0])
    assert batch.caption_features["length"].tolist() == [len(c) for c in batch.all_captions]
    assert batch[:2].to("cpu").caption_features.keys() == {"length"}


@pytest.mark.parametrize(
    ("keep_on", "device", "free", "answer"),
    [
        ("auto", "cuda", 4 * 3 * 32 * 32 * 95, True),
        ("auto", "cuda", 4 * 3 * 32 * 32 * 95 - 1, False),
        ("auto", "cpu", 1 << 40, False),
        ("host", "cuda", 1 << 40, False),
        ("device", "cpu", 3 * 32 * 32 * 95, True),
    ],
)
def test_images_stay_on_the_device_where_they_fit(monkeypatch, keep_on, device, free, answer):
    monkeypatch.setattr(resident, "free_memory", lambda device: free)
    config = CreaturesConfig(count=100, keep_on=keep_on)
    assert stays_on_device(config, Creatures(config), torch.device(device)) is answer


def test_what_cannot_stay_on_the_device_is_refused(monkeypatch, spec):  # noqa: F811
    monkeypatch.setattr(resident, "free_memory", lambda device: 1 << 20)
    config = CreaturesConfig(count=1000, keep_on="device")
    with pytest.raises(UserError, match="do not fit") as error:
        stays_on_device(config, Creatures(config), CPU)
    assert "at most 1 MiB" in str(error.value)
    assert "2 MiB for 950 images of 32 px" in str(error.value)
    stream = open_stream(spec)
    with pytest.raises(UserError, match="a stream cannot be kept"):
        stays_on_device(ShardsConfig(spec=spec, keep_on="device"), stream, CPU)
    assert not stays_on_device(ShardsConfig(spec=spec), stream, torch.device("cuda"))


@pytest.mark.parametrize(
    ("setting", "device", "cores", "processes", "streaming", "answer"),
    [
        ("auto", "cuda", 16, 1, False, 8),
        ("auto", "cuda", 4, 1, False, 3),
        ("auto", "cuda", 16, 4, False, 3),
        ("auto", "cuda", 4, 8, False, 0),
        ("auto", "cuda", 16, 1, True, 1),
        ("auto", "cpu", 16, 1, False, 0),
        ("auto", "cpu", 16, 1, True, 1),
        (5, "cpu", 2, 1, False, 5),
        (5, "cpu", 2, 1, True, 1),
        (0, "cuda", 16, 1, True, 0),
    ],
)
def test_workers_by_themselves(setting, device, cores, processes, streaming, answer):
    found = resolve_workers(setting, device, cores=cores, processes=processes, streaming=streaming)
    assert found == answer
