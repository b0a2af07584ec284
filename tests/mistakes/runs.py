"""Runs that cannot go on, be sampled or be evaluated as asked."""

from __future__ import annotations

from mistakes.case import edited, files, mistake, removed, sentence, without
from mistakes.data import png

RESUME = "train --resume denoiser --plugin TOYS"
SAMPLE = "sample denoiser --plugin TOYS cat"
EVALUATE = "evaluate denoiser --plugin TOYS --plugin ./bright.py --metrics bright -n 2"
CHECKPOINT = "denoiser/checkpoints/step-00000002"
BRIGHT = """
from t2ikit import Measure, MetricSpec, hookimpl

def bright(drawn):
    return {"mean": Measure(float(drawn.images.mean()), len(drawn.images))}

@hookimpl
def t2ikit_metrics():
    return [MetricSpec("bright", lambda config, context: bright)]
"""
NO_DROPOUT = edited("imagen/recipe.toml", "caption_dropout = 0.1", "caption_dropout = 0.0")


def unguided(folder):
    NO_DROPOUT(folder)
    edited("imagen/recipe.toml", "guidance = 3.0", "guidance = 1.0")(folder)


RESUMING = [
    mistake(
        "train --resume denoiser --recipe toys/gan --seed 3",
        "--resume does not go with --recipe, --seed",
        expected="--resume RUN alone",
        got="--recipe --seed",
        fix="leave them out",
    ),
    mistake(
        "train --resume gone", "gone is not a run", expected="run.json", got="no such folder", fix="runs"
    ),
    mistake(
        "train --resume empty",
        "empty is not a run folder",
        expected="recipe.toml and run.json",
        got="a folder without them",
        fix="the folder that `t2ikit train` printed",
        before=files({"empty/readme.md": ""}),
    ),
    mistake(
        "train --resume file",
        "file is not a run folder",
        expected="recipe.toml and run.json",
        got="a file",
        fix="the folder",
        before=files({"file": ""}),
    ),
    mistake(
        "train --resume denoiser",
        "denoiser was made with plugin 'toys'",
        expected="toys.py",
        got="no such plugin",
        fix="--plugin PATH/toys.py",
    ),
    mistake(
        "train --resume denoiser --plugin ./toys.py",
        "the plugin file toys.py has changed",
        expected="sha256",
        got="toys.py",
        fix="give the file as it was",
        before=files(
            {"toys.py": "from t2ikit import hookimpl\n@hookimpl\ndef t2ikit_losses():\n    return []\n"}
        ),
    ),
    mistake(
        f"{RESUME} --set train.batch=2",
        "--set train.batch=2: this cannot change",
        expected="train.steps",
        got="train.batch",
        fix="start a new run",
    ),
    mistake(
        f"{RESUME} --set data.size=32",
        "--set data.size=32: this cannot change",
        expected="train.steps",
        got="data.size",
        fix="start a new run",
    ),
    mistake(
        f"{RESUME} --set train.steps=1",
        "denoiser: the run is past train.steps",
        expected="at least 2",
        got="1",
        fix="--set train.steps=4",
    ),
    mistake(f"{RESUME} --set train.setps=9", "train.setps", got="setps", fix="did you mean 'steps'"),
    mistake(f"{RESUME} --set train=9", "--set train=9", expected="[train]", got="9"),
    sentence(f"{RESUME} --set train.micro_batch=9", "micro_batch (9) must not be larger", "batch (4)"),
    mistake(
        "train --resume images --plugin TOYS",
        "images: the data has changed",
        expected="data with fingerprint",
        got="data",
        fix="restore the data",
        before=files({"data/a.txt": "another caption"}),
    ),
    mistake(
        "train --resume images --plugin TOYS",
        "data: there is no such folder",
        expected="a folder of captioned images",
        fix="check the path",
        before=removed("data"),
    ),
]

