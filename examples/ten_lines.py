"""Train, sample, evaluate and plot in ten lines.

python examples/ten_lines.py                    # the default recipe: minutes on a CPU
python examples/ten_lines.py train.steps=20     # any setting: to see that it runs
"""

import sys

from matplotlib.figure import Figure

import t2ikit

run = t2ikit.train("imagen", set=sys.argv[1:])
samples = t2ikit.sample(run, ["a green cat with red eyes", "a jumping blue bird"], n=2, guidance=[1, 3])
result = t2ikit.evaluate(run, metrics="prompt-accuracy", n=64)
figure = Figure(figsize=(12, 4), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(*zip(*[(line["step"], line["loss/denoise"]) for line in run.log() if "loss/denoise" in line]))
left.set(xlabel="step", ylabel="loss", title=f"{result.measures['prompt-accuracy/joint'].value:.0f} % right")
right.imshow(samples.grid())
right.axis("off")
figure.savefig(run.path / "ten_lines.png")
