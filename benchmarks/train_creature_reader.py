"""Make the weights of the reader behind `prompt-accuracy`: eight minutes on one core of a busy machine.

    python benchmarks/train_creature_reader.py [--out FILE]

It learns from drawings of all 8,192 combinations of attributes, drawn with a seed of their own, roughened
the way a generative model's samples are (warp, blur, compression, noise, contrast), some without eyes,
and from images that show no creature, which it must call unreadable.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from t2ikit.core.rng import derive_seed
from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import Attributes, all_attributes, by_colours, pick
from t2ikit.metrics import creature_reader
from t2ikit.metrics.creature_reader import (
    HEADS,
    NO_SECOND,
    SIDE,
    CreatureReader,
    CreatureReaderNet,
    to_reader,
)

IMAGES, STEPS, BATCH, NOTHING = 24_000, 1_100, 96, 32
SEED = 20_011
EYELESS = 0.12
EVERY = by_colours(all_attributes())


def sample_attributes(rng: Random) -> Attributes:
    """Any combination; creatures of one colour as often as of two; some without eyes."""
    drawn = pick(pick(EVERY, rng), rng)
    return replace(drawn, eyes=None) if rng.random() < EYELESS else drawn


def labels(attributes: Attributes) -> list[int]:
    """One class for each head; the class after the last choice is "unreadable"."""
    first, second = ((*(attributes.colours or ()), NO_SECOND))[:2]
    values = (first, second, attributes.species, attributes.action, attributes.eyes)
    return [c.index(v) if v is not None else len(c) for c, v in zip(HEADS.values(), values)]


def drawings(count: int, seed: int) -> tuple[Tensor, list[Attributes]]:
    """Images (N, 3, 32, 32) uint8 and what they show; a quarter are drawn at 64 and made smaller."""
    images, shown = [], []
    for index in range(count):
        rng = Random(derive_seed(seed, index))
        attributes = sample_attributes(rng)
        image = torch.from_numpy(draw(attributes, 64 if index % 4 == 0 else SIDE, rng).copy())
        images.append(to_reader(image.permute(2, 0, 1)[None]).round().clamp(0, 255).byte())
        shown.append(attributes)
    return torch.cat(images), shown


def blur(images: Tensor, sigma: float, padding: str = "replicate") -> Tensor:
    """Gaussian blur, `sigma` in pixels."""
    reach = min(max(1, round(3 * sigma)), SIDE - 1)
    offsets = torch.arange(-reach, reach + 1.0)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(3, 1, 1, 1)
    padded = F.pad(images, (reach,) * 4, mode=padding)
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def warp(images: Tensor, reach: float) -> Tensor:
    """Bend images by a smooth random field of about `reach` pixels."""
    n = len(images)
    field = F.interpolate(torch.randn(n, 2, 5, 5), size=SIDE, mode="bicubic", align_corners=True)
    grid = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 3, SIDE, SIDE], align_corners=False)
    grid = grid + field.permute(0, 2, 3, 1) * (2 * reach / SIDE)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def compress(images: Tensor, step: Tensor) -> Tensor:
    """Round the cosine coefficients of 8 x 8 blocks to multiples of `step` (N,), as JPEG does."""
    k = torch.arange(8.0)
    basis = torch.cos(torch.pi / 8 * (k[None] + 0.5) * k[:, None]) / 2
    basis[0] /= 2**0.5
    blocks = images.unfold(2, 8, 8).unfold(3, 8, 8)  # (N, 3, 4, 4, 8, 8)
    steps = step[:, None, None, None, None, None] * (1 + 0.3 * (k[:, None] + k[None]))
    spectrum = (basis @ blocks @ basis.T / steps).round() * steps
    return (basis.T @ spectrum @ basis).permute(0, 1, 2, 4, 3, 5).reshape(images.shape)


def roughen(images: Tensor, mirror: bool = True) -> Tensor:
    """What a generative model might do to a drawing, in [-1, 1]; `mirror` half of them, too."""
    n = len(images)

    def spread(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(n, channels, 1, 1)

    flip = torch.rand(n) < (0.5 if mirror else 0.0)
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    if torch.rand(()) < 0.6:
        images = warp(images, float(torch.rand(())))
    if torch.rand(()) < 0.6:
        images = blur(images, 0.25 + 0.6 * float(torch.rand(())))
    if torch.rand(()) < 0.4:
        images = compress(images, 0.05 + 0.25 * torch.rand(n))
    images = images * spread(0.8, 1.08) * spread(0.96, 1.04, 3) + spread(-0.08, 0.08)
    noise = torch.randn_like(images) * spread(0, 0.16) * (torch.rand(n, 1, 1, 1) < 0.7)
    return (images + noise).clamp(-1, 1)


def nothing(images: Tensor) -> Tensor:
    """Turn every image into one that shows no creature; which way goes by its place."""
    n = len(images)
    colour = torch.rand(n, 3, 1, 1) * 2 - 1
    made = []
    for index in range(n):
        kind = index % 8
        image = images[index : index + 1]
        if kind < 3:
            made.append(_noise(colour[index]))
        elif kind == 3:
            made.append(colour[index][None].expand(1, 3, SIDE, SIDE))
        elif kind < 6:
            padding = "reflect" if torch.rand(()) < 0.5 else "replicate"
            made.append(blur(image, 3.4 + 6 * float(torch.rand(())) ** 2, padding))
        else:
            made.append(_shuffle_tiles(image, 4 if torch.rand(()) < 0.5 else 8))
    return torch.cat(made).clamp(-1, 1)


def _noise(colour: Tensor) -> Tensor:
    """Gaussian or uniform noise of any strength and grain, grey or coloured, on a plain colour."""
    grain = int(2 ** torch.randint(0, 5, ()))
    coarse = torch.randn(1, 3, SIDE // grain, SIDE // grain)
    if torch.rand(()) < 0.4:
        coarse = torch.rand_like(coarse) * 2 - 1
    if torch.rand(()) < 0.2:
        coarse = coarse[:, :1].expand_as(coarse)
    smooth = "nearest" if torch.rand(()) < 0.5 else "bilinear"
    return colour + F.interpolate(coarse, size=SIDE, mode=smooth) * float(0.02 + 1.5 * torch.rand(()) ** 2)


def _shuffle_tiles(image: Tensor, tile: int) -> Tensor:
    across = SIDE // tile
    tiles = image.reshape(3, across, tile, across, tile).permute(1, 3, 0, 2, 4).reshape(-1, 3, tile, tile)
    tiles = tiles[torch.randperm(len(tiles))].reshape(across, across, 3, tile, tile)
    return tiles.permute(2, 0, 3, 1, 4).reshape(1, 3, SIDE, SIDE)


def batch(pictures: Tensor, targets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Roughened drawings, then images of nothing."""
    images = pictures[rows].float() / 127.5 - 1
    unreadable = torch.tensor([len(choices) for choices in HEADS.values()]).expand(NOTHING, -1)
    shown = torch.cat([roughen(images[NOTHING:]), nothing(images[:NOTHING])])
    return shown, torch.cat([targets[rows[NOTHING:]], unreadable])


