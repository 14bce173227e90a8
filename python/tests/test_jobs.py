"""Recipes, optimize, evaluate and study."""

import json

import pytest
from conftest import QUICK, ROOT

import ampoule_ai as ampoule


def test_recipes_are_read_checked_and_written(tmp_path, discs):
    recipe = ampoule.Recipe.read(ROOT / "recipes/discs.toml")
    assert (recipe.name, recipe.task, recipe.check()) == ("discs", "segmentation", [])
    assert recipe == discs.recipe and recipe == ampoule.Recipe.read("discs")
    assert [label["name"] for label in recipe.as_dict()["label"]] == ["ground", "disc"]
    recipe.write(tmp_path / "own.toml")
    assert ampoule.Recipe.read(tmp_path / "own.toml") == recipe
    assert [p.name for p in tmp_path.iterdir()] == ["own.toml"]
    with pytest.raises(ampoule.UsageError, match="overwrite"):
        recipe.write(tmp_path / "own.toml")
    wrong = ampoule.Recipe(recipe.text.replace("task", "tusk").replace("deviation", "deviasion"))
    problems = wrong.check()
    assert len(problems) >= 2 and all(p.line > 0 and p.message for p in problems)
    assert any("task" in p.message for p in problems)
    with pytest.raises(ampoule.BadInput, match="recipe:"):
        wrong.as_dict()
    with pytest.raises(ampoule.BadInput):
        ampoule.Model.open(QUICK / "discs.onnx", recipe=wrong)
    bare = ampoule.Model.open(QUICK / "discs.onnx")
    assert bare.recipe is None and bare.new_recipe("mine").check() == [] and "FILL IN" in bare.new_recipe().text
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ampoule.BadInput, match="1 MiB"):
        ampoule.Recipe.read(tmp_path / "large.toml")


def test_evaluate_says_what_the_command_line_says(tmp_path, program, discs):
    for tile in sorted((QUICK / "test").iterdir())[:8]:
        discs.predict(tile).to_pil().save(tmp_path / tile.name)
    found = ampoule.evaluate(tmp_path, QUICK / "truth")
    told = json.loads(program("evaluate", tmp_path, QUICK / "truth", "--json", check=False).stdout)
    assert found == told and len(found["tiles"]) >= 8
    with pytest.raises(ampoule.UsageError, match="medpy"):
        ampoule.evaluate(tmp_path, QUICK / "truth", like="me")
    with pytest.raises(ampoule.AmpouleError):
        ampoule.evaluate(tmp_path / "none", QUICK / "truth")


@pytest.mark.timeout(900)
def test_optimize_writes_what_the_command_line_writes(tmp_path, program):
    work = []
    model = ampoule.Model.open(QUICK / "discs.onnx", recipe="discs")
    report = ampoule.optimize(
        model,
        tmp_path / "small.onnx",
        calibrate=QUICK / "calibrate",
        validate=QUICK / "validate",
        truth=QUICK / "truth",
        max_drop={"dice": 0.01},
        calibration_method="minmax",
        progress=lambda what, done, of: work.append((what, done, of)),
    )
    assert report["met"] is True and report["layers"][1] > 0 and work
    program(
        *("optimize", QUICK / "discs.onnx", "-o", tmp_path / "other.onnx", "--recipe", "discs"),
        *("--calibrate", QUICK / "calibrate", "--validate", QUICK / "validate", "--truth", QUICK / "truth"),
        *("--max-drop", "dice=0.01", "--calibration-method", "minmax", "--quiet"),
    )
    small, other = (ampoule.Model.open(tmp_path / n) for n in ("small.onnx", "other.onnx"))
    for tile in sorted((QUICK / "test").iterdir())[:4]:
        assert (small.predict(tile).labels == other.predict(tile).labels).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.onnx", "small.onnx"]
    with pytest.raises(ampoule.UsageError, match="overwrite"):
        ampoule.optimize(model, tmp_path / "small.onnx", calibrate=QUICK / "calibrate")
    with pytest.raises(ampoule.UsageError, match="unknown field `studnet`"):
        ampoule.optimize(model, tmp_path / "x.onnx", calibrate=QUICK / "calibrate", studnet="unet-8")
    with pytest.raises(ampoule.UsageError, match="validate"):
        ampoule.optimize(model, tmp_path / "x.onnx", calibrate=QUICK / "calibrate", max_drop={"dice": 0.1})
    with pytest.raises(ampoule.UsageError, match="calibrat"):
        ampoule.optimize(model, tmp_path / "x.onnx")


@pytest.mark.timeout(900)
def test_a_limit_that_is_not_met_is_raised_with_its_report(tmp_path):
    with pytest.raises(ampoule.LimitNotMet) as e:
        ampoule.optimize(
            ampoule.Model.open(QUICK / "discs.onnx", recipe="discs"),
            tmp_path / "small.onnx",
            validate=QUICK / "validate",
            truth=QUICK / "truth",
            calibrate=QUICK / "calibrate",
            max_drop=["dice=0.01"],
            prune=0.9,
            force=True,
        )
    assert e.value.code == 4 and e.value.report["met"] is False
    assert ampoule.Model.open(tmp_path / "small.onnx").inputs


@pytest.mark.timeout(900)
def test_a_study_runs_its_cells_in_this_python(tmp_path):
    spec = f"""
version = 1
name = "tiny"
rounds = 3
seconds = 0.05
baseline = "original"
[[profile]]
name = "one"
threads = 1
[[variant]]
name = "original"
kind = "original"
[[variant]]
name = "bf16"
kind = "bf16"
[[workload]]
name = "discs"
model = "{QUICK / 'discs.onnx'}"
recipe = "{ROOT / 'recipes/discs.toml'}"
test = "{QUICK / 'test'}"
truth = "{QUICK / 'truth'}"
margins = {{ dice = 0.01 }}
timed = 1
"""
    (tmp_path / "study.toml").write_text(spec)
    events = []
    results = ampoule.study(tmp_path / "study.toml", tmp_path / "out", progress=events.append)
    assert results["baseline"] == "original" and {e["event"] for e in events} >= {"round"}
    assert all(c.get("error") is None for c in results["cells"])
    assert {"report.html", "results.json", "results.csv"} <= {p.name for p in (tmp_path / "out").iterdir()}
    with pytest.raises(ampoule.AmpouleError):
        ampoule.study(tmp_path / "none.toml", tmp_path / "other")
