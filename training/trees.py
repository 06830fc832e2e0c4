"""LightGBM boosters to one ``TreeEnsembleRegressor`` node that behaves exactly like ``Booster.predict``.

Pure: boosters in, a node out; no files, no graph. The node gives raw margins, and the link (sigmoid, softmax)
belongs to the graph. What the node cannot express exactly is refused, never approximated, because the usual
converters are silently wrong on rf, multiclassova, linear_tree and zero_as_missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from router.errors import ConfigError

__all__ = ["AI_ONNX_ML_OPSET", "TreeBlock", "tree_ensemble"]

AI_ONNX_ML_OPSET = 3
"""The ``ai.onnx.ml`` version of the node; onnxruntime >= 1.20 runs it, and its attributes are plain floats."""

_ZERO = np.float32(1e-35)
"""LightGBM's kZeroThreshold (include/LightGBM/meta.h): a magnitude up to this is read as 0."""

_INFINITE = 1e300
"""What ``dump_model`` writes for an infinite threshold, on which "missing or not" splits (its ``AvoidInf``)."""


@dataclass(frozen=True)
class TreeBlock:
    """One booster and where its margins go.

    Attributes
    ----------
    booster : lightgbm.Booster
        Its ``best_iteration`` is respected, as in ``booster.predict``.
    targets : tuple of int
        The output column of each class: one for binary and regression, ``num_class`` for multiclass.
    scale : float
        Multiplies every leaf: a blend weight or a calibration slope folds in here.
    """

    booster: lgb.Booster
    targets: tuple[int, ...]
    scale: float = 1.0


def tree_ensemble(
    blocks: Sequence[TreeBlock], n_targets: int, input_name: str, output_name: str, name: str = "trees"
) -> NodeProto:
    """Build the node whose output is the sum over blocks of ``scale`` times the raw margins of the booster.

    Raw margins are what ``booster.predict`` puts through the link: ``predict(raw_score=True)``, except for
    ``boosting=rf``, where they are the mean over iterations and LightGBM's ``raw_score`` is the sum.
    Pure and deterministic: the same boosters give the same bytes. The input is (n, n_features) float32 and the
    output (n, n_targets) float32; blocks may share targets, and a target without trees is 0. Every float32 row
    reaches the same leaves as in LightGBM; leaves and their sum are rounded to float32. The graph must import
    ``ai.onnx.ml`` at ``AI_ONNX_ML_OPSET``.

    Raises
    ------
    ConfigError
        If a booster holds what the node cannot express exactly (categorical splits, ``linear_tree``,
        ``zero_as_missing``, leaves beyond float32), or the targets or the scale of a block make no sense.
    """
    if n_targets < 1:
        raise ConfigError(f"A tree ensemble needs at least one target, found n_targets={n_targets}.")
    trees = [tree for block in blocks for tree in _trees(block, n_targets)]
    trees = trees or [({"leaf_value": 0.0}, 0, 1.0)]  # the operator must have a tree
    nodes: list[tuple[int, int, int, str, float, int, int, int]] = []
    leaves: list[tuple[int, int, int, float]] = []
    for tree_id, (root, target, factor) in enumerate(trees):
        level_order = [root]  # grows while it is walked, so no recursion
        for node_id, node in enumerate(level_order):
            _refuse_inexact(node)
            if "leaf_value" in node:
                nodes.append((tree_id, node_id, 0, "LEAF", 0.0, 0, 0, 0))
                leaves.append((tree_id, node_id, target, node["leaf_value"] * factor))
                continue
            left, nan_left = len(level_order), int(_nan_goes_left(node))
            feature, threshold = node["split_feature"], node["threshold"]
            nodes.append((tree_id, node_id, feature, "BRANCH_LEQ", threshold, nan_left, left, left + 1))
            level_order += (node["left_child"], node["right_child"])
    tree_ids, node_ids, features, modes, thresholds, nan_is_true, true_ids, false_ids = zip(
        *nodes, strict=True
    )
    leaf_tree_ids, leaf_node_ids, leaf_targets, leaf_values = zip(*leaves, strict=True)
    return helper.make_node(
        "TreeEnsembleRegressor",
        [input_name],
        [output_name],
        name=name,
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        post_transform="NONE",
        n_targets=n_targets,
        nodes_treeids=tree_ids,
        nodes_nodeids=node_ids,
        nodes_featureids=features,
        nodes_modes=modes,
        nodes_values=_round_thresholds(np.array(thresholds)).tolist(),
        nodes_missing_value_tracks_true=nan_is_true,
        nodes_truenodeids=true_ids,
        nodes_falsenodeids=false_ids,
        target_treeids=leaf_tree_ids,
        target_nodeids=leaf_node_ids,
        target_ids=leaf_targets,
        target_weights=_round_leaves(np.array(leaf_values)).tolist(),
    )


