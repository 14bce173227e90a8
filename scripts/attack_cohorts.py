"""Odd tables, data sets and comparisons for `scripts/attack.py`: the right case gets the right file, and figures are those of numpy."""

import json
import os
import re
import struct
import subprocess

import nibabel
import numpy as np
from PIL import Image


from attack_files import info, model, node, tensor
from attack_groups import Attempt
from attack_photos import chooser

COLOURS = {"red": 1, "green": 2, "blue": 3}


def said(a):
    """What an attempt printed as JSON."""
    return json.loads(a.said[a.said.index("{"):a.said.rindex("}") + 1])


def painted(d):
    """Pictures of one colour."""
    for name, label in COLOURS.items():
        rgb = np.full((8, 8, 3), 20, np.uint8)
        rgb[..., label - 1] = 200
        (d / "in").mkdir(exist_ok=True)
        Image.fromarray(rgb).save(d / "in" / f"{name}.png")


def odd_manifests(d):
    """`run` and `plan` on odd tables of cases: the right file under the right name."""
    chooser(d / "m.onnx")
    painted(d)
    usual = "case,photo\none,in/red.png\ntwo,in/green.png\nthree,in/blue.png\n"
    right = {"one": "red", "two": "green", "three": "blue"}
    (d / "deep" / "er").mkdir(parents=True)
    odd = "in/b, \"l\"\nue.png"
    Image.open(d / "in/blue.png").save(d / odd)
    cases = {
        "usual": (usual, right), "BOM": ("\ufeff" + usual, right), "semicolons": (usual.replace(",", ";"), right), "tabs": (usual.replace(",", "\t"), right),
        "crlf": (usual.replace("\n", "\r\n"), right), "cr": (usual.replace("\n", "\r"), None), "quotes": ('"case","photo"\n"one","in/red.png"\n"two","in/green.png"\n"three","in/blue.png"\n', right),
        "blank lines": (usual.replace("\n", "\n\n"), right), "blank columns": (usual.replace("\n", ",,\n"), None), "spaces": (usual.replace(",", " , "), None),
        "capitals": (usual.replace("case,photo", "Case,Photo"), None), "other order": ("photo,case\nin/red.png,one\nin/green.png,two\nin/blue.png,three\n", right),
        "more columns": ("id,case,photo,note\n" + "".join(f"7,{c},in/{f}.png,\"a;b,c\"\n" for c, f in right.items()), right),
        "two columns of a name": ("case,photo,photo\none,in/red.png,in/blue.png\n", {}), "two cases of a name": ("case,photo\none,in/red.png\none,in/green.png\n", None),
        "case by case": ("case,photo\nOne,in/red.png\none,in/green.png\n", None), "a cell short": ("case,photo\none,in/red.png\ntwo\nthree,in/blue.png\n", None),
        "a cell more": ("case,photo\none,in/red.png,x\n", None), "a file missing": ("case,photo\none,in/red.png\ntwo,in/nowhere.png\nthree,in/blue.png\n", {"one": "red", "three": "blue"}),
        "no name": ("case,photo\n,in/red.png\n", None), "no case column": ("photo\nin/red.png\nin/green.png\n", None), "no header": ("one,in/red.png\ntwo,in/green.png\n", {}),
        "header alone": ("case,photo\n", {}), "quoted line": (f'case,photo\none,"{odd.replace(chr(34), chr(34) * 2)}"\n', {"one": "blue"}), "open quote": ('case,photo\none,"in/red.png\ntwo,in/green.png\n', {}),
        "comment": ("# words\n" + usual, None), "same file twice": ("case,photo\none,in/red.png\ntwo,in/red.png\n", {"one": "red", "two": "red"}),
        "dots": ("case,photo\none,./in/../in/red.png\n", {"one": "red"}), "absolute": (f"case,photo\none,{d}/in/red.png\n", {"one": "red"}), "backslashes": ("case,photo\none,in\\red.png\n", None),
        "numbers as names": ("case,photo\n001,in/red.png\n1,in/green.png\n1.0,in/blue.png\n", {"001": "red", "1": "green", "1.0": "blue"}),
    }
    for name, (text, wanted) in cases.items():
        for code, ending in (("utf-8", ""), ("utf-16", " 16"), ("latin-1", " l1")):
            if ending and (name not in ("usual", "semicolons", "crlf", "quotes") or code == "latin-1" and name == "BOM"):
                continue
            path = d / f"{name}{ending}.csv"
            path.write_bytes(text.encode(code))
            yield Attempt(name + ending, ["run", "m.onnx", path.name, "-o", f"out {name}{ending}"], codes=(0, 1, 2, 3),
                          right=lambda code, out=d / f"out {name}{ending}", wanted=wanted: shown(out, wanted))
    (d / "deep/er/list.csv").write_text("case,photo\none,../../in/red.png\ntwo,../../in/green.png\n")
    yield Attempt("paths from the table's folder", ["run", "m.onnx", "deep/er/list.csv", "-o", "out deep"], codes=(0,), right=lambda code: shown(d / "out deep", {"one": "red", "two": "green"}))