DAMAGED = [
    mistake(
        RESUME,
        "denoiser/recipe.toml is not valid TOML",
        expected="a TOML file",
        got="line 1",
        before=files({"denoiser/recipe.toml": "[train\n"}),
    ),
    mistake(
        SAMPLE,
        "denoiser/recipe.toml: smapler is not a table",
        "sampler.use is missing",
        expected="the name of one of the samplers",
        fix="did you mean 'sampler'",
        before=edited("denoiser/recipe.toml", "[sampler]", "[smapler]"),
    ),
    mistake(
        SAMPLE,
        "denoiser/recipe.toml is damaged",
        expected="as `t2ikit train` wrote it",
        got="no entry 'data'",
        fix="restore it",
        before=edited("denoiser/recipe.toml", "[data]", "[dota]"),
    ),
    mistake(
        RESUME,
        "denoiser/run.json is damaged",
        expected="as `t2ikit train` wrote it",
        got="line 1",
        fix="restore it",
        before=files({"denoiser/run.json": "{"}),
    ),
    mistake(
        RESUME,
        "denoiser/run.json is damaged",
        expected="as `t2ikit train` wrote it",
        got="no entry 'data_fingerprint'",
        fix="restore it",
        before=without("denoiser/run.json", "data_fingerprint"),
    ),
    mistake(
        RESUME,
        "denoiser/run.json is damaged",
        expected="as `t2ikit train` wrote it",
        got="no entry 'sha256'",
        fix="restore it",
        before=edited("denoiser/run.json", '"sha256"', '"sha257"'),
    ),
    mistake(
        RESUME,
        "denoiser: there is no checkpoint",
        expected="step-NNNNNNNN",
        got="none",
        fix="start the run anew",
        before=removed("denoiser/checkpoints"),
    ),
    mistake(
        SAMPLE,
        "denoiser: there is no checkpoint",
        expected="that is whole",
        got="generator.safetensors is missing or damaged",
        fix="start the run anew",
        before=files({f"{CHECKPOINT}/generator.safetensors": b"cut short"}),
    ),
    mistake(
        RESUME,
        "denoiser: there is no checkpoint",
        expected="that is whole",
        got="manifest.json is missing or damaged",
        fix="start the run anew",
        before=removed(f"{CHECKPOINT}/manifest.json"),
    ),
    *(
        mistake(
            command,
            "denoiser: the text encoder has changed since the run began",
            expected="fingerprint builtin-1/16x",
            got="fingerprint builtin-1/24x",
            fix="restore recipe.toml",
            before=edited("denoiser/recipe.toml", "width = 16", "width = 24"),
        )
        for command in (RESUME, SAMPLE)
    ),
    mistake(
        "train --resume imagen",
        "the checkpoint of step 2 does not fit the recipe",
        expected="the parts that recipe.toml names",
        got="resnets",
        fix="restore recipe.toml",
        before=edited("imagen/recipe.toml", "layers = 1", "layers = 2"),
    ),
    mistake(
        "sample imagen cat",
        "imagen: the weights do not fit the recipe",
        expected="the model that recipe.toml describes",
        got="Missing key(s)",
        fix="restore recipe.toml",
        before=edited("imagen/recipe.toml", "layers = 1", "layers = 2"),
    ),
]