def _trees(block: TreeBlock, n_targets: int) -> list[tuple[dict[str, Any], int, float]]:
    """List the root, the target and the leaf factor of every tree that ``booster.predict`` would use."""
    model = block.booster.dump_model()  # up to best_iteration, as predict
    trees, n_classes, factor = model["tree_info"], model["num_tree_per_iteration"], block.scale
    if len(block.targets) != n_classes:
        raise ConfigError(
            f"A booster with {n_classes} tree(s) per iteration needs as many targets, found {block.targets}: "
            "name one output column per class."
        )
    if not all(0 <= target < n_targets for target in block.targets):
        raise ConfigError(f"Targets must lie in 0..{n_targets - 1}, found {block.targets}: raise n_targets.")
    if not math.isfinite(factor):
        raise ConfigError(f"The scale of a block must be finite, found {factor}: check the calibration.")
    if model["average_output"] and trees:  # boosting=rf: link(mean over iterations), see gbdt_prediction.cpp
        factor /= len(trees) // n_classes
    return [(tree["tree_structure"], block.targets[i % n_classes], factor) for i, tree in enumerate(trees)]


def _refuse_inexact(node: dict[str, Any]) -> None:
    """Raise if the node of a dumped tree has no exact counterpart in the operator."""
    if "leaf_const" in node:
        raise ConfigError(
            "A booster was trained with linear_tree, whose leaves are linear models that a tree ensemble cannot "
            "hold: train with linear_tree=false."
        )
    if "leaf_value" in node:
        return
    if node["decision_type"] != "<=":
        raise ConfigError(
            f"A booster splits feature {node['split_feature']} with {node['decision_type']!r} (categorical), and "
            "only '<=' can be exported exactly: train without categorical_feature, on numeric columns."
        )
    if node["missing_type"] not in ("None", "NaN"):
        raise ConfigError(
            f"A booster has missing_type {node['missing_type']!r} in feature {node['split_feature']}, and only "
            "'None' and 'NaN' can be exported exactly: train with zero_as_missing=false."
        )


def _nan_goes_left(node: dict[str, Any]) -> bool:
    """Say where LightGBM sends a NaN: the default side if the split knows missing values, else with 0."""
    return bool(node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0)


def _round_thresholds(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round so that ``x <= t`` in float32 is LightGBM's answer for every float32 ``x``.

    Rounding down keeps each float32 on its side. LightGBM reads ``|x| <= 1e-35`` as 0 (its ``Predictor`` drops
    such entries of a dense row), so a threshold within that band moves to the edge that keeps the band together.
    """
    thresholds = np.where(thresholds >= _INFINITE, np.inf, thresholds)
    with np.errstate(over="ignore", under="ignore"):  # beyond float32 becomes inf, and then the largest float
        rounded = thresholds.astype(np.float32)
        rounded = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    edge = np.where(thresholds >= 0.0, _ZERO, np.nextafter(-_ZERO, np.float32(-np.inf)))
    return np.where(np.abs(thresholds) <= _ZERO, edge, rounded)


def _round_leaves(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ConfigError(
            "A leaf times its scale does not fit in float32: lower the scale or the target's range."
        )
    return rounded
