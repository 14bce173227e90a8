"""Makes crates/zoo/tests/golden/keras: archives of weights as Keras writes them, with what h5py reads of them.

    python scripts/golden_keras.py crates/zoo/tests/golden/keras

Needs numpy and h5py==3.12.1, which scripts/oracles.sh does not install. The same versions give the same values.
"""
import io
import json
import pathlib
import sys
import zipfile

import h5py
import numpy as np

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(5)

# How Keras 3 stores weights, and what other writers of HDF5 make of the same.
KINDS = {
    "plain": {},
    "packed": dict(chunks=True, compression="gzip"),
    "chunked": dict(chunks=(2, 2)),
}
for name, how in KINDS.items():
    data, wanted = io.BytesIO(), {}
    with h5py.File(data, "w", libver="latest" if name == "packed" else "earliest", track_order=False) as f:
        for layer, shapes in {"layers/conv2d": [(3, 3, 2, 4), (4,)], "layers/dense": [(5, 7), (7,)], "layers/deep/er/norm": [(4,)] * 4}.items():
            for i, shape in enumerate(shapes):
                values = rng.normal(size=shape).astype(np.float32)
                options = {k: v for k, v in how.items() if k != "chunks" or v is True or len(shape) == 2}
                if "chunks" in how and not options.get("chunks"):
                    options["chunks"] = True
                path = f"{layer}/vars/{i}"
                f.create_dataset(path, data=values, **options)
                wanted[path] = values.ravel().tolist()
        f["optimizer/vars/0"] = np.int64(3)
        f["layers/conv2d"].attrs["name"] = "conv2d"
    with zipfile.ZipFile(out / f"{name}.keras", "w") as z:
        entry = lambda n: zipfile.ZipInfo(n, (1980, 1, 1, 0, 0, 0))
        z.writestr(entry("metadata.json"), '{"keras_version": "3.3.3"}')
        z.writestr(entry("config.json"), "{}")
        z.writestr(entry("model.weights.h5"), data.getvalue())
    (out / f"{name}.json").write_text(json.dumps(wanted))
