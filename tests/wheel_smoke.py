"""What the built wheel must do with the base install alone. Run by .ci/run in a fresh environment."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import router
from router import Policy, Reason, Router, route

HEAVY = ("fastapi", "lightgbm", "mlflow", "onnx", "pandas", "pydantic", "scipy", "sklearn", "torch")

package = Path(router.__file__).parent
assert "site-packages" in package.parts, f"not the installed package: {package}"
assert (package / "py.typed").is_file()
assert (package / "default" / "manifest.json").is_file()
assert not (package.parent / "training").exists(), "the wheel holds router/ alone"
assert not (package.parent / "eval").exists(), "the wheel holds router/ alone"

present = [name for name in HEAVY if importlib.util.find_spec(name)]
assert not present, f"the base install brought {present}"

decision = route("Name the largest lake in Africa.")
assert decision.tier in {"small", "medium", "large"}
default = Router.load(package / "default")
assert decision.model_id == default.model_id
costs = default.expected_cost(["Name the largest lake in Africa."])
# One prompt and many differ by the rounding of float32.
assert 0.0 < decision.expected_cost_usd
assert abs(costs[0, decision.index] / decision.expected_cost_usd - 1.0) < 1e-6
assert Reason.EMPTY == route("").reason
assert "large" == route("Name the largest lake in Africa.", Policy(epsilon=1.0, floor="large")).tier
loaded = [name for name in HEAVY if name in sys.modules]
assert not loaded, f"a decision loaded {loaded}"
print(f"wheel: {decision.model_id} decides {decision.tier} ({decision.reason})")
