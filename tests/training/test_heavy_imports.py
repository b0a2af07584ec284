"""What a training imports: no library that it does not use."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.sampling import sample
from t2ikit.training import session, train
from t2ikit.training.accelerator import make_accelerator
from t2ikit.training.start import make_trainer

registry = Registry.load()
recipe = read_recipe(registry, "gigagan/default", settings=["data.count=40"])
accelerator = make_accelerator(recipe.train, "cpu", lazy_parameters=False)
make_trainer(recipe, build_components(recipe, registry, accelerator.device), accelerator)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {
    *("datasets", "diffusers", "huggingface_hub", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn"),
    *("tensorboard", "torchvision", "trackio", "transformers", "wandb"),
}


def test_a_training_without_diffusers_imports_neither_it_nor_what_it_imports():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert HEAVY.intersection(done.stdout.split()) == set()
    assert {"torch", "accelerate", "t2ikit_gigagan"} <= set(done.stdout.split())