SAMPLING = [
    sentence("sample", "Missing argument", "t2ikit sample --help"),
    mistake(
        "sample gone cat",
        "gone is not a run folder",
        expected="run.json",
        got="no such folder",
        fix="t2ikit runs",
    ),
    mistake(
        "sample denoiser", "no prompt", expected="--prompts FILE", got="nothing", fix="t2ikit sample RUN"
    ),
    mistake(
        "sample denoiser --prompts gone.txt",
        "--prompts gone.txt",
        expected="one caption a line",
        got="No such file",
        fix="check the path",
    ),
    mistake(
        "sample denoiser --prompts none.txt",
        "no prompt to sample",
        expected="--prompts FILE",
        got="nothing in none.txt",
        fix="t2ikit sample RUN",
        before=files({"none.txt": "\n  \n"}),
    ),
    mistake(
        "sample denoiser --prompts latin.txt",
        "--prompts latin.txt",
        expected="UTF-8",
        got="0xfc",
        fix="saved as UTF-8",
        before=files({"latin.txt": b"f\xfcr\n"}),
    ),
    mistake(
        "sample denoiser cat",
        "denoiser was made with plugin 'toys'",
        expected="toys.py",
        got="no such plugin",
        fix="--plugin PATH/toys.py",
    ),
    mistake(
        f"{SAMPLE} --sampler ancestrl", "no sampler called 'ancestrl'", got="ancestrl", fix="'ancestral'"
    ),
    mistake(
        f"{SAMPLE} --sampler toys/onestep",
        "sampler toys/onestep cannot sample",
        expected="OneStep",
        got="Denoiser",
        fix="choose a sampler",
    ),
    mistake(
        f"{SAMPLE} --set generator.width=5",
        "--set generator.width=5: only the sampler can change",
        expected="sampler.KEY=VALUE",
        got="generator.width=5",
        fix="t2ikit options",
    ),
    mistake(
        "sample imagen cat --set sampler.stepz=3", "sampler.stepz", got="stepz", fix="did you mean 'steps'"
    ),
    mistake("sample imagen cat --set sampler.steps=0", "sampler.steps", expected="at least 1", got="0"),
    mistake("sample imagen cat --set sampler", "--set sampler", expected="KEY=VALUE", got="no ="),
    mistake(
        "sample imagen cat --set sampler --set sampler.stepz=3",
        "--set sampler cannot be read",
        expected="KEY=VALUE",
        got="stepz",
        fix="did you mean 'steps'",
    ),
    mistake(
        "sample imagen --prompts list.txt",
        "--prompts list.txt: the file cannot be read",
        expected="UTF-32",
        got="a NUL byte",
        fix="UTF-8",
        before=files({"list.txt": "a cat\0"}),
    ),
    sentence("sample imagen cat --steps -3", "'--steps'", "1", "t2ikit sample --help"),
    mistake("sample imagen cat --steps 5000", "--steps 5000", expected="at most 1000", got="5000"),
    mistake(f"{SAMPLE} --steps 5000", "--steps 5000", expected="at most 1000, the noise levels", got="5000"),
    sentence("sample imagen cat -n 0", "'-n'", "1", "t2ikit sample --help"),
    mistake("sample imagen cat --guidance -1", "--guidance -1", expected="at least 0", got="-1"),
    mistake("sample imagen cat --guidance 99", "--guidance 99", expected="at most 50", got="99"),
    mistake(
        f"{SAMPLE} --guidance nan", "--guidance nan", expected="a finite number", got="nan", fix="such as 3"
    ),
    sentence("sample imagen cat --guidance much", "'--guidance'", "valid", "t2ikit sample --help"),
    mistake(
        "sample imagen cat --guidance 3",
        "--guidance 3: guidance needs a model trained with caption dropout",
        expected="guidance 1",
        got="caption dropout 0",
        fix="--guidance 1",
        before=unguided,
    ),
    mistake(
        "sample gan cat --plugin TOYS --guidance 3",
        "--guidance 3: this model samples in one step",
        expected="a diffusion run",
        got="ToyGAN",
        fix="leave --guidance out",
    ),
    mistake(
        "sample gan cat --plugin TOYS --steps 3",
        "--steps 3: this model samples in one step",
        expected="a diffusion run",
        got="ToyGAN",
        fix="leave --steps out",
    ),
    sentence("sample imagen cat --weights best", "'--weights'", "'ema', 'raw'", "t2ikit sample --help"),
    mistake(
        "sample imagen cat --device mps", "--device mps", expected="auto or one of cpu", got="mps", fix="out"
    ),
    mistake(
        "sample imagen cat --out taken",
        "--out taken: the folder cannot be made",
        expected="a folder in which files can be written",
        got="exists",
        fix="choose another folder",
        before=files({"taken": "a file"}),
    ),
]

