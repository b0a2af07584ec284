"""Recipes, `--set` and options of `train` that cannot work."""

from __future__ import annotations

from mistakes.case import files, mistake, sentence

IMAGEN = "train --plugin imagen --out new"
UNET = (
    f"{IMAGEN} --set generator.channels=[32,64,96] --set generator.attention=[false,true,true]"
    " --set generator.patch=2 --set generator.groups=8"
)
GAN = "train --plugin TOYS --recipe toys/gan --out new"
DENOISER = "train --plugin TOYS --recipe toys/denoiser --out new"


FILES = [
    mistake(
        f"{IMAGEN} --set foo --set train.steps=0 --set generator.chanels=3",
        "--set foo cannot be read",
        "train.steps has a value that does not fit",
        expected="at least 1",
        got="chanels",
        fix="write the key, = and a value",
    ),
    mistake(
        f"{IMAGEN} --set generator.channels=3", expected="at least 1", got="3", fix="t2ikit options generator"
    ),
    mistake(
        "train --recipe imagen/defalt",
        expected="`t2ikit recipes` lists",
        got="imagen/defalt",
        fix="did you mean",
    ),
    mistake(
        "train --recipe gone.toml", "gone.toml cannot be read", expected="a TOML file", got="no such file"
    ),
    mistake("train --recipe ./.", "cannot be read", expected="a TOML file", got="a folder"),
    mistake(
        "train --recipe bad.toml",
        "bad.toml is not valid TOML",
        expected="a TOML file",
        got="line 2",
        before=files({"bad.toml": "[train]\nsteps = \n"}),
    ),
    mistake(
        "train --recipe bad.toml",
        "bad.toml is not UTF-8",
        expected="UTF-8",
        got="byte 0xfc at offset 12",
        fix="save the file as UTF-8",
        before=files({"bad.toml": "summary = 'für'".encode("latin-1")}),
    ),
    mistake(
        "train --recipe a.toml",
        "a.toml extends itself",
        expected="a chain of recipes that ends",
        got="a.toml -> a.toml",
        fix="remove `extends`",
        before=files({"a.toml": "extends = './a.toml'\n"}),
    ),
    mistake(
        "train --recipe ./in/a.toml",
        "extends itself",
        expected="a chain of recipes that ends",
        got="a.toml -> b.toml -> a.toml",
        fix="remove `extends`",
        before=files({"in/a.toml": "extends = 'b.toml'\n", "in/b.toml": "extends = './a.toml'\n"}),
    ),
    mistake(
        "train --recipe a.toml",
        "a.toml: extends: there is no recipe called 'imagen/defualt'",
        got="imagen/defualt",
        fix="did you mean 'imagen/default'",
        before=files({"a.toml": "extends = 'imagen/defualt'\n"}),
    ),
    mistake(
        "train --recipe a.toml",
        "a.toml: extends is not text",
        expected="a recipe's name or a TOML file",
        got="3",
        fix='extends = "NAME"',
        before=files({"a.toml": "extends = 3\n"}),
    ),
    mistake(
        "train --recipe a.toml",
        "a.toml: train.steps has a value",
        "a.toml: train.batsh is not a known option",
        "a.toml: losses.denoise.weight has a value",
        expected="a number at least 0",
        got='"many"',
        fix="did you mean 'batch'",
        before=files(
            {
                "a.toml": "extends = 'imagen/default'\n[train]\nsteps = 'many'\nbatsh = 2\n"
                "[losses.denoise]\nweight = -1\n"
            }
        ),
    ),
]

