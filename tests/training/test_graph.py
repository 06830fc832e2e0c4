"""A graph adds up what numpy does, over rows whose embedding comes in any length, in one product."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from router.embedding import to_unit
from training.graph import Graph, Total

Floats = NDArray[np.float64]
WIDTH, DIMENSION = 9, 4


def draw(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def draw_rows(n: int = 40, seed: int = 1) -> NDArray[np.float32]:
    """Rows whose embeddings are of length one, but for one that is zero."""
    rows = draw(n, WIDTH, seed=seed).astype(np.float32)
    rows[0, :DIMENSION] = 0.0
    to_unit(rows[:, :DIMENSION])
    return rows


def run(graph: Graph, x: NDArray[np.float32], /, **values: tuple[str, int]) -> list[NDArray[np.float32]]:
    """Values of the graph, each a name and how many columns it has."""
    for output, (name, _) in values.items():
        graph.add("Identity", name, output=output)
    model = graph.build({output: columns for output, (_, columns) in values.items()})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run([*values], {"x": x})]


def new_graph() -> Graph:
    return Graph("x", WIDTH, DIMENSION)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# Reading


@pytest.mark.parametrize("factor", [1e-6, 0.3, 1.0, 250.0, 1e6])
def test_the_embedding_is_brought_to_unit_length_and_the_rest_is_left(factor: float) -> None:
    graph, rows = new_graph(), draw_rows()
    scaled = rows.copy()
    scaled[:, :DIMENSION] *= np.float32(factor)
    (found,) = run(graph, scaled, rows=(graph.rows, WIDTH))
    np.testing.assert_allclose(rows, found, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(rows[:, DIMENSION:], found[:, DIMENSION:])


def test_an_embedding_of_zero_stays_zero() -> None:
    graph, rows = new_graph(), draw_rows()
    rows[:, :DIMENSION] = 0.0
    found, projected = run(
        graph, rows, rows=(graph.rows, WIDTH), projected=(graph.project(draw(DIMENSION, 2), np.ones(2)), 2)
    )
    np.testing.assert_array_equal(rows, found)
    np.testing.assert_array_equal(np.ones((len(rows), 2)), projected)


@given(factor=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_no_length_of_the_embedding_matters(factor: float, seed: int) -> None:
    graph, rows = new_graph(), draw_rows(5, seed)
    scaled = rows.copy()
    scaled[:, :DIMENSION] *= np.float32(factor)
    name = graph.project(draw(WIDTH, 3, seed=seed), draw(3))
    first, second = run(graph, np.vstack([rows, scaled]), z=(name, 3))[0].reshape(2, 5, 3)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)


# Projections


def test_projections_are_those_of_numpy_whatever_their_size_and_order() -> None:
    graph, rows = new_graph(), draw_rows()
    sizes = [(WIDTH, 3), (DIMENSION, 1), (1, 5), (WIDTH - 1, 2), (WIDTH, 3)]
    given_ = [(draw(n, m, seed=i), draw(m, seed=10 + i)) for i, (n, m) in enumerate(sizes)]
    names = [graph.project(weights, bias) for weights, bias in given_]
    assert len(names) == len(set(names))
    found = run(
        graph, rows, **{f"z{i}": (name, m) for i, (name, (_, m)) in enumerate(zip(names, sizes, strict=True))}
    )
    for (weights, bias), z in zip(given_, found, strict=True):
        np.testing.assert_allclose(rows[:, : len(weights)] @ weights + bias, z, rtol=0, atol=1e-5)


def test_one_projection_needs_nothing_to_take_it_apart() -> None:
    graph, rows = new_graph(), draw_rows()
    weights, bias = draw(WIDTH, 2), draw(2)
    name = graph.project(weights, bias)
    (found,) = run(graph, rows, z=(name, 2))
    np.testing.assert_allclose(rows @ weights + bias, found, rtol=0, atol=1e-5)
    assert ["Split", "LpNormalization", "Concat", "Gemm", "Identity"] == operators(graph.build({"z": 2}))


def test_all_projections_are_one_product() -> None:
    graph = new_graph()
    total = Total(graph, 2)
    total.project(draw(WIDTH, 2))
    graph.add("Identity", graph.project(draw(WIDTH, 4), np.zeros(4)), output="a")
    graph.add("Identity", total.close(), output="b")
    model = graph.build({"a": 4, "b": 2})
    assert 1 == operators(model).count("Gemm")
    assert 1 == sum(graph.rows in node.input for node in model.graph.node)


def test_without_projections_there_is_no_product() -> None:
    graph = new_graph()
    graph.add("Identity", graph.rows, output="z")
    assert "Gemm" not in operators(graph.build({"z": WIDTH}))


def test_weights_for_more_columns_than_there_are_do_not_fit() -> None:
    with pytest.raises(ValueError, match="negative"):
        new_graph().project(draw(WIDTH + 1, 2), np.zeros(2))
    with pytest.raises(ValueError, match="broadcast"):
        Total(new_graph(), 2).project(draw(WIDTH + 1, 2))


# Totals


@given(
    projections=st.lists(st.integers(0, WIDTH), max_size=4),
    products=st.lists(st.integers(1, 5), max_size=3),
    shifts=st.integers(0, 3),
    columns=st.integers(1, 4),
)
def test_a_total_is_the_sum_of_its_parts(
    projections: list[int], products: list[int], shifts: int, columns: int
) -> None:
    graph, rows = new_graph(), draw_rows()
    total, expected = Total(graph, columns), np.zeros((len(rows), columns))
    for i, n in enumerate(projections):
        weights = draw(n, columns, seed=i)
        total.project(weights)
        expected += rows[:, :n] @ weights
    for i, m in enumerate(products):
        inner, weights = draw(WIDTH, m, seed=20 + i), draw(m, columns, seed=30 + i)
        total.multiply(graph.add("Tanh", graph.project(inner, np.ones(m))), weights)
        expected += np.tanh(rows @ inner + 1.0) @ weights
    for i in range(shifts):
        total.shift(draw(columns, seed=40 + i))
        expected += draw(columns, seed=40 + i)
    (found,) = run(graph, rows, z=(total.close(), columns))
    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-4)


def test_totals_of_one_graph_do_not_mix() -> None:
    graph, rows = new_graph(), draw_rows()
    one, two = Total(graph, 2), Total(graph, 3)
    weights = [draw(WIDTH, 2), draw(WIDTH, 3, seed=1), draw(DIMENSION, 2, seed=2)]
    one.project(weights[0])
    two.project(weights[1])
    two.shift(np.ones(3))
    one.project(weights[2])
    a, b = run(graph, rows, a=(one.close(), 2), b=(two.close(), 3))
    np.testing.assert_allclose(rows @ weights[0] + rows[:, :DIMENSION] @ weights[2], a, rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows @ weights[1] + 1.0, b, rtol=0, atol=1e-5)


def test_what_was_given_is_not_changed() -> None:
    weights, bias = draw(DIMENSION, 2), draw(2)
    before = weights.copy(), bias.copy()
    total = Total(new_graph(), 2)
    for _ in range(2):
        total.project(weights)
        total.shift(bias)
    np.testing.assert_array_equal(before[0], weights)
    np.testing.assert_array_equal(before[1], bias)


def test_the_same_calls_give_the_same_bytes() -> None:
    def write(seed: int) -> bytes:
        graph = new_graph()
        total = Total(graph, 2)
        total.project(draw(WIDTH, 2, seed=seed))
        total.multiply(graph.add("Relu", graph.project(draw(WIDTH, 3), np.zeros(3))), draw(3, 2))
        graph.add("Identity", total.close(), output="z")
        return bytes(graph.build({"z": 2}).SerializeToString(deterministic=True))

    assert write(1) == write(1)
    assert write(1) != write(2)
