"""Compares segmentations of photos by networks of one size, and by networks with a coarser output, with references.

    .venv/bin/python scripts/golden_output_grid.py AMPOULE [--shared ../shared]

The references are ONNX Runtime and numpy alone: tiles as MONAI's `sliding_window_inference` lays and weighs them (interval
`int(size * (1 - overlap))`, the last one moved back, Gaussian map about the middle with a deviation of an eighth and a floor
of 1e-3, images smaller than a tile padded on both sides with 0; for coarser outputs to a multiple of the stride, as
`DivisiblePad`, and the map resized to them by nearest-exact), and coarser outputs resized as PyTorch's
`interpolate(mode="bilinear", align_corners=False)`. SHARED holds cases/onnx and data; without them nothing is
compared, and the script says so and ends with 1. Prints a line a case; ends with 1 where labels of more than one pixel in
10,000 differ, or probabilities by more than 1e-3 and the half level of 255 that files round by.
"""
import argparse
import dataclasses
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
from PIL import Image

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PHOTOS = {"tissue": "data/he_train/images/train_1.png", "foot": "data/dfu_train/images/0011.jpg"}


@dataclasses.dataclass
class Case:
    name: str
    network: str
    photo: str
    # Recipe: what the skeleton leaves to a person.
    activation: str = "none"
    combine: str = "probabilities"
    window: str = ""
    crop: tuple = ()
    # Chosen so that all labels occur.
    mean: float = 0.0
    deviation: float = 1.0
    # Reference.
    tile: int = 0
    overlap: float = 0.25
    # Input pixels along one of the output.
    stride: int = 1
    # Folder of the shared cases that the network is in.
    folder: str = "onnx"

    @property
    def path(self):
        return f"cases/{self.folder}/{self.network}.onnx"


QUARTER = "{ size = [128, 128], overlap = 0.25 }"
CASES = [
    Case("fixed 32, no window named", "r_fixed_32", "tissue", tile=32),
    Case("fixed 32, window named", "r_fixed_32", "foot", tile=32, window="{ size = [32, 32], overlap = 0.25 }"),
    Case("fixed 32, overlap a half", "r_fixed_32", "foot", tile=32, overlap=0.5,
         window="{ size = [32, 32], overlap = 0.5 }"),
    Case("fixed 256, no window named", "fixed256_segmenter_2d", "tissue", activation="softmax", tile=256,
         mean=0.7, deviation=0.02),
    Case("fixed 256, foot", "fixed256_segmenter_2d", "foot", activation="softmax", tile=256,
         mean=0.5, deviation=0.02),
    Case("fixed 256, logits averaged", "fixed256_segmenter_2d", "tissue", activation="softmax", combine="logits", tile=256,
         mean=0.7, deviation=0.02),
    Case("fixed 256, smaller image", "fixed256_segmenter_2d", "tissue", activation="softmax", tile=256, crop=(201, 180),
         mean=0.7, deviation=0.02),
    Case("fixed 256, narrow image", "fixed256_segmenter_2d", "tissue", activation="softmax", tile=256, crop=(600, 131),
         mean=0.7, deviation=0.02),
    Case("output of a quarter", "r_stride4_out", "foot"),
    Case("output of a quarter, odd size", "r_stride4_out", "tissue"),
    Case("output of a quarter, odd crop", "r_stride4_out", "tissue", crop=(333, 254)),
    Case("quarter in windows", "r_stride4_out", "foot", tile=128, stride=4, window=QUARTER),
    Case("quarter in windows, odd size", "r_stride4_out", "tissue", tile=128, stride=4, window=QUARTER),
    Case("quarter in windows, small", "r_stride4_out", "tissue", crop=(101, 90), tile=128, stride=4, window=QUARTER),
    Case("output of a half, fixed 64, one channel", "output_half_size_stardist", "tissue", tile=64, stride=2, folder="engine"),
]


def importance(size):
    """MONAI's Gaussian map of a square tile."""
    offset = np.arange(size, dtype=np.float32) - (size - 1) / 2
    line = np.exp(offset**2 / np.float32(-2 * (0.125 * size) ** 2)).astype(np.float32)
    grid = np.outer(line, line)
    return np.maximum(grid, max(float(grid.min()), 1e-3))


def starts(length, tile, overlap):
    """MONAI's first pixels of tiles along an axis that is at least a tile long."""
    interval = tile if length == tile else max(int(tile * (1 - overlap)), 1)
    count = next(n for n in range(math.ceil(length / interval)) if n * interval + tile >= length) + 1
    return [min(n * interval, length - tile) for n in range(count)]