VALUES = [
    mistake(f"{IMAGEN} --set train.stepz=5", "--set train.stepz=5", got="stepz", fix="did you mean 'steps'"),
    mistake(f"{IMAGEN} --set trian.steps=5", "trian is not a table", expected="train", fix="mean 'train'"),
    mistake(
        f"{IMAGEN} --set train.steps=many", "--set train.steps=many", expected="whole number", got='"many"'
    ),
    mistake(
        f"{IMAGEN} --set train.steps=1.5", "train.steps", expected="a whole number at least 1", got="1.5"
    ),
    mistake(f"{IMAGEN} --set train.steps=-5", "train.steps", expected="a whole number at least 1", got="-5"),
    mistake(f"{IMAGEN} --set train.batch=true", "train.batch", expected="a whole number", got="true"),
    mistake(f"{IMAGEN} --set train.samples=65", "train.samples", expected="at most 64", got="65"),
    mistake(
        f"{IMAGEN} --set train.prompts=cat", "train.prompts", expected="an array, each text", got='"cat"'
    ),
    mistake(f"{IMAGEN} --set train.precision=fp8", "train.precision", expected='"bf16"', got='"fp8"'),
    mistake(
        f"{IMAGEN} --set 'train.trackers=[\"wendb\"]'", "train.trackers[0]", expected='"wandb"', got='"wendb"'
    ),
    sentence(
        f"{IMAGEN} --set train.batch=4 --set train.micro_batch=8",
        "micro_batch (8) must not be larger than batch (4)",
        "lower it, or set 0",
    ),
    mistake(f"{IMAGEN} --set data.size=-32", "data.size", expected="a whole number at least", got="-32"),
    mistake(
        f"{UNET} --set data.size=36",
        "data.size: 36 pixels",
        expected="a multiple of 8",
        got="36",
        fix="--set data.size=32",
    ),
    mistake(f"{IMAGEN} --set data.cuont=5", "data.cuont", got="cuont", fix="did you mean 'count'"),
    mistake(
        f"{UNET} --set generator.channels=[30,60,90]",
        "generator.channels: 30 channels",
        expected="multiples of 8",
        got="[30, 60, 90]",
        fix="generator.groups",
    ),
    mistake(
        f"{IMAGEN} --set generator.channels=[0,0,0]",
        "generator.channels[0]",
        expected="a whole number at least 1",
        got="0",
    ),
    mistake(
        f"{UNET} --set generator.channels=[32,64]",
        "generator.attention",
        expected="2 entries",
        got="3",
        fix="true or false for each level",
    ),
    mistake(
        f"{IMAGEN} --set generator.text_width=30",
        "generator.text_width",
        expected="a multiple of 4",
        got="30",
    ),
    mistake(
        f"{IMAGEN} --set losses.denoise.weight=-1", "losses.denoise.weight", expected="at least 0", got="-1"
    ),
    mistake(
        f"{IMAGEN} --set losses.denoise.weight=inf", "losses.denoise.weight", expected="a number", got="inf"
    ),
    mistake(f"{IMAGEN} --set losses.denoise.every=0", "losses.denoise.every", expected="at least 1", got="0"),
    mistake(
        f"{IMAGEN} --set optimizer.critic.lr=0.1",
        "optimizer.critic trains nothing",
        expected="optimizer.generator",
        got="optimizer.critic",
        fix="[critics.NAME]",
    ),
    mistake(
        f"{IMAGEN} --set optimizer.generator.decay=cosin",
        "optimizer.generator.decay",
        expected='"cosine"',
        got='"cosin"',
    ),
    sentence(
        f"{IMAGEN} --set optimizer.generator.betas=[0.9,2]",
        "optimizer.generator",
        "in [0, 1), got [0.9, 2.0]",
    ),
    mistake(f"{IMAGEN} --set sampler.guidance=99", "sampler.guidance", expected="at most 50", got="99"),
    mistake(f"{IMAGEN} --seed -1", "--set train.seed=-1", expected="at least 0", got="-1"),
    sentence(f"{IMAGEN} --seed abc", "'--seed'", "integer", "t2ikit train --help"),
]

