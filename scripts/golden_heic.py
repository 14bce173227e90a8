"""Small HEIC photos with what libheif makes of them.

    python3 scripts/golden_heic.py          # makes .venv-heic with what it needs

Writes crates/imaging/tests/golden/heic: NAME.heic (colours of half size, as phones write them) and NAME.want.png.
"""
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "crates/imaging/tests/golden/heic"
NEEDS = ["pillow-heif==1.8.1", "pillow", "numpy"]


def own_environment():
    """Starts this script again in an environment that has what it needs."""
    folder = ROOT / ".venv-heic"
    python = folder / "bin/python"
    if Path(sys.prefix) == folder.resolve():
        return
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)
    sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)


own_environment()

import numpy as np  # noqa: E402
import pillow_heif  # noqa: E402
from PIL import Image  # noqa: E402


def picture(width, height):
    """Smooth colours with an edge in brightness."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([128 + 100 * np.sin(x / 23), 128 + 90 * np.cos(y / 19), 128 + 80 * np.sin((x + y) / 29)], -1)
    base[height // 4: height // 2, width // 3:] *= 0.6
    return Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))


pillow_heif.register_heif_opener()
OUT.mkdir(parents=True, exist_ok=True)
exif = Image.Exif()
exif[0x0112] = 6
picture(128, 96).save(OUT / "photo.heic", quality=80)
picture(96, 64).save(OUT / "exif.heic", quality=80, exif=exif)
picture(101, 67).save(OUT / "odd.heic", quality=60)
for path in sorted(OUT.glob("*.heic")):
    image = Image.open(path).convert("RGB")
    image.save(path.with_suffix(".want.png"))
    print(path.name, image.size, path.stat().st_size, "bytes")
