"""All parts, those that others need before them. A figure that is added to the docs is added here."""

from __future__ import annotations

from figures.part import EMOJI, README, RESULTS, Part
from figures.your_images import YOUR_IMAGES

NUMBERS = "docs/numbers.md"
ACCURACY = "--metrics prompt-accuracy"
CLIP_TEACHER = "clip-teacher"
PEER_PACKAGES = ("minimagen", "imagen_pytorch", "gigagan_pytorch", "einops", "einops_exts", "ema_pytorch")
GIGA = (
    "--set critics.giga.use=gigagan/multiscale --set losses.adversarial.use=gigagan/adversarial "
    "--set losses.adversarial.weight=0.01 --set losses.critic.use=gigagan/adversarial-critic "
    "--set losses.matching.use=gigagan/matching --set losses.r1.use=gigagan/r1 --set losses.r1.weight=5 "
    "--set losses.r1.every=8"
)


def super_resolution(plugin: str, data: str) -> Part:
    """A super-resolution recipe on one dataset."""
    kind = "super-resolution" if plugin == "imagen" else "super-resolution-gan"
    quoted = (README,) if (plugin, data) == ("gigagan", "creatures") else ()
    name, run = f"{kind}-{data}", f"runs/{kind}-{data}"
    recipe = f"--plugin {plugin} --recipe {plugin}/sr-32-64 --data {data}"
    measure = f"python benchmarks/super_resolution.py {run} --clip clip-64-{data}"
    return Part(
        name,
        f"upscaling {data} with {plugin}/sr-32-64",
        (*quoted, "docs/super-resolution.md"),
        (
            f"t2ikit train {recipe} --out {run}",
            f"{measure} --json numbers/{name}.json --grid numbers/{name}.png",
        ),
        {f"{RESULTS}/{name}.json": f"numbers/{name}.json", f"docs/{name}.png": f"numbers/{name}.png"},
        after=(f"clip-64-{data}",),
        packages=EMOJI if data == "openmoji" else (),
    )


def clip_64(data: str) -> Part:
    """The CLIP that judges super-resolution of one dataset."""
    name = f"clip-64-{data}"
    command = f"python examples/train_clip.py --data {data} --size 64 --patch 16 --steps 600 --out {name}"
    packages = EMOJI if data == "openmoji" else ()
    return Part(
        name, f"the judge of upscaled {data}", ("docs/super-resolution.md",), (command,), packages=packages
    )


def study(data: str, **files: str) -> Part:
    """One half of the study."""
    folder, name = f"study/{data}-32", f"study-{data}"
    kept = {f"docs/{place.replace('_', '-')}.png": f"{folder}/{source}" for place, source in files.items()}
    return Part(
        name,
        f"the study on {data}",
        ("docs/study.md",),
        (f"python examples/study/study.py {data} --out study",),
        {f"{RESULTS}/{name}-32.json": f"{folder}/numbers.json", **kept},
        packages=EMOJI if data == "openmoji" else (),
    )


def seed(number: int) -> Part:
    """The default recipe at another seed."""
    run = f"runs/default-seed-{number}"
    return Part(
        f"seed-{number}",
        f"the default recipe at seed {number}",
        (NUMBERS, "docs/imagen.md"),
        (
            f"t2ikit train --plugin imagen --seed {number} --out {run}",
            f"t2ikit evaluate {run} --metrics prompt-accuracy,reader-distance -n 1024 "
            f"--json numbers/default-seed-{number}.json",
        ),
    )


def plain(number: int) -> Part:
    """The recipe imagen/plain at a seed."""
    run = f"runs/plain-seed-{number}"
    return Part(
        f"plain-{number}",
        f"the default of before at seed {number}",
        ("docs/imagen.md",),
        (
            f"t2ikit train --plugin imagen --recipe imagen/plain --seed {number} --out {run}",
            f"t2ikit evaluate {run} --metrics prompt-accuracy,reader-distance -n 512 "
            f"--json numbers/plain-seed-{number}.json",
        ),
    )


def student(number: int) -> Part:
    """The student of the default recipe at a seed."""
    teacher = f"default-seed-{number}" if number else "default"
    return Part(
        f"student-{number}",
        f"the student of the default recipe at seed {number}",
        ("docs/distil.md",),
        (
            f"python benchmarks/distillation.py runs/{teacher} --seed {number} --out runs/students "
            f"--table numbers/student-{number}.md",
        ),
        after=(f"seed-{number}" if number else "default",),
    )


