"""What became of each case, as a table."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from typing import Any, Optional, Sequence

from .._storage import Storage, is_remote, join


def row(
    name: str, file: str, outcome: dict[str, Any], attempts: int, memory: Optional[int], node: Optional[str], log: list[str]
) -> dict[str, Any]:
    """The row of a case."""
    record = outcome.get("record") or {}
    timings = record.get("timings_ms") or {}
    peak = record.get("peak_rss_mib")
    measured = [(m["name"], float(m["ml"])) for m in record.get("labels", []) if m.get("ml") is not None]
    return {
        "case": name,
        "file": file,
        "status": outcome["status"],
        "error": outcome.get("error"),
        "code": _code(outcome),
        "attempts": attempts,
        "retried": log,
        "seconds": float(timings["total"]) / 1e3 if "total" in timings else None,
        "peak_memory_bytes": None if peak is None else int(peak) << 20,
        "requested_memory_bytes": memory,
        "node": node,
        "classes": list(record.get("classes", [])),
        "scores": [(str(n), float(v)) for n, v in record.get("scores", [])],
        "voxels": [(m["name"], int(m["voxels"])) for m in record.get("labels", [])],
        "volumes_ml": measured,
        "warnings": list(record.get("warnings", [])),
        "record": json.dumps(record) if record else None,
    }


def _code(outcome: dict[str, Any]) -> int:
    """The exit code that a case alone would have."""
    if outcome["status"] in ("done", "kept"):
        return 0
    return 5 if outcome.get("memory") else int(outcome.get("code", 3))


def skipped_row(file: str, reason: str) -> dict[str, Any]:
    """The row of a file that is no case."""
    return row(file, file, {"status": "skipped", "error": reason, "code": 1}, 0, None, None, [])


def write(rows: Sequence[dict[str, Any]], out: str, name: str, storage: Storage) -> str:
    """Writes the table as Parquet, whole or not at all; where it lies."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.list_(pa.string())
    schema = pa.schema(
        [
            ("case", pa.string()),
            ("file", pa.string()),
            ("status", pa.string()),
            ("error", pa.string()),
            ("code", pa.int32()),
            ("attempts", pa.int32()),
            ("retried", texts),
            ("seconds", pa.float64()),
            ("peak_memory_bytes", pa.int64()),
            ("requested_memory_bytes", pa.int64()),
            ("node", pa.string()),
            ("classes", texts),
            ("scores", pa.map_(pa.string(), pa.float64())),
            ("voxels", pa.map_(pa.string(), pa.int64())),
            ("volumes_ml", pa.map_(pa.string(), pa.float64())),
            ("warnings", texts),
            ("record", pa.string()),
        ]
    )
    table = pa.Table.from_pylist(list(rows), schema=schema)
    if is_remote(out):
        with tempfile.TemporaryDirectory(prefix="ampoule-table-") as folder:
            pq.write_table(table, f"{folder}/{name}")
            storage.send(pathlib.Path(folder) / name, join(out, name))
        return join(out, name)
    path = pathlib.Path(out) / name
    part = path.with_name(f".{name}.{os.getpid()}.tmp-table")
    try:
        pq.write_table(table, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return os.fspath(path)
