"""The model as one ONNX graph: rows in; pass probabilities, lengths of answers and novelty out.

Holds an ONNX Runtime session; `run` releases the interpreter's lock and is thread-safe.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError

__all__ = ["ANSWER", "INPUT", "NOVELTY", "P_PASS", "Scorer"]

INPUT = "x"
P_PASS = "p_pass"  # noqa: S105 - the name of an output, no password
ANSWER = "answer"
NOVELTY = "novelty"

_OUTPUTS = (P_PASS, ANSWER, NOVELTY)


class Scorer:
    """Runs the graph of an artefact.

    Parameters
    ----------
    model : bytes
        The ONNX file: input `x` float32 (n, width), outputs `p_pass` float32 (n, n_tiers), calibrated,
        `answer` float32 (n, n_tiers), what an answer is expected to cost as a multiple of the tier's mean one,
        and `novelty` float32 (n, 1).
    width, n_tiers : int
        What the extractor gives and the ladder holds; checked.
    source : str
        How errors name the model.

    Raises
    ------
    ArtifactError
        ONNX Runtime refuses the graph, or its shape is another.
    """

    __slots__ = ("_session",)

    def __init__(self, model: bytes, width: int, n_tiers: int, source: str = "model") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One decision is far too small to share: threads would cost more than they give.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            raise ArtifactError(f"{source}: ONNX Runtime cannot load the graph: {error}") from error
        inputs = {value.name: (value.type, *value.shape) for value in self._session.get_inputs()}
        outputs = {value.name: (value.type, *value.shape) for value in self._session.get_outputs()}
        columns = [_columns(inputs.get(INPUT)), *(_columns(outputs.get(name)) for name in _OUTPUTS)]
        if len(inputs) != 1 or columns != [width, n_tiers, n_tiers, 1]:
            raise ArtifactError(
                f"{source}: expected a float32 graph from {width} features to {P_PASS} and {ANSWER} of {n_tiers} tiers and "
                f"a {NOVELTY}, for any number of rows; "
                f"found inputs {inputs} and outputs {outputs}; fit again"
            )

    def score(
        self, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return p_pass and answer, float32 (n, n_tiers), and novelty float32 (n,) for rows float32 (n, width)."""
        p_pass, answer, novelty = self._session.run(_OUTPUTS, {INPUT: rows})
        return p_pass, answer, novelty[:, 0]


def _columns(value: tuple[Any, ...] | None) -> object:
    """Return the columns of a float32 matrix of any number of rows; None for anything else."""
    match value:
        case ("tensor(float)", rows, columns) if not isinstance(rows, int):
            return columns
    return None
