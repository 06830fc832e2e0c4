"""The model as one ONNX graph: rows in; pass probabilities, how sure they are, costs of answers and novelty out.

Holds an ONNX Runtime session; a run releases the interpreter's lock, and any number of threads may score at once.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError

if TYPE_CHECKING:
    from router.extractor import Extractor
    from router.prompt import PromptView

__all__ = ["ANSWER", "INPUT", "NOVELTY", "P_PASS", "SPREAD", "Scorer", "Scores", "Slot"]

INPUT = "x"
P_PASS = "p_pass"  # noqa: S105 - the name of an output, no password
SPREAD = "spread"
ANSWER = "answer"
NOVELTY = "novelty"

_OUTPUTS = (P_PASS, SPREAD, ANSWER, NOVELTY)


class Scores(NamedTuple):
    """What the graph says of n prompts on k tiers.

    Attributes
    ----------
    p_pass : float32 (n, k)
        Calibrated probability that the tier's answer passes.
    spread : float32 (n, k)
        Standard deviation, over the members of the blend, of the difference between the reference tier's pass
        probability and this tier's; 0 for the reference tier.
    answer : float32 (n, k)
        What the tier's answer is expected to cost, as a multiple of its mean one.
    novelty : float32 (n,)
        0 is like the training data, 1 is unlike any of it.
    """

    p_pass: NDArray[np.float32]
    spread: NDArray[np.float32]
    answer: NDArray[np.float32]
    novelty: NDArray[np.float32]


class Scorer:
    """Runs the graph of an artefact.

    Parameters
    ----------
    model : bytes
        The ONNX file: input `x` float32 (n, width), its embedding of any length, outputs as in `Scores`, `novelty`
        float32 (n, 1).
    width, n_tiers : int
        What the extractor gives and the ladder holds; checked.
    source : str
        How errors name the model.

    Raises
    ------
    ArtifactError
        ONNX Runtime refuses the graph, or its shape is another.
    """

    __slots__ = ("_idle", "_n_tiers", "_session", "_width")

    def __init__(self, model: bytes, width: int, n_tiers: int, source: str = "model") -> None:
        # Released builds send events to their maker from the moment of the import, unless told not to before it.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
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
        if len(inputs) != 1 or columns != [width, n_tiers, n_tiers, n_tiers, 1]:
            raise ArtifactError(
                f"{source}: expected a float32 graph from {width} features to {P_PASS}, {SPREAD} and {ANSWER} of {n_tiers} "
                f"tiers and a {NOVELTY}, for any number of rows; "
                f"found inputs {inputs} and outputs {outputs}; fit again"
            )
        self._width = width
        self._n_tiers = n_tiers
        self._idle: list[Slot] = []

    def score(self, rows: NDArray[np.float32]) -> Scores:
        """Return what the graph says of rows float32 (n, width)."""
        p_pass, spread, answer, novelty = self._session.run(_OUTPUTS, {INPUT: rows})
        return Scores(p_pass, spread, answer, novelty[:, 0])

    def score_one(self, extractor: Extractor, view: PromptView) -> tuple[float, ...]:
        """Return p_pass, spread and answer per tier, and novelty, of one prompt: the way of a decision."""
        slot = self.acquire()
        extractor.extract(view, slot.row)
        outputs = slot.run()
        self.release(slot)
        return outputs

    def acquire(self) -> Slot:
        """Return a slot that no one else uses, to give back with `release`; as many are kept as were ever in use.

        A slot that is not given back, because its call failed or its process was forked, is made anew.
        """
        try:
            return self._idle.pop()
        except IndexError:
            return Slot(self._session, self._width, self._n_tiers)

    def release(self, slot: Slot) -> None:
        """Take a slot back."""
        self._idle.append(slot)


class Slot:
    """One row and its outputs, bound to a session: a call reads and writes them in place.

    That saves what an ordinary call spends on making arrays, a quarter of it (docs/LOG.md).

    Attributes
    ----------
    row : float32 (width,)
        To be written into before each `run`, never replaced: the session holds its address.
    """

    __slots__ = ("_binding", "_outputs", "_run", "_unpack", "row")

    def __init__(self, session: Any, width: int, n_tiers: int) -> None:  # noqa: ANN401 - onnxruntime is untyped
        self.row = np.zeros(width, np.float32)
        self._outputs = np.zeros(3 * n_tiers + 1, np.float32)
        self._unpack = Struct(f"{len(self._outputs)}f").unpack_from
        self._run = session.run_with_iobinding
        self._binding = binding = session.io_binding()
        binding.bind_input(INPUT, "cpu", 0, np.float32, (1, width), self.row.ctypes.data)
        start = self._outputs.ctypes.data
        for name, columns in zip(_OUTPUTS, (n_tiers, n_tiers, n_tiers, 1), strict=True):
            binding.bind_output(name, "cpu", 0, np.float32, (1, columns), start)
            start += columns * self._outputs.itemsize

    def run(self) -> tuple[float, ...]:
        """Score the row: p_pass, spread and answer per tier, and novelty."""
        self._run(self._binding)
        return self._unpack(self._outputs.data)


def _columns(value: tuple[Any, ...] | None) -> object:
    """Return the columns of a float32 matrix of any number of rows; None for anything else."""
    match value:
        case ("tensor(float)", rows, columns) if not isinstance(rows, int):
            return columns
    return None
