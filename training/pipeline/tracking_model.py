"""An artefact as MLflow's own kind of model: ONNX, with signature and input example."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from router.artifact import MANIFEST_FILE, MODEL_FILE, open_artifact, read_golden

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.types.schema import Schema

__all__ = ["MODEL_TAG", "write_flavour"]

MODEL_TAG = "tierwise.model_id"
_EXAMPLE_ROWS = 4


def write_flavour(folder: Path, artefact: Path, run_id: str, logged: LoggedModel) -> None:
    """Write an artefact as an ONNX model of MLflow, with all of the artefact's own files beside.

    Raises
    ------
    ArtifactError
        The artefact does not open.
    """
    import mlflow.onnx
    import onnx
    from mlflow.models import Model, ModelSignature

    manifest, extractor, _ = open_artifact(artefact)
    model = onnx.load(artefact / MODEL_FILE)
    prompts = [case["prompt"] for case in read_golden(artefact)[:_EXAMPLE_ROWS]]
    mlflow.onnx.save_model(
        model,
        str(folder),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_id=logged.model_id,
            model_uuid=logged.model_id,
        ),
        signature=ModelSignature(inputs=_schema(model.graph.input), outputs=_schema(model.graph.output)),
        input_example=np.asarray(extractor.extract_many(prompts), np.float32),
        # Named, because MLflow would otherwise start a process that loads the model to find out.
        pip_requirements=[f"{name}=={version(name)}" for name in ("numpy", "onnx", "onnxruntime")],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
        metadata={MODEL_TAG: manifest.model_id},
    )
    # Its graph too: the manifest holds the hash of these bytes, and onnx may write the same graph otherwise.
    for name in (MANIFEST_FILE, *manifest.files):
        shutil.copyfile(artefact / name, folder / name)


def _schema(tensors: Iterable[Any]) -> Schema:
    from mlflow.types.schema import ColSpec, Schema, TensorSpec
    from onnx.helper import tensor_dtype_to_np_dtype

    specs: list[ColSpec | TensorSpec] = []
    for tensor in tensors:
        kind = tensor.type.tensor_type
        sides = [side.dim_value if side.HasField("dim_value") else -1 for side in kind.shape.dim]
        specs.append(
            TensorSpec(np.dtype(tensor_dtype_to_np_dtype(kind.elem_type)), (-1, *sides[1:]), tensor.name)
        )
    return Schema(specs)