SETTINGS = [
    mistake(f"{IMAGEN} --set train.steps", "--set train.steps cannot", expected="KEY=VALUE", got="no ="),
    mistake(f"{IMAGEN} --set =5", "--set =5 cannot be read", expected="KEY=VALUE", got="the key ''"),
    mistake(f"{IMAGEN} --set train.steps=", "--set train.steps=", expected="KEY=VALUE", got="no value"),
    mistake(
        f"{IMAGEN} --set train.prompts=[a", "--set train.prompts=[a", expected="KEY=VALUE", got="not TOML"
    ),
    mistake(
        f"{DENOISER} --set train.steps.more=5", "train.steps is not a table", expected="a table", got="12"
    ),
    mistake(f"{IMAGEN} --set captions=x", "captions is not a table", expected="data", fix="data.captions"),
    mistake(f"{IMAGEN} --set steps=5", "steps is not a table", expected="train", fix="train.steps or sam"),
    mistake(f"{IMAGEN} --set samples=8", "samples is not a table", expected="train", fix="train.samples"),
    mistake(f"{IMAGEN} --set lr=1e-3", "lr is not a table", expected="train", fix="optimizer.generator.lr"),
    mistake(f"{IMAGEN} --set nothing=5", "nothing is not a table", expected="train", fix="TABLE.KEY"),
    mistake(f"{IMAGEN} --set generator=5", "generator is not a table", expected="[generator]", got="5"),
    mistake(f"{IMAGEN} --set losses.denoise=5", "not a table", expected="[losses.denoise]", got="5"),
    mistake(
        f"{IMAGEN} --set generator.use=5",
        "generator.use is not a name",
        expected="name of one of the generators",
        got="5",
        fix="imagen/unet",
    ),
    sentence(
        f"{IMAGEN} --set generator.prediction=epsilon",
        "'epsilon' cannot be used with zero_snr = true",
        "Set zero_snr=false or prediction=v_prediction",
    ),
    sentence(
        f"{IMAGEN} --set sampler.guidance_interval=[0.8,0.2]",
        "sampler",
        "guidance_interval must go from low to high noise",
    ),
    mistake(
        f"{IMAGEN} --set generator.heads=3",
        "generator.channels",
        expected="multiples of 3",
        fix="generator.heads",
    ),
]

NAMES = [
    mistake("train", "no recipe and no plugin", expected="imagen", fix="--plugin NAME, or --recipe"),
    mistake(
        "train --plugin imagin", "imagin: there is no such plugin", got="imagin", fix="did you mean 'imagen'"
    ),
    mistake(
        "train --plugin TOYS",
        "toys has not a default recipe",
        expected="exactly one requested plugin with a default recipe",
        fix="--recipe NAME",
    ),
    mistake("train --recipe imagen/defualt", "imagen/defualt", got="imagen/defualt", fix="'imagen/default'"),
    mistake(
        f"{IMAGEN} --set generator.use=imagen/uent",
        "--set generator.use=imagen/uent",
        got="imagen/uent",
        fix="did you mean 'imagen/unet'",
    ),
    mistake(
        f"{IMAGEN} --set generator.use=dpm++",
        "no generator called 'dpm++'",
        got="dpm++",
        fix="imagen/dpm++ is a sampler, not a generator",
    ),
    mistake(f"{IMAGEN} --set losses.denoize.weight=1", "losses.denoize", got="denoize", fix="mean 'denoise'"),
    mistake(f"{IMAGEN} --set sampler.use=dpm+", "sampler.use=dpm+", got="dpm+", fix="mean 'dpm++'"),
    mistake(f"{IMAGEN} --set text.use=bultin", "text.use=bultin", got="bultin", fix="mean 'builtin'"),
    mistake(
        f"{GAN} --set critics.main.use=toys/critik", "critics.main.use", got="critik", fix="'toys/critic'"
    ),
    mistake(
        f"{IMAGEN} --plugin ./unet.py --set generator.use=unet",
        "generator 'unet' is ambiguous",
        expected="imagen/unet, unet/unet",
        got="unet.py",
        fix="the whole name",
        before=files(
            {
                "unet.py": "from t2ikit import GeneratorSpec, hookimpl\n"
                "@hookimpl\ndef t2ikit_generators():\n    return [GeneratorSpec('unet', print)]\n"
            }
        ),
    ),
]

