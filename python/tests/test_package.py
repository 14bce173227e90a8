"""The package as installed: the README's example, stubs, and machines that it is not built for."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

import ampoule_ai as ampoule


def test_the_readme_example_runs(tmp_path):
    text = (ROOT / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(code.strip().splitlines()) <= 10
    shutil.copy(ROOT / "assets/colin27.nii.gz", tmp_path / "head.nii.gz")
    shutil.copy(ROOT / "assets/quick/discs.onnx", tmp_path / "model.onnx")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "brain" in done.stdout


def test_the_version_is_that_of_the_program(program):
    assert program("--version").stdout.split()[1] == ampoule.__version__


def test_all_that_is_public_is_documented_and_typed():
    package = pathlib.Path(ampoule.__file__).parent
    assert (package / "py.typed").exists() and (package / "_native.pyi").exists()
    for name in ampoule.__all__:
        thing = getattr(ampoule, name)
        if name != "__version__":
            assert thing.__doc__, name
        if isinstance(thing, type):
            own = [v for k, v in vars(thing).items() if not k.startswith("_") and callable(getattr(v, "__func__", v))]
            assert all(getattr(v, "__doc__", None) for v in own if callable(v)), name


@pytest.mark.parametrize(
    ("machine", "says"),
    [(0xB7, "built for Linux on ARM64"), (0xF3, "built for Linux on RISC-V"), (None, "is not in the package")],
)
def test_a_machine_that_it_is_not_built_for(tmp_path, machine, says):
    package = pathlib.Path(ampoule.__file__).parent
    copy = tmp_path / "ampoule_ai"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("_native*.so", "_native*.pyd"))
    if machine is not None:
        [library] = package.glob("_native*.so")
        head = bytearray(library.read_bytes()[:4096])
        head[18:20] = machine.to_bytes(2, "little")
        (copy / library.name).write_bytes(head)
    command = [sys.executable, "-c", "import ampoule_ai"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError: ampoule_ai cannot be loaded on this machine"), done.stderr
    assert says in last and "Install the wheel for this machine" in last