def shown(out, wanted):
    """Whether each mask that was written is of its picture; without `wanted` any of those that are there must be one colour."""
    wrong = []
    found = {p.name.removesuffix("_mask.png"): p for p in out.rglob("*_mask.png")}
    if wanted is None:
        # What is read of such a table, if anything, is read as its words say.
        usual = {"one": "red", "two": "green", "three": "blue"}
        known = {"one": {"red", "green", "blue"}}
        wanted = {k: v for k, v in usual.items() if k in found}
        found = {k: v for k, v in found.items() if k in wanted and k not in ("one",) or k in known and len(found) > 2}
        wanted = {k: v for k, v in wanted.items() if k in found}
    for case, colour in wanted.items():
        if case not in found:
            wrong.append(f"{case} was not run")
        elif set(np.unique(np.asarray(Image.open(found[case])))) != {COLOURS[colour]}:
            wrong.append(f"{case} shows another picture than {colour}")
    return wrong + [f"{c} was run" for c in found if c not in wanted]


TWO = """version = 2
[model]
name = "m"
task = "segmentation"
[[input]]
name = "a"
suffix = "_T1w"
[[input]]
name = "b"
suffix = "_FLAIR"
[[network]]
activation = "none"
[[label]]
name = "ground"
[[label]]
name = "thing"
"""