def padded(tensor, tile, stride):
    """The image, at least a tile large and a multiple of the stride, and how much was added above and to the left."""
    missing = [max(tile, math.ceil(n / stride) * stride) - n for n in tensor.shape[2:]]
    before = [n // 2 for n in missing]
    widths = [(0, 0), (0, 0)] + [(b, n - b) for b, n in zip(before, missing)]
    return np.pad(tensor, widths), before


def softmax(scores):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def weights_of(case):
    """Weights of the pixels of a tile's output."""
    # PyTorch's nearest-exact.
    at = np.floor((np.arange(case.tile // case.stride) + 0.5) * case.stride).astype(int)
    return importance(case.tile)[np.ix_(at, at)]


def tiled(predict, tensor, case):
    """`predict` over tiles; a coarser output lies on a coarser grid and is resized at the end."""
    tile, stride, weights = case.tile, case.stride, weights_of(case)
    image, before = padded(tensor, tile, stride)
    height, width = image.shape[2:]
    total, sums = np.zeros((height // stride, width // stride)), 0.0
    for y in starts(height, tile, case.overlap):
        for x in starts(width, tile, case.overlap):
            out = predict(image[:, :, y : y + tile, x : x + tile])[0]
            rows, columns = (slice(n // stride, n // stride + k) for n, k in zip((y, x), out.shape[1:]))
            total[rows, columns] += weights
            part = np.zeros((len(out), *total.shape))
            part[:, rows, columns] = weights * out
            sums = sums + part
    mean = resized((sums / total)[None], height, width)
    return mean[:, :, before[0] : before[0] + tensor.shape[2], before[1] : before[1] + tensor.shape[3]]


def resized(a, height, width):
    """Linear between the centres of pixels, held at the border."""
    for axis, to in ((2, height), (3, width)):
        n = a.shape[axis]
        at = np.clip((np.arange(to) + 0.5) * (n / to) - 0.5, 0, n - 1)
        low = np.minimum(np.floor(at).astype(int), n - 1)
        high = np.minimum(low + 1, n - 1)
        share = (at - low).reshape([-1 if k == axis else 1 for k in range(4)])
        a = np.take(a, low, axis) * (1 - share) + np.take(a, high, axis) * share
    return a


def reference(case, session, photo):
    """Probabilities of all labels on the photo's grid."""
    name = session.get_inputs()[0].name
    scaled = photo.astype(np.float32) / 255
    tensor = ((scaled - np.float32(case.mean)) / np.float32(case.deviation)).transpose(2, 0, 1)[None]
    # Averages are of what `combine` says.
    early = softmax if (case.activation, case.combine) == ("softmax", "probabilities") else lambda a: a
    # One channel is the probability of the second of two labels.
    both = lambda a: np.concatenate([1 - a, a], 1) if a.shape[1] == 1 else a
    predict = lambda tile: both(early(session.run(None, {name: tile})[0]))
    out = tiled(predict, tensor, case) if case.tile else resized(predict(tensor), *photo.shape[:2])
    return softmax(out)[0] if case.combine == "logits" else out[0]


def recipe(ampoule, network, case):
    """The skeleton that the program makes, filled in."""
    text = subprocess.run([ampoule, "generate", "recipe", network], check=True, capture_output=True, text=True).stdout
    text = re.sub(r"^mean = .*", f"mean = {[case.mean] * 3}", text, flags=re.M)
    text = re.sub(r"^deviation = .*", f"deviation = {[case.deviation] * 3}", text, flags=re.M)
    text = re.sub(r"^window = .*\n", "", text, flags=re.M)
    lines = [f'activation = "{case.activation}"', f'combine = "{case.combine}"']
    lines += [f"window = {case.window}"] if case.window else []
    return re.sub(r'^activation = "none".*', "\n".join(lines), text, flags=re.M)


def run(ampoule, network, case, photo, folder):
    """Labels, and probabilities of all labels but the background, as the program wrote them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, own = folder / "photo.png", folder / "recipe.toml"
    Image.fromarray(photo).save(path)
    own.write_text(recipe(ampoule, network, case))
    out = folder / "out"
    command = [ampoule, "run", network, path, "-o", out, "--recipe", own, "--save-probabilities", "--quiet", "--threads",
               "1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")
    names = re.findall(r'\[\[label\]\]\nname = "(.*?)"', own.read_text())[1:]
    read = lambda path: np.asarray(Image.open(path))
    single = out / "photo_prob.png"
    files = [single] if single.exists() else [out / f"photo_prob_{n}.png" for n in names]
    return read(out / "photo_mask.png"), [read(f) for f in files]


def compare(ampoule, shared, case, folder):
    """A line of figures, and whether they are as they should be."""
    network = shared / case.path
    photo = np.asarray(Image.open(shared / PHOTOS[case.photo]).convert("RGB"))
    if case.crop:
        photo = photo[: case.crop[1], : case.crop[0]]
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    want = reference(case, session, photo)
    try:
        labels, probabilities = run(ampoule, network, case, photo, folder)
    except RuntimeError as error:
        return False, str(error)
    if labels.shape != want.shape[1:]:
        return False, f"labels are {labels.shape}, the photo {want.shape[1:]}"
    different = labels != want.argmax(0)
    # Beyond the half level that files round by.
    off = max(float(np.abs(p / 255 - w).max()) - 0.5 / 255 for p, w in zip(probabilities, want[1:]))
    off = max(off, 0.0)
    margin = np.sort(want, 0)
    margin = float((margin[-1] - margin[-2])[different].max()) if different.any() else 0.0
    share = float(1 - different.mean())
    text = (f"{photo.shape[1]}x{photo.shape[0]}: {share:.4%} of labels equal ({different.sum()} differ, margin up to "
            f"{margin:.1e}); probabilities within half a level and {off:.1e}; shares of labels "
            f"{' '.join(f'{(labels == k).mean():.2f}' for k in range(len(want)))}")
    return share >= 0.9999 and off <= 1e-3, text


def main():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("ampoule")
    parse.add_argument("--shared", type=pathlib.Path, default=REPOSITORY.parent / "shared")
    given = parse.parse_args()
    needed = [c.path for c in CASES] + list(PHOTOS.values())
    missing = sorted({n for n in needed if not (given.shared / n).exists()})
    if missing:
        sys.exit(f"SKIPPED, nothing was compared: {given.shared} lacks {', '.join(missing)}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="golden_output_grid_") as root:
        for case in CASES:
            ok, text = compare(given.ampoule, given.shared, case, pathlib.Path(root) / "case")
            failed += not ok
            print(f"{'ok  ' if ok else 'FAIL'} {case.name}: {text}", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
