"""Assembles one ONNX graph, node by node.

Pure. Names are given in order of creation and nothing depends on time or hashing, so the same calls give
the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Graph"]

# Old enough for every onnxruntime that the base install admits.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


class Graph:
    """An ONNX graph under construction.

    Parameters
    ----------
    width : int
        Columns of the rows that it reads.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: ArrayLike) -> str:
        """Add a float32 constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def rows(self, values: NDArray[np.float64]) -> str:
        """Add a float32 matrix with a row per column of the input, zero where `values` has no more, and name it."""
        return self.constant(np.vstack([values, np.zeros((self._width - len(values), values.shape[1]))]))

    def log_odds(
        self, weights: str, shares: NDArray[np.float64], scale: NDArray[np.float64], clip: float
    ) -> str:
        """Add `scale` times the log odds of `weights @ shares`, kept `clip` off 0 and 1, and name the value.

        Rows of `weights` sum to 1, and what is missing from 1 is a product of its own: in float32, 1 minus a share
        near 1 keeps no more than three digits.
        """
        ends = self.constant(clip), self.constant(1.0 - clip)
        p, q = (
            self.add("Clip", self.add("MatMul", weights, self.constant(part)), *ends)
            for part in (shares, 1.0 - shares)
        )
        return self.add("Mul", self.add("Log", self.add("Div", p, q)), self.constant(scale))

    def fresh(self) -> str:
        """Return a name for the output of the next node."""
        return f"v{len(self._nodes)}"

    def append(self, node: onnx.NodeProto) -> str:
        """Add a node made elsewhere and return the name of its output."""
        self._nodes.append(node)
        return str(node.output[0])

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node of the standard operator set and return the name of its output."""
        return self.append(helper.make_node(op, list(inputs), [output or self.fresh()], **attributes))

    def build(self, x: str, outputs: dict[str, int]) -> onnx.ModelProto:
        """Return the checked model; `x` names the input, `outputs` maps names to columns, all float32 (n, columns)."""
        graph = helper.make_graph(
            self._nodes,
            "tierwise",
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", self._width])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", n]) for name, n in outputs.items()],
            self._constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
            ir_version=IR_VERSION,
            producer_name="tierwise",
        )
        onnx.checker.check_model(model, full_check=True)
        return model