def train(pictures: Tensor, targets: Tensor) -> CreatureReaderNet:
    """Adam with a one-cycle learning rate on the sum of the heads' cross entropies."""
    net = CreatureReaderNet().train()
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=STEPS, pct_start=0.2)
    rows_each = BATCH + NOTHING
    epochs = 1 + STEPS * rows_each // len(pictures)
    order = torch.cat([torch.randperm(len(pictures)) for _ in range(epochs)])
    started = time.monotonic()
    for step, rows in enumerate(order.split(rows_each)[:STEPS]):
        images, target = batch(pictures, targets, rows)
        logits = net(images)
        losses = [F.cross_entropy(logits[name], target[:, i]) for i, name in enumerate(HEADS)]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True)
    return net.eval()


def report(net: CreatureReaderNet) -> None:
    """Print the share right on fresh drawings and the share unreadable on images of nothing."""
    pictures, shown = drawings(3_000, SEED + 1)
    images = pictures.float() / 127.5 - 1
    names = ("colours", "species", "action", "eyes")
    for title, looks in (("clean", images), ("roughened", roughen(images))):
        pairs = list(zip(CreatureReader(net)(looks), shown))
        shares = {name: sum(getattr(r, name) == getattr(a, name) for r, a in pairs) for name in names}
        shares["joint"] = sum(r == a for r, a in pairs)
        print(title, {name: f"{100 * right / len(pairs):.2f} %" for name, right in shares.items()})
    blank = [r == Attributes(None, None, None, None) for r in CreatureReader(net)(nothing(images))]
    print(f"unreadable where nothing is shown: {100 * sum(blank) / len(blank):.2f} %")


def main() -> None:
    """Draw, train, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    shipped = Path(creature_reader.__file__).with_suffix(".safetensors")
    parser.add_argument("--out", type=Path, default=shipped, help="default: the package's own weights")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    images, shown = drawings(IMAGES, SEED)
    net = train(images, torch.tensor([labels(attributes) for attributes in shown]))
    # half precision halves the file and moves no reading
    stored = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    save_file(stored, out)
    net.load_state_dict({name: value.float() for name, value in stored.items()})
    report(net)
    print(f"{out.name}: {out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
