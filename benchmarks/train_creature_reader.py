"""Train the attribute reader that ships with t2ikit, from drawings alone.

    python benchmarks/train_creature_reader.py [--out src/t2ikit/metrics/creature_reader.safetensors]

Draws creatures of all attributes, held-out ones included, in equal shares; adds noise, blur and shifts of
contrast, so that a model's samples are read as fairly as drawings are; and adds what must be called
unreadable: noise, blank, blurred and mixed pictures. Takes minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from t2ikit.data.creatures_drawing import draw
from t2ikit.data.creatures_grammar import Attributes, all_attributes
from t2ikit.metrics.creature_reader import HEADS, SIZE, WEIGHTS, ReaderNet

EYELESS = 0.08
UNREADABLE = 0.2


def label(attributes: Attributes) -> list[int]:
    """Class numbers of the heads, for a readable picture."""
    colours = attributes.colours or ()
    said = {
        "first": colours[0],
        "second": colours[1] if len(colours) == 2 else None,
        "species": attributes.species,
        "action": attributes.action,
        "eyes": attributes.eyes,
        "readable": "yes",
    }
    return [HEADS[name].index(said[name]) for name in HEADS]


def drawings(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, 32, 32) uint8 and labels (count, heads)."""
    rng = Random(seed)
    everything = all_attributes()
    one = [attributes for attributes in everything if len(attributes.colours or ()) == 1]
    images = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    labels = []
    for i in range(count):
        chosen = rng.choice(one if i % 3 == 0 else everything)
        if rng.random() < EYELESS:
            chosen = Attributes(chosen.colours, chosen.species, chosen.action, None)
        images[i] = torch.from_numpy(draw(chosen, SIZE, rng).copy()).permute(2, 0, 1)
        labels.append(label(chosen))
    return images, torch.tensor(labels)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of pictures (B, 3, H, W), sigma in pixels."""
    reach = max(1, round(3 * sigma))
    x = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """What a good sample may still suffer from: noise, slight blur, contrast, brightness, a shift."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    soft = blur(images, 0.6)
    images = torch.lerp(images, soft, uniform(0, 1) * (uniform(0, 1) < 0.4))
    images = images * uniform(0.85, 1.1) + uniform(-0.12, 0.12)
    images = images + torch.randn(images.shape, generator=generator) * uniform(0, 0.15)
    dx, dy = torch.randint(-2, 3, (2,), generator=generator).tolist()
    images = F.pad(images, (2, 2, 2, 2), mode="replicate")[:, :, 2 + dy : 34 + dy, 2 + dx : 34 + dx]
    return images.clamp(-1, 1)


def unreadable(images: Tensor, generator: torch.Generator) -> Tensor:
    """As many pictures as given of what nothing can be read off."""
    made = []
    for i, image in enumerate(images):
        image = image[None]
        kind = i % 6
        scale = 2 ** int(torch.randint(0, 5, (), generator=generator))
        shape = (1, 3, max(1, SIZE // scale), max(1, SIZE // scale))
        if kind == 0:
            image = torch.randn(shape, generator=generator) * torch.rand((), generator=generator)
        elif kind == 1:
            image = torch.rand(shape, generator=generator) * 2 - 1
        elif kind == 2:
            image = (torch.rand(1, 3, 1, 1, generator=generator) * 2 - 1).expand(1, 3, SIZE, SIZE)
        elif kind == 3:
            image = blur(image, 3.5 + 6 * float(torch.rand((), generator=generator)))
        elif kind == 4:
            other = images[int(torch.randint(0, len(images), (), generator=generator))][None]
            image = 0.5 * image + 0.5 * other.flip(3) if i % 12 == 4 else image.roll((11, 13), (2, 3)).flip(2)
        else:
            tiles = F.unfold(image, 4, stride=4)[:, :, torch.randperm(64, generator=generator)]
            image = F.fold(tiles, (SIZE, SIZE), 4, stride=4)
        mode = "bilinear" if i % 2 else "nearest"
        made.append(image if image.shape[-1] == SIZE else F.interpolate(image, (SIZE, SIZE), mode=mode))
    return torch.cat(made).clamp(-1, 1)


def main() -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[1] / "src" / "t2ikit" / "metrics" / WEIGHTS
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--count", type=int, default=24_000)
    parser.add_argument("--steps", type=int, default=2_600)
    options = parser.parse_args()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    images, labels = drawings(options.count, seed=2)
    net = ReaderNet()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, options.steps)
    batch, bad = 128, round(128 * UNREADABLE)
    for step in range(options.steps):
        chosen = torch.randint(0, len(images), (batch,), generator=generator)
        x = images[chosen].float() / 127.5 - 1
        x = torch.cat([unreadable(x[:bad], generator), augment(x[bad:], generator)])
        y = labels[chosen].clone()
        readable = torch.arange(batch) >= bad
        logits = net(x)
        loss = F.cross_entropy(logits["readable"], (~readable).long())
        for place, name in enumerate(list(HEADS)[:-1]):
            loss = loss + F.cross_entropy(logits[name][readable], y[readable, place], label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
    save_file({name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}, options.out)
    options.out.chmod(0o644)
    print(f"wrote {options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