PAIRINGS = [
    mistake(
        f"{DENOISER} --set losses.adversarial.use=toys/adversarial",
        "toys/denoiser cannot work",
        "losses.adversarial (toys/adversarial)",
        expected="at least one critic",
        got="this recipe has none",
        fix="--set losses.adversarial.weight=0",
    ),
    mistake(
        f"{DENOISER} --set critics.main.use=toys/critic",
        "critics: nothing trains main",
        expected="at least one loss of the critic",
        got="contrast, learned-variance",
        fix="add one, or remove the critics",
    ),
    mistake(
        f"{GAN} --set losses.learned-variance.weight=1",
        "losses.learned-variance (toys/learned-variance)",
        expected="the signal-to-noise ratio",
        got="generator toys/gan is OneStep",
        fix="--set losses.learned-variance.weight=0",
    ),
    mistake(
        f"{IMAGEN} --set losses.denoise.weight=0",
        "nothing trains the generator",
        expected="a weight above 0",
        got="no loss",
        fix="--set losses.NAME.weight=1",
    ),
    mistake(
        f"{IMAGEN} --set sampler.guidance=3 --set generator.caption_dropout=0",
        "sampler.guidance: guidance needs",
        expected="generator.caption_dropout above 0",
        got="guidance 3 and caption dropout 0",
        fix="--set sampler.guidance=1",
    ),
    mistake(
        f"{IMAGEN} --set sampler.steps=20 --set generator.timesteps=10",
        "sampler.steps",
        expected="at most 10",
        got="20",
        fix="ask for fewer",
    ),
    mistake(
        f"{GAN} --set sampler.use=toys/ancestral",
        "sampler toys/ancestral cannot sample",
        expected="Denoiser",
        got="OneStep",
        fix="--set sampler.use=NAME",
    ),
    mistake(
        f"{DENOISER} --set sampler.use=toys/onestep",
        "sampler toys/onestep cannot sample",
        expected="OneStep",
        got="Denoiser",
        fix="--set sampler.use=NAME",
    ),
    mistake(
        f"{GAN} --set train.precision=fp16",
        "train.precision",
        expected="bf16 where there is a critic",
        got="fp16",
        fix="--set train.precision=bf16",
    ),
    mistake(
        f"{IMAGEN} --set train.precision=fp16 --device cpu",
        "train.precision: fp16 needs a GPU",
        expected="bf16 on a CPU",
        got="fp16",
        fix="--set train.precision=bf16",
    ),
]

PLACES = [
    mistake(f"{IMAGEN} --device cuda", "--device cuda", expected="auto or one of cpu", got="cuda", fix="out"),
    sentence(f"{IMAGEN} --device tpu", "'--device'", "'tpu' is not one of", "'cpu'", "t2ikit train --help"),
    mistake(
        "train --plugin imagen --out denoiser",
        "--out denoiser: the folder is not empty",
        expected="an empty one",
        got="recipe.toml",
        fix="t2ikit train --resume",
    ),
    mistake(
        "train --plugin imagen --out taken",
        "--out taken: the folder cannot be written",
        expected="a folder in which",
        got="exists",
        fix="another folder",
        before=files({"taken": "a file"}),
    ),
    mistake(
        "train --plugin imagen --out taken/run",
        "--out taken/run: the folder cannot be written",
        expected="a folder in which",
        got="Not a directory",
        fix="another folder",
        before=files({"taken": "a file"}),
    ),
    sentence(f"{IMAGEN} --steps 5", "--steps", "No such option", "t2ikit train --help"),
    sentence(f"{IMAGEN} cats", "unexpected extra argument", "cats", "t2ikit train --help"),
]

GIGAGAN = "train --plugin gigagan --out new"
LEVELS = [
    mistake(f"{GIGAGAN} --set data.size=48", "data.size", expected="8, 16, 32", got="48", fix="data.size=64"),
    mistake(
        f"{GIGAGAN} --set generator.filters=[0,1,1,1]",
        "generator.filters[0]",
        expected="at least 1",
        got="0",
        fix="t2ikit options",
    ),
    mistake(
        f"{GIGAGAN} --set generator.channels=[8,8]",
        "channels",
        expected="4 entries",
        got="[8, 8]",
        fix="data.size",
    ),
    mistake(
        f"{GIGAGAN} --set generator.head_width=24",
        "64 channels cannot be divided into heads",
        expected="a multiple of head_width 24",
        got="64",
        fix="head_width",
    ),
    mistake(
        f"{GIGAGAN} --set losses.clip.use=gigagan/clip",
        "losses.clip.model is missing",
        expected="text",
        fix="t2ikit options",
    ),
    mistake(
        f"{GIGAGAN} --set losses.clip.use=gigagan/clip --set losses.clip.model=./gone",
        "CLIP model ./gone",
        expected="config.json",
        got="./gone",
        fix="examples/train_clip.py",
    ),
]

CASES = [*FILES, *VALUES, *SETTINGS, *NAMES, *PAIRINGS, *PLACES, *LEVELS]
