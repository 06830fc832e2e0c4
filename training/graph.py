"""Assembles one ONNX graph, node by node.

Pure. Names are given in order of creation and nothing depends on time or hashing, so the same calls give
the same bytes. A node costs ONNX Runtime half a microsecond or more whatever it does, so what is linear in the input
is one product for all who ask for some of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Graph", "Total"]

# Old enough for every onnxruntime that the base install admits.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
_READING = 3  # nodes that a graph begins with


class Graph:
    """An ONNX graph under construction.

    Parameters
    ----------
    x : str
        Name of the input, float32 (n, width).
    width : int
        Columns of the rows that it reads.
    dimension : int
        Of these, how many at the start are the embedding. It may come in any length: the graph makes it a unit
        vector, or zero.

    Attributes
    ----------
    rows : str
        Name of the input with its embedding at unit length.
    features : str
        Name of what follows the embedding, (n, n_features).
    """

    def __init__(self, x: str, width: int, dimension: int) -> None:
        self.width = width
        self.features, self.n_features = "features", width - dimension
        self._x = x
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._projections: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        parts = self.constant([dimension, width - dimension], np.int64)
        self._nodes.append(helper.make_node("Split", [x, parts], ["embedding", self.features], axis=1))
        unit = self.add("LpNormalization", "embedding", axis=1, p=2)
        self.rows = self.add("Concat", unit, self.features, axis=1)

    def constant(self, values: ArrayLike, dtype: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def project(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> str:
        """Multiply the input by weights, add a bias, and name the value.

        Parameters
        ----------
        weights : float64 (width or fewer, m)
            Columns of the input that are missing have weight zero.
        bias : float64 (m,)
        """
        name = f"p{len(self._projections)}"
        self._projections[name] = np.vstack([weights, np.zeros((self.width - len(weights), len(bias)))]), bias
        return name

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

    def split(self, value: str, parts: dict[str, int]) -> str:
        """Cut a value's columns into named parts of so many each, and name the last."""
        sizes = self.constant(list(parts.values()), np.int64)
        self._nodes.append(helper.make_node("Split", [value, sizes], list(parts), axis=1))
        return list(parts)[-1]

    def build(self, outputs: dict[str, int]) -> onnx.ModelProto:
        """Return the checked model; `outputs` maps names to columns, all float32 (n, columns)."""
        graph = helper.make_graph(
            [*self._nodes[:_READING], *self._project_all(), *self._nodes[_READING:]],
            "tierwise",
            [helper.make_tensor_value_info(self._x, TensorProto.FLOAT, ["n", self.width])],
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

    def _project_all(self) -> list[onnx.NodeProto]:
        """Return the product that all projections are columns of, and the node that takes them apart."""
        if not self._projections:
            return []
        names = list(self._projections)
        weights, bias = (
            np.concatenate(part, axis=-1) for part in zip(*self._projections.values(), strict=True)
        )
        output = names[0] if len(names) == 1 else "projections"
        nodes = [helper.make_node("Gemm", [self.rows, self.constant(weights), self.constant(bias)], [output])]
        if len(names) > 1:
            sizes = self.constant([len(b) for _, b in self._projections.values()], np.int64)
            nodes.append(helper.make_node("Split", [output, sizes], names, axis=1))
        return nodes


class Total:
    """A sum under construction, (n, k): what is linear in the input is one projection, and the rest is added to it.

    Parameters
    ----------
    graph : Graph
        Where its terms are computed.
    columns : int
        k.
    """

    def __init__(self, graph: Graph, columns: int) -> None:
        self.graph = graph
        self._weights = np.zeros((graph.width, columns))
        self._bias = np.zeros(columns)
        self._terms: list[tuple[str, NDArray[np.float64]]] = []

    def shift(self, bias: NDArray[np.float64]) -> None:
        """Add a constant, float64 (k,)."""
        self._bias += bias

    def project(self, weights: NDArray[np.float64]) -> None:
        """Add the input times weights, float64 (width or fewer, k)."""
        self._weights[: len(weights)] += weights

    def multiply(self, value: str, weights: NDArray[np.float64]) -> None:
        """Add a value of the graph, (n, m), times weights, float64 (m, k)."""
        self._terms.append((value, weights))

    def close(self) -> str:
        """Write the sum and return its name."""
        name = self.graph.project(self._weights, self._bias)
        for value, weights in self._terms:
            name = self.graph.add("Gemm", value, self.graph.constant(weights), name)
        return name