def odd_bids(d):
    """`run` on odd data sets in BIDS, with models of one and two images a case."""
    # Labels where the second image is larger than the first.
    (d / "two.onnx").write_bytes(model(
        [node("Conv", ["image", "w"], ["scores"])], [info("image", ["n", 2, "d", "h", "w"])], [info("scores", ["n", 2, "d", "h", "w"])],
        [tensor("w", [2, 2, 1, 1, 1], struct.pack("<4f", 1, 0, 0, 1))], [("ampoule.recipe", TWO)]))
    rng = np.random.default_rng(4)

    def put(path, shift=0.0):
        v = rng.permutation(8 * 7 * 6).reshape(8, 7, 6).astype(np.float32)
        path = d / "bids" / path
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([2, 2, 2, 1.0])
        affine[0, 3] = shift
        nibabel.save(nibabel.Nifti1Image(v, affine), path)
        return v

    wanted = {}
    for place in ("sub-01/anat/sub-01", "sub-02/ses-a/anat/sub-02_ses-a", "sub-02/ses-b/anat/sub-02_ses-b", "sub-03/anat/sub-03_run-1", "sub-03/anat/sub-03_run-2",
                  "sub-04/anat/sub-04_acq-x_ce-gd"):
        a, b = put(f"{place}_T1w.nii.gz"), put(f"{place}_FLAIR.nii.gz")
        wanted[os.path.basename(place)] = b > a
    put("sub-05/anat/sub-05_T1w.nii.gz")
    put("sub-06/ses-a/anat/sub-06_ses-a_T1w.nii.gz")
    put("sub-06/ses-b/anat/sub-06_ses-b_FLAIR.nii.gz")
    put("sub-07/anat/sub-07_T1w.nii.gz")
    put("sub-07/anat/sub-07_FLAIR.nii.gz", 1.0)
    put("derivatives/x/sub-01/anat/sub-01_T1w.nii.gz")
    put("derivatives/x/sub-01/anat/sub-01_FLAIR.nii.gz")
    put("sub-01/func/sub-01_task-rest_bold.nii.gz")
    put("sub-01/anat/sub-01_T2w.nii.gz")
    (d / "bids/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (d / "bids/T1w.json").write_text('{"RepetitionTime": 2}')
    (d / "bids/participants.tsv").write_text("participant_id\tage\nsub-01\t3\n")

    def right(case, labels):
        def check():
            found = [p for p in (d / "out").rglob("*_mask.nii.gz") if p.name.startswith(case + "_")]
            if len(found) != 1:
                return [f"{len(found)} masks: {[str(p) for p in found]}"]
            off = (np.asarray(nibabel.load(found[0]).dataobj) > 0) != labels
            return [f"{off.sum()} voxels are wrong"] if off.any() else []
        return check

    def others():
        masks = [p.name for p in (d / "out").rglob("*_mask.nii.gz")]
        more = [m for m in masks if not any(m.startswith(c + "_") for c in wanted)]
        table = (d / "out/failures.csv").read_text() if (d / "out/failures.csv").is_file() else ""
        return [f"{m} was made" for m in more] + [f"{s} is not told" for s in ("sub-05", "sub-06", "sub-07") if s not in table]

    yield Attempt("two images", ["run", "two.onnx", "bids", "-o", "out"], codes=(1,), each={**{c: right(c, v) for c, v in wanted.items()}, "incomplete": others}, most=20_000)


def odd_comparisons(d):
    """`evaluate` on odd masks and tables, against numpy."""
    rng = np.random.default_rng(6)
    affine = np.diag([2, 2, 2, 1.0])

    def put(side, name, v, a=affine, kind=np.uint8):
        path = d / side / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(v.astype(kind), a), path)

    full = rng.integers(0, 2, (6, 5, 4))
    nothing = np.zeros_like(full)
    pairs = {"equal": (full, full), "empty truth": (full, nothing), "empty both": (nothing, nothing), "missed": (nothing, full), "half": (full * (np.arange(6) < 3)[:, None, None], full)}
    for name, (p, t) in pairs.items():
        put(f"p {name}", "a", p)
        put(f"t {name}", "a", t)
        p, t = p > 0, t > 0
        dice = 1.0 if not (p.any() or t.any()) else 2 * (p & t).sum() / (p.sum() + t.sum())

        def right(code, a=None, dice=dice, t=t, p=p):
            total = said(a)["total"]
            wrong = [] if abs(total["dice_mean"] - dice) < 1e-9 else [f"Dice {total['dice_mean']}, not {dice}"]
            off = abs(int(p.sum()) - int(t.sum())) / t.sum() * 100 if t.any() else None
            found = total["volume_difference_percent"]
            if (found is None) != (off is None) or off is not None and abs(found - off) > 1e-6:
                wrong.append(f"volume difference {found}, not {off}")
            if not t.any() or not p.any():
                if total["hd95_mm_mean"] is not None:
                    wrong.append(f"HD95 {total['hd95_mm_mean']} of one empty mask")
            return wrong

        attempt = Attempt(name, ["evaluate", f"p {name}", f"t {name}", "--json"], codes=(0,))
        attempt.right = lambda code, a=attempt, right=right: right(code, a)
        yield attempt
        spoken = Attempt(f"{name}, told", ["evaluate", f"p {name}", f"t {name}"], codes=(0,))
        spoken.right = lambda code, a=spoken, t=t: ["it tells of a volume difference of nothing"] if not t.any() and "volume off by" in a.said else ["it says NaN"] if re.search(r"\bNaN\b|\binf\b", a.said) else []
        yield spoken
    moved = affine.copy()
    moved[0, 3] = 1
    for name, a in {"moved": moved, "finer": np.diag([1, 2, 2, 1.0]), "turned": np.diag([-2, 2, 2, 1.0])}.items():
        put(f"p {name}", "a", full)
        put(f"t {name}", "a", full, a)
        yield Attempt(f"grid {name}", ["evaluate", f"p {name}", f"t {name}"])
    put("p flip", "a", full)
    turned = np.diag([-2, 2, 2, 1.0])
    turned[0, 3] = 10
    put("t flip", "a", full[::-1], turned)
    flip = Attempt("the same stored from the other side", ["evaluate", "p flip", "t flip", "--json"], codes=(0,))
    flip.right = lambda code: [] if said(flip)["total"]["dice_mean"] == 1 else ["it is not the same"]
    yield flip
    # What is not finite counts as 0, and is told of.
    put("p some nan", "a", np.where(full, 1.0, np.nan), kind=np.float32)
    put("t some nan", "a", full)
    yield Attempt("some nan", ["evaluate", "p some nan", "t some nan"], codes=(0, 3), words=["not finite"])
    for name, v, kind in (("nan", np.full(full.shape, np.nan), np.float32), ("labels of floats", full * 1.5, np.float32), ("negative", -full, np.int16),
                          ("large", full * 70000, np.int32)):
        put(f"p {name}", "a", v, kind=kind)
        put(f"t {name}", "a", full)
        yield Attempt(name, ["evaluate", f"p {name}", f"t {name}"])
    # Tables of classes.
    n = 40
    truth = rng.integers(0, 3, n)
    scores = rng.dirichlet([1, 1, 1], n)
    scores[np.arange(n), truth] += 0.5
    scores /= scores.sum(1, keepdims=True)
    names = ["a", "b", "c"]
    rows = lambda s: "file,class,prob_a,prob_b,prob_c\n" + "".join(f"x{i}.png,{names[s[i].argmax()] if np.isfinite(s[i]).all() else 'a'},{','.join(f'{v:.9g}' for v in s[i])}\n" for i in range(n))
    (d / "truth.csv").write_text("file,label\n" + "".join(f"x{i}.png,{names[t]}\n" for i, t in enumerate(truth)))
    (d / "shuffled.csv").write_text("file,label\n" + "".join(f"x{i}.png,{names[truth[i]]}\n" for i in rng.permutation(n)))
    (d / "p.csv").write_text(rows(scores))
    accuracy = float((scores.argmax(1) == truth).mean())
    for t in ("truth", "shuffled"):
        attempt = Attempt(f"classes, {t}", ["evaluate", "p.csv", f"{t}.csv", "--json"], codes=(0,))
        attempt.right = lambda code, a=attempt: [] if abs(said(a)["total"]["accuracy"] - accuracy) < 1e-9 else [f"accuracy {said(a)['total']['accuracy']}, not {accuracy}"]
        yield attempt
    broken = scores.copy()
    broken[3] = np.nan
    (d / "nan.csv").write_text(rows(broken))
    yield Attempt("probabilities that are not numbers", ["evaluate", "nan.csv", "truth.csv"])
    (d / "over.csv").write_text(rows(scores * 3))
    yield Attempt("probabilities above 1", ["evaluate", "over.csv", "truth.csv"])
    (d / "one.csv").write_text("file,label\n" + "".join(f"x{i}.png,a\n" for i in range(n)))
    one = Attempt("one class alone", ["evaluate", "p.csv", "one.csv"], codes=(0, 3))
    one.right = lambda code: ["it says NaN"] if "NaN" in one.said else []
    yield one
    (d / "strange.csv").write_text("file,label\n" + "".join(f"x{i}.png,z\n" for i in range(n)))
    yield Attempt("a class of its own", ["evaluate", "p.csv", "strange.csv"])
    (d / "twice.csv").write_text((d / "truth.csv").read_text() + "x0.png,b\n")
    yield Attempt("a file twice", ["evaluate", "p.csv", "twice.csv"])
    (d / "fewer.csv").write_text("\n".join((d / "truth.csv").read_text().splitlines()[:-3]) + "\n")
    yield Attempt("files without truth", ["evaluate", "p.csv", "fewer.csv"], codes=(1,))


ALL = (odd_manifests, odd_bids, odd_comparisons)