EDITING = [
    mistake(
        "sample imagen cat --image gone.png",
        "--image gone.png",
        expected="a file",
        got="no such file",
        fix="check the path",
    ),
    mistake(
        "sample imagen cat --mask mask.png",
        "--mask: there is no image to begin at",
        expected="--mask together with --image",
        got="no image to begin at",
        fix="add --image",
    ),
    mistake(
        "sample imagen cat --image a.png --strength 1.2",
        "--strength",
        expected="from 0",
        got="1.2",
        fix="leave it out",
        before=files({"a.png": png()}),
    ),
    mistake(
        f"{SAMPLE} --image a.png",
        "--image: the sampler Ancestral begins at noise alone",
        expected="DenoiserSampler",
        got="Ancestral",
        fix="--sampler",
        before=files({"a.png": png()}),
    ),
    mistake(
        "sample gan --plugin TOYS cat --image a.png --negative dog",
        "--image, --negative: this model makes an image from noise",
        expected="a diffusion run",
        got="ToyGAN",
        fix="leave --image and --negative out",
        before=files({"a.png": png()}),
    ),
]
FOLDERS = [
    mistake(
        "evaluate --images gone --data creatures",
        "--images gone: this is no folder",
        expected="a folder of image files",
        got="no such folder",
        fix="check the path",
    ),
    mistake(
        "evaluate --images mine",
        "nothing to compare the images with",
        expected="--data: a dataset",
        got="no --data",
        fix="add --data SPEC",
        before=files({"mine/a.png": png()}),
    ),
    mistake(
        "evaluate --images mine --data creatures --metrics clip-score",
        "--metrics clip-score: needs the prompts",
        expected="colours",
        got="clip-score",
        fix="evaluate the run",
        before=files({"mine/a.png": png()}),
    ),
]
EVALUATING = [
    mistake(
        "evaluate gone",
        "gone is not a run folder",
        expected="run.json",
        got="no such folder",
        fix="t2ikit runs",
    ),
    mistake(
        "evaluate imagen --metrics prompt-acuracy",
        "no metric called 'prompt-acuracy'",
        got="prompt-acuracy",
        fix="did you mean 'prompt-accuracy'",
    ),
    mistake(
        "evaluate imagen --metrics ,",
        "--metrics: there is nothing to measure",
        expected="`t2ikit plugins` lists them",
        got="no name",
        fix="leave --metrics out",
    ),
    sentence("evaluate imagen -n 0", "'-n'", "1", "t2ikit evaluate --help"),
    mistake(
        "evaluate imagen --json gone/numbers.json",
        "--json gone/numbers.json",
        expected="a folder that exists",
        got="there is no folder gone",
        fix="another path",
    ),
    mistake(
        "evaluate imagen --json imagen",
        "--json imagen",
        expected="a file in a folder",
        got="a folder",
        fix="another path",
    ),
    mistake(
        f"{EVALUATE} --data creaturs",
        "--data creaturs",
        expected="a folder of captioned images",
        got="creaturs",
        fix="did you mean 'creatures'",
        before=files({"bright.py": BRIGHT}),
    ),
    mistake(
        f"{EVALUATE} --sampler toys/onestep",
        "sampler toys/onestep cannot sample",
        expected="OneStep",
        got="Denoiser",
        before=files({"bright.py": BRIGHT}),
    ),
    mistake(
        f"{EVALUATE} --steps 5000",
        "--steps 5000",
        expected="at most 1000",
        got="5000",
        before=files({"bright.py": BRIGHT}),
    ),
    mistake(
        EVALUATE.replace("denoiser", "gan") + " --guidance 3",
        "--guidance 3: this model samples in one step",
        expected="a diffusion run",
        got="ToyGAN",
        before=files({"bright.py": BRIGHT}),
    ),
    mistake(
        "evaluate denoiser --plugin TOYS --metrics prompt-accuracy -n 2 --data ./pics",
        "nothing could be measured",
        expected="at least one of: prompt-accuracy",
        got="prompt-accuracy reads captions of creatures only, and 'a red sofa' is none",
        fix="--metrics",
        before=files(
            {f"pics/{name}": png() for name in ("a.png", "b.png")}
            | {f"pics/{name}": "a red sofa" for name in ("a.txt", "b.txt")}
        ),
    ),
]

CASES = [*RESUMING, *DAMAGED, *SAMPLING, *EDITING, *FOLDERS, *EVALUATING]
