"""MLproject names commands that there are, and its environment is what training needs.

That `mlflow run` runs them is in tests/training/test_pipeline_mlproject.py.
"""

from __future__ import annotations

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from toys import ROOT

from training.__main__ import COMMANDS


def test_mlflow_installs_what_training_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    environment = yaml.safe_load((ROOT / "python_env.yaml").read_text(encoding="utf-8"))
    assert {"dependencies"} == set(environment)
    assert [str(Requirement(each)) for each in needed] == [
        str(Requirement(each)) for each in environment["dependencies"]
    ]


def test_every_entry_point_is_a_command_there_is() -> None:
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    assert "python_env.yaml" == project["python_env"]
    points = project["entry_points"]
    assert {"main", "retrain", "rehearse", "promote", "rollback", "history"} == set(points)
    assert points["main"] == points["retrain"]
    for point in points.values():
        program, _, package, command, *_ = point["command"].split()
        assert ("python", "training", True) == (program, package, command in COMMANDS)
        assert set(re.findall(r"{(\w+)}", point["command"])) == set(point["parameters"])
        assert (ROOT / point["parameters"]["config"]["default"]).is_file()