def denoiser(name: str, settings: str, *after: str) -> Part:
    """500 steps of the default denoiser with a loss of the gigagan plugin beside its own."""
    run = f"runs/{name}"
    return Part(
        name,
        "500 steps of the default denoiser, with losses of the gigagan plugin or without",
        ("docs/gigagan.md",),
        (
            f"t2ikit train --plugin imagen --set train.steps=500 {settings} --out {run}",
            f"t2ikit evaluate {run} {ACCURACY} -n 512 --json numbers/{name}.json",
        ),
        after=after,
    )


_ALL = (
    Part(
        "default",
        "the default denoiser: its accuracy, minutes, memory and grid",
        (NUMBERS,),
        (
            "t2ikit train --plugin imagen --out runs/default",
            f"t2ikit evaluate runs/default {ACCURACY} -n 1024 --json numbers/default.json",
        ),
        {"docs/creatures-grid.png": "runs/default/samples/step-*.png"},
    ),
    *map(seed, range(1, 5)),
    *map(plain, range(5)),
    *map(student, range(3)),
    Part(
        "long",
        "the longer recipe: its accuracy, minutes and grid",
        (NUMBERS,),
        (
            "t2ikit train --plugin imagen --recipe imagen/long --out runs/long",
            f"t2ikit evaluate runs/long {ACCURACY} -n 1024 --json numbers/long.json",
        ),
        {"docs/long-grid.png": "runs/long/samples/step-*.png"},
    ),
    Part(
        "guidance",
        "one prompt at three guidance weights",
        (NUMBERS,),
        (
            't2ikit sample runs/long "a green cat with red eyes" -n 4 --guidance 0.1 --guidance 3 '
            "--guidance 5 --out guidance",
        ),
        {"docs/guidance-grid.png": "guidance/grid.png"},
        after=("long",),
    ),
    Part(
        "steps",
        "samples of the default recipe at six of its steps",
        (README,),
        (
            "STEPS=100,200,300,500,700,1000 t2ikit train --plugin imagen --plugin ./examples/steps_grid.py "
            "--set train.sample_every=100 --set train.samples=1 --out runs/steps",
        ),
        {"docs/steps-grid.png": "runs/steps/samples/steps.png"},
    ),
    Part(
        "gan",
        "the default GAN: its accuracy, minutes, memory, grid, and the time of 1,024 images",
        (NUMBERS, "docs/gigagan.md"),
        (
            "t2ikit train --plugin gigagan --out runs/gan",
            f"t2ikit evaluate runs/gan {ACCURACY} -n 1024 --json numbers/gan.json",
            "python benchmarks/variants.py --plugin gigagan --out runs/gan-seeds --seeds 0 1 2 "
            "--variant as-it-is -n 1024 --table numbers/gan-seeds.md",
            "t2ikit train --plugin gigagan --recipe gigagan/plain --out runs/gan-plain",
            f"t2ikit evaluate runs/gan-plain {ACCURACY} -n 1024 --json numbers/gan-plain.json",
        ),
        {"docs/gan-grid.png": "runs/gan/samples/step-*.png"},
    ),
    Part(
        "packaged",
        "the packaged models: accuracy, distance, diversity (what the package carries stays as it is)",
        (README, "docs/distil.md"),
        ("python benchmarks/packaged.py --out runs/packaged --into packaged",),
    ),
    Part(
        "student-two-calls",
        "a student of two calls of the packaged teacher",
        ("docs/distil.md",),
        (
            "python benchmarks/distillation.py creatures --variants two-calls --out runs/students "
            "--table numbers/student-two-calls.md",
        ),
    ),
    Part(
        "student-epsilon",
        "a teacher that predicts the noise, and its student",
        ("docs/distil.md",),
        (
            "t2ikit train --plugin imagen --set generator.prediction=epsilon --set generator.zero_snr=false "
            "--set losses.denoise.weighting=soft_min_snr --out runs/epsilon",
            "python benchmarks/distillation.py runs/epsilon --out runs/students "
            "--table numbers/student-epsilon.md",
        ),
    ),
    Part(
        "side-by-side",
        "the packaged model and its student on the same prompts",
        (README,),
        ("python benchmarks/side_by_side.py --out side-by-side.png",),
        {"docs/side-by-side.png": "side-by-side.png"},
    ),
    Part(
        "editing",
        "what of a creature changes at which strength",
        ("docs/editing.md",),
        ("python benchmarks/editing.py runs/default runs/default-seed-1 -n 32 --json editing.json",),
        {"benchmarks/results/editing.json": "editing.json"},
        after=("default", "seed-1"),
    ),
    Part(
        "unet-peers",
        "imagen-64 beside MinImagen's U-Net",
        (README, NUMBERS),
        (
            "python benchmarks/unet_vs_peers.py --peer minimagen --repeats 5 "
            "--json numbers/unet_vs_minimagen.json",
        ),
        {f"{RESULTS}/unet_vs_minimagen.json": "numbers/unet_vs_minimagen.json"},
        packages=("minimagen", "einops", "einops_exts", "resize_right"),
    ),
    Part(
        "equal-minutes",
        "t2ikit beside other packages at equal minutes",
        (NUMBERS,),
        ("python benchmarks/equal_minutes.py --out equal --json numbers/equal-minutes.json",),
        {f"{RESULTS}/equal-minutes.json": "numbers/equal-minutes.json"},
        packages=PEER_PACKAGES,
    ),
    Part(
        "reader",
        "how often the attribute classifier is right on new drawings",
        (NUMBERS,),
        ("python benchmarks/train_creature_reader.py --out numbers/creature_reader.safetensors",),
    ),
    Part(
        "samplers",
        "20 steps of dpm++ beside 1,000 of ddpm",
        (README, "docs/imagen.md"),
        ("python benchmarks/samplers.py runs/long --json numbers/samplers.json",),
        {f"{RESULTS}/samplers.json": "numbers/samplers.json"},
        after=("long",),
    ),
    Part(
        "sweep",
        "guidance and thresholding of the default denoiser",
        ("docs/evaluating.md",),
        (
            "t2ikit evaluate runs/default --metrics prompt-accuracy,colours -n 64 --sweep guidance=1,3,5 "
            "--sweep sampler.thresholding=none,static,dynamic --json numbers/sweep.json",
        ),
        after=("default",),
    ),
    Part(
        "compare",
        "the top of a report",
        ("docs/evaluating.md",),
        (
            "t2ikit compare runs/default runs/gan --out report.html",
            "chromium --headless --no-sandbox --hide-scrollbars --window-size=1200,1500 "
            "--screenshot=numbers/compare.png report.html",
        ),
        {"docs/compare.png": "numbers/compare.png"},
        after=("default", "gan"),
        programs=("chromium",),
    ),
    Part(
        "verdicts",
        "how often an ablation is right about a loss without effect and a harmful one",
        ("docs/ablating.md",),
        ("python benchmarks/verdicts.py --out verdicts --json numbers/verdicts.json",),
        {f"{RESULTS}/verdicts.json": "numbers/verdicts.json"},
    ),
    Part(
        "demo",
        "the page of t2ikit demo",
        ("docs/demo.md",),
        ("python benchmarks/pages.py demo --out numbers/demo.png",),
        {"docs/demo.png": "numbers/demo.png"},
        packages=("gradio", "playwright"),
        programs=("chromium",),
    ),
    Part(
        "watching",
        "the page of t2ikit watch",
        ("docs/watching.md",),
        ("python benchmarks/pages.py watch runs/default runs/default-seed-1 --out numbers/watching.png",),
        {"docs/watching.png": "numbers/watching.png"},
        after=("default", "seed-1"),
        packages=("playwright",),
        programs=("chromium",),
    ),
    Part(
        "gan-ladder",
        "what each part of the GAN adds",
        ("docs/gan-ladder.md",),
        ("python benchmarks/gan_ladder.py --steps 500 --out ladder --table numbers/gan-ladder.md",),
        {"docs/gan-ladder.md": "numbers/gan-ladder.md"},
    ),
    study(
        "creatures",
        study_creatures="side-by-side.png",
        study_curves="curves.png",
        study_steps="numbers/diffusion-seed0-curve.png",
    ),
    study("openmoji", study_openmoji="side-by-side.png"),
    Part(
        "study-memory",
        "what the full GAN at 64 px takes",
        ("docs/study.md",),
        (
            "t2ikit memory --plugin gigagan --recipe gigagan/gigagan-64 --set train.micro_batch=2 "
            "--set losses.clip.weight=0",
        ),
    ),
    Part(
        CLIP_TEACHER,
        "a small CLIP of creatures, for the CLIP loss",
        ("docs/gigagan.md",),
        (f"python examples/train_clip.py --data creatures --out {CLIP_TEACHER} --steps 600",),
    ),
    denoiser("denoiser-alone", ""),
    denoiser(
        "denoiser-with-clip",
        f"--set losses.clip.use=gigagan/clip --set losses.clip.model={CLIP_TEACHER} "
        "--set losses.clip.weight=0.05",
        CLIP_TEACHER,
    ),
    denoiser("denoiser-with-critic", GIGA),
    Part(
        "openmoji",
        "how well emoji are learned",
        ("docs/openmoji.md",),
        (
            "t2ikit train --plugin imagen --recipe openmoji-32 --out runs/openmoji-32",
            "python benchmarks/openmoji_accuracy.py runs/openmoji-32 --json numbers/openmoji-32.json "
            "--grid numbers/openmoji-recall.png",
        ),
        {
            f"{RESULTS}/openmoji-32.json": "numbers/openmoji-32.json",
            "docs/openmoji-recall.png": "numbers/openmoji-recall.png",
        },
        packages=EMOJI,
    ),
    *YOUR_IMAGES,
    clip_64("creatures"),
    clip_64("openmoji"),
    *(
        super_resolution(plugin, data)
        for plugin in ("imagen", "gigagan")
        for data in ("creatures", "openmoji")
    ),
    Part(
        "cascade",
        "the seconds of a prompt through two models",
        ("docs/super-resolution.md",),
        (
            't2ikit sample runs/default "a green cat with red eyes" -n 1 --steps 20 '
            "--upscale runs/super-resolution-creatures --set upscale.steps=20 --out cascade",
        ),
        after=("default", "super-resolution-creatures"),
    ),
    Part(
        "memory",
        "what imagen/sr-64-256 takes in training, and its sampling on a CPU",
        ("docs/super-resolution.md",),
        (
            "t2ikit memory --plugin imagen --recipe imagen/sr-64-256",
            "t2ikit memory --plugin imagen --recipe imagen/sr-64-256 --set generator.checkpointing=true",
            "t2ikit memory --plugin imagen --recipe imagen/sr-64-256 --set train.micro_batch=1",
        ),
    ),
    Part(
        "sampling-memory",
        "the memory of upscaling to 256 px on a CPU",
        ("docs/super-resolution.md",),
        (
            "t2ikit train --plugin imagen --recipe imagen/sr-64-256 --set train.steps=1 --set train.batch=1 "
            "--set train.samples=1 --set train.validation_images=1 --out runs/sr-64-256",
            "python benchmarks/super_resolution.py runs/sr-64-256 -n 1 --steps 2",
        ),
    ),
    Part(
        "stock-diffusers",
        "imagen-if in stock diffusers beside t2ikit",
        ("docs/exporting.md",),
        (
            "python examples/train_t5.py --out t5-creatures",
            "t2ikit train --plugin imagen --recipe imagen/imagen-if --set text.model=t5-creatures "
            "--out runs/if",
            "python benchmarks/stock_diffusers.py runs/if --python $STOCK_PYTHON "
            "--json numbers/stock-diffusers.json",
        ),
        {f"{RESULTS}/stock-diffusers.json": "numbers/stock-diffusers.json"},
        variables={"STOCK_PYTHON": "a Python with diffusers and transformers and without t2ikit"},
    ),
    Part(
        "filter-bank",
        "the filter bank beside gigagan-pytorch's, by layer size",
        (README,),
        ("python benchmarks/filter_bank.py --json numbers/filter_bank.json",),
        {f"{RESULTS}/filter_bank.json": "numbers/filter_bank.json"},
        packages=("gigagan_pytorch", "kornia", "einops", "ema_pytorch", "beartype", "numerize"),
    ),
    Part(
        "loader",
        "images a second of the loader (results alone)",
        (),
        ("python benchmarks/loader.py --json numbers/loader.json",),
        {f"{RESULTS}/loader.json": "numbers/loader.json"},
        packages=EMOJI,
    ),
    Part(
        "gpu",
        "everything that is measured on a GPU",
        ("docs/gpu.md",),
        ("bash benchmarks/gpu.sh core startup tests peers layers sampling memory",),
        cuda=True,
    ),
)
PARTS = {part.name: part for part in _ALL}
