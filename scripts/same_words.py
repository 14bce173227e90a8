"""Whether `optimize`, `study` and `compare` judge the same cases in the same words: `same_words.py AMPOULE SHARED CASES WORK`.

Twelve photos of feet, one tile, and the 347 patches of the dev split. Each is validated by `optimize` on the model that it
writes; that file is then a variant of a study whose test cases are the same ones, and `compare` judges it once more. Every
sentence of `optimize` must be in what the other two print. CASES is what scripts/paper_cases.py made. Needs only Python.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ampoule, shared, cases, work = (Path(a).resolve() for a in sys.argv[1:5])
root = Path(__file__).resolve().parent.parent


def some(folder, into, count):
    """The first `count` files of a folder, in a folder of their own."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for file in sorted(folder.iterdir())[:count]:
        shutil.copy(file, into)
    return into


def run(*arguments):
    """What the program prints; an exit code other than 0 and 4 (a limit is not met) ends this script."""
    done = subprocess.run([str(a) for a in (ampoule, *arguments)], capture_output=True, text=True)
    if done.returncode not in (0, 4):
        sys.exit(f"{' '.join(map(str, arguments))}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def sentences(printed, metrics):
    """The lines that judge a metric, in any order."""
    lines = (line.strip() for line in printed.splitlines())
    return sorted(line for line in lines if line.split(":")[0] in metrics)


PHOTOS = {"accuracy": 0.02, "balanced-accuracy": 0.02, "auroc": 0.02, "agreement": 0.02}
TILES = {"dice": 0.01, "hd95": 5, "agreement": 0.01}
LABELS = cases / "dfu_vgg11/validate.csv"
MASKS = shared / "data/he_train/masks"
KINDS = [
    ("twelve photos", "dfu_vgg11", "dfu.toml", "dfu_vgg11", LABELS, PHOTOS, 12),
    ("one tile", "he_resunet16", "glas.toml", "glas", MASKS, TILES, 1),
    ("347 patches", "dfu_vgg11", "dfu.toml", "dfu_vgg11", LABELS, PHOTOS, 347),
]

wrong = 0
for name, model, recipe, folder, truth, limits, count in KINDS:
    own = work / name.replace(" ", "-")
    model, recipe = shared / "models" / f"{model}.onnx", root / "recipes" / recipe
    calibrate = some(cases / folder / "calibrate", own / "calibrate", 8)
    judged = some(cases / folder / "validate", own / "judged", count)
    small = own / "small.onnx"
    drops = [a for metric, most in limits.items() for a in ("--max-drop", f"{metric}={most}")]
    said = run(
        "optimize", model, "--recipe", recipe, "-o", small, "--overwrite", "--calibrate", calibrate,
        "--validate", judged, "--truth", truth, *drops,
    )  # fmt: skip
    margins = ", ".join(f"{m} = {v}" for m, v in limits.items())
    study = own / "study.toml"
    study.write_text(
        'version = 1\nname = "same-words"\nrounds = 3\nseconds = 0.01\nbaseline = "original"\n'
        '[[profile]]\nname = "all"\nthreads = 1\n'
        '[[variant]]\nname = "original"\nkind = "original"\n'
        f'[[variant]]\nname = "small"\nkind = "file"\nmodel = "{small}"\n'
        f'[[workload]]\nname = "cases"\nmodel = "{model}"\nrecipe = "{recipe}"\ntest = "{judged}"\ntruth = "{truth}"\n'
        f"margins = {{ {margins} }}\n"
    )
    studied = run("study", study, "-o", own / "study", "--overwrite")
    compared = run("compare", model, small, judged, "--recipe", recipe, "--truth", truth, *drops)
    metrics = {line.split(":")[0].strip() for line in said.splitlines()} & {*limits, *(f"{m}:{c}" for m in limits for c in range(9))}
    metrics |= {m for m in limits}
    first = sentences(said, metrics)
    if not first:
        sys.exit(f"{name}: `optimize` says nothing of {', '.join(limits)}")
    for other, printed in (("study", studied), ("compare", compared)):
        same = sentences(printed, metrics) == first
        wrong += not same
        print(f"{name}: {len(first)} sentences of `optimize` and `{other}`: {'the same' if same else 'NOT the same'}")
        if not same:
            print("  optimize:", *first, f"  {other}:", *sentences(printed, metrics), sep="\n    ")
    print("   ", "\n    ".join(first))
sys.exit(wrong > 0)
