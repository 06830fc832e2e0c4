"""A damaged, foreign or missing artefact is refused with a message that says what to do."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from toys import DIMENSION, build_graph, reseal, write_golden

from router import ArtifactError, ConfigError, Router
from router.artifact import (
    GOLDEN_FILE,
    GOLDEN_TOLERANCE,
    MANIFEST_FILE,
    MODEL_FILE,
    MODEL_VARIABLE,
    find_artifact,
    open_artifact,
    read_golden,
    sha256_of,
)
from router.embedding import EMBEDDING_FILES
from router.extractor import Extractor
from router.features import FEATURE_NAMES
from router.lexicon import LEXICON_FILE
from router.scorer import ANSWER, NOVELTY, P_PASS, SPREAD, Scorer

WIDTH = DIMENSION + len(FEATURE_NAMES)
FILES = (MODEL_FILE, *EMBEDDING_FILES, GOLDEN_FILE, "MODEL_CARD.md")


def refuse(folder: Path | str, *words: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        Router.load(folder)
    assert [] == [word for word in (str(folder), *words) if word not in str(caught.value)]


def manifest_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_bytes())
    return document


def test_a_whole_artefact_opens(toy_artifact: Path) -> None:
    manifest, extractor, scorer = open_artifact(toy_artifact)
    assert "tw-toy" == manifest.model_id
    assert set(FILES) == set(manifest.files)
    assert (Extractor, WIDTH) == (type(extractor), extractor.width)
    golden = read_golden(toy_artifact)
    scores = scorer.score(extractor.extract_many([case["prompt"] for case in golden]))
    n = len(golden)
    assert ("p_pass", "spread", "answer", "novelty") == scores._fields
    assert [(n, 3), (n, 3), (n, 3), (n,)] == [output.shape for output in scores]
    assert {np.dtype(np.float32)} == {output.dtype for output in scores}
    np.testing.assert_allclose(scores.p_pass, [case["p_pass"] for case in golden], atol=GOLDEN_TOLERANCE)


# A model that weighs words has one file more


@pytest.fixture
def worded(toy_artifact_with_lexicon: Path, tmp_path: Path) -> Path:
    """A copy of the toy artefact with a lexicon, to damage."""
    return Path(shutil.copytree(toy_artifact_with_lexicon, tmp_path / "worded"))


def test_an_artefact_with_a_lexicon_opens_and_reads_it(
    toy_artifact: Path, toy_artifact_with_lexicon: Path
) -> None:
    manifest, extractor, scorer = open_artifact(toy_artifact_with_lexicon)
    assert {*FILES, LEXICON_FILE} == set(manifest.files)
    assert {"version": 1, "columns": 3} == manifest.features["lexicon"]
    assert extractor.lexicon is not None
    assert WIDTH + 3 == extractor.width
    golden = read_golden(toy_artifact_with_lexicon)
    found = scorer.score(extractor.extract_many([case["prompt"] for case in golden])).p_pass
    np.testing.assert_allclose(found, [case["p_pass"] for case in golden], atol=GOLDEN_TOLERANCE)
    with_words, without = (Router.load(folder) for folder in (toy_artifact_with_lexicon, toy_artifact))
    prompts = ["Prove that the sum is odd", ""]
    gap = np.abs(with_words.score(prompts) - without.score(prompts)).max(axis=1)
    assert gap[0] > 0.01
    assert 0.0 == pytest.approx(gap[1], abs=1e-6)  # without tokens the lexicon says nothing


def test_an_artefact_without_a_lexicon_has_none(toy_artifact: Path) -> None:
    _, extractor, _ = open_artifact(toy_artifact)
    assert extractor.lexicon is None
    assert WIDTH == extractor.width
    assert "lexicon" not in extractor.identity


def test_a_lexicon_that_the_manifest_does_not_name_is_not_read(
    toy_artifact_copy: Path, toy_artifact_with_lexicon: Path
) -> None:
    shutil.copy(toy_artifact_with_lexicon / LEXICON_FILE, toy_artifact_copy)
    _, extractor, _ = open_artifact(toy_artifact_copy)
    assert extractor.lexicon is None


def test_a_listed_lexicon_that_is_missing_is_named(worded: Path) -> None:
    (worded / LEXICON_FILE).unlink()
    refuse(worded, f"{LEXICON_FILE} is missing", "copy the folder again")


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_of_the_lexicon_is_seen(worded: Path, place: float) -> None:
    content = bytearray((worded / LEXICON_FILE).read_bytes())
    content[int(place * len(content))] ^= 1
    (worded / LEXICON_FILE).write_bytes(content)
    refuse(worded, f"{LEXICON_FILE} is not the file that the manifest describes", "sha256")


def test_a_lexicon_that_is_no_longer_listed_is_missed(worded: Path) -> None:
    files = manifest_of(worded)["files"]
    del files[LEXICON_FILE]
    reseal(worded, files=files)
    refuse(worded, "fitted on other features", "features.lexicon differs")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table[:-1], [LEXICON_FILE, "fit again"]),
        (lambda table: table[:, :-1], ["features.lexicon.columns"]),
        (lambda table: table.astype(np.float64), [LEXICON_FILE, "expected float32"]),
        (lambda table: np.roll(table, 1, axis=0), ["golden scores do not come out"]),
        (lambda table: np.where(table == 0, np.nan, table), ["golden scores do not come out"]),
    ],
    ids=["a row less", "a tier less", "float64", "rolled", "nan"],
)
def test_another_lexicon_with_the_right_hash_is_refused(
    worded: Path, change: Callable[[Any], Any], words: list[str]
) -> None:
    np.save(worded / LEXICON_FILE, change(np.load(worded / LEXICON_FILE)))
    reseal(worded)
    refuse(worded, *words)


def test_the_graph_and_the_lexicon_agree(worded: Path) -> None:
    """Columns that neither the graph nor the ladder expects, named alike in the manifest and the file."""
    table = np.load(worded / LEXICON_FILE)
    np.save(worded / LEXICON_FILE, np.hstack([table, table[:, :1]]))
    features = manifest_of(worded)["features"]
    features["lexicon"]["columns"] = 4
    reseal(worded, features=features)
    refuse(worded, f"from {WIDTH + 4} features to p_pass, spread and answer of 3 tiers", "fit again")


def test_a_path_may_be_text_or_a_path(toy_artifact: Path) -> None:
    assert toy_artifact == find_artifact(toy_artifact)
    assert toy_artifact == find_artifact(str(toy_artifact))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(toy_artifact_copy: Path, name: str) -> None:
    (toy_artifact_copy / name).unlink()
    refuse(toy_artifact_copy, f"{name} is missing", "copy the folder again")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_is_seen(toy_artifact_copy: Path, name: str, place: float) -> None:
    content = bytearray((toy_artifact_copy / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (toy_artifact_copy / name).write_bytes(content)
    refuse(toy_artifact_copy, f"{name} is not the file that the manifest describes", "sha256")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_seen(toy_artifact_copy: Path, name: str) -> None:
    content = (toy_artifact_copy / name).read_bytes()
    (toy_artifact_copy / name).write_bytes(content[:-1])
    refuse(toy_artifact_copy, f"{name} is not the file")


@pytest.mark.parametrize("name", [*EMBEDDING_FILES, MODEL_FILE, GOLDEN_FILE])
def test_what_decides_must_be_listed(toy_artifact_copy: Path, name: str) -> None:
    files = manifest_of(toy_artifact_copy)["files"]
    del files[name]
    reseal(toy_artifact_copy, files=files)
    refuse(toy_artifact_copy, f"lists no {name}", "fit again")


def test_a_file_of_another_folder_is_refused(toy_artifact_copy: Path) -> None:
    outside = toy_artifact_copy.parent / "outside"
    outside.write_text("x")
    files = manifest_of(toy_artifact_copy)["files"] | {"../outside": sha256_of(outside)}
    reseal(toy_artifact_copy, files=files)
    refuse(toy_artifact_copy, "'../outside' is not a file of this folder")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\xfa", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"null", "expected a JSON object"),
        (b"[1]", "expected a JSON object"),
        (b"{}", "schema None"),
        (b'{"schema": 1}', "schema 1"),
        (b'{"schema": 3}', "schema 3"),
        (b'{"schema": 2}', "is missing"),
    ],
    ids=["empty", "cut", "binary", "deep", "null", "list", "no schema", "schema 1", "schema 3", "bare"],
)
def test_a_manifest_that_is_none_is_refused(toy_artifact_copy: Path, content: bytes, word: str) -> None:
    (toy_artifact_copy / MANIFEST_FILE).write_bytes(content)
    refuse(toy_artifact_copy, MANIFEST_FILE, word, "fit again")


def test_no_truncation_of_the_manifest_loads(toy_artifact_copy: Path) -> None:
    content = (toy_artifact_copy / MANIFEST_FILE).read_bytes().rstrip()
    for keep in range(0, len(content), 97):
        (toy_artifact_copy / MANIFEST_FILE).write_bytes(content[:keep])
        refuse(toy_artifact_copy, "not valid JSON")


def test_a_manifest_that_is_a_folder_is_no_manifest(toy_artifact_copy: Path) -> None:
    (toy_artifact_copy / MANIFEST_FILE).unlink()
    (toy_artifact_copy / MANIFEST_FILE).mkdir()
    refuse(toy_artifact_copy, "expected a folder with manifest.json")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["features.shape.version"], lambda features: features["shape"].update(version=99)),
        (["features.shape.names"], lambda features: features["shape"]["names"].reverse()),
        (["features.shape.window.head"], lambda features: features["shape"]["window"].update(head=1)),
        (["features.embedding.name"], lambda features: features["embedding"].update(name="other")),
        (["features.embedding.extra"], lambda features: features["embedding"].update(extra=1)),
        (["features.embedding"], lambda features: features.pop("embedding")),
        (["features"], lambda features: features.clear()),
    ],
)
def test_other_features_are_refused_and_named(
    toy_artifact_copy: Path, words: list[str], change: Callable[[Any], Any]
) -> None:
    features = manifest_of(toy_artifact_copy)["features"]
    change(features)
    reseal(toy_artifact_copy, features=features)
    refuse(toy_artifact_copy, "fitted on other features", "install the version", *words)


def test_another_embedding_with_right_hashes_is_refused(toy_artifact_copy: Path) -> None:
    identity = json.loads((toy_artifact_copy / "embedding.json").read_bytes())
    (toy_artifact_copy / "embedding.json").write_text(json.dumps(identity | {"name": "other"}))
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, "features.embedding.name")


def test_a_changed_table_does_not_give_the_golden_scores(toy_artifact_copy: Path) -> None:
    table = np.load(toy_artifact_copy / "embedding.int8.npy")
    np.save(toy_artifact_copy / "embedding.int8.npy", table[::-1])
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, "golden scores do not come out")


@pytest.mark.parametrize("shift", [2e-4, -2e-4, 0.5, float("nan"), float("inf")])
def test_golden_scores_that_are_off_are_refused(toy_artifact_copy: Path, shift: float) -> None:
    cases = read_golden(toy_artifact_copy)
    cases[-1]["p_pass"][1] += shift
    write_golden(toy_artifact_copy, cases)
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, "golden scores do not come out", "an installed library differs")


def without_normalization(model: bytes) -> bytes:
    """The graph as earlier versions wrote it: it takes the embedding to be of unit length."""
    graph = onnx.load_from_string(model)
    (node,) = [node for node in graph.graph.node if node.op_type == "LpNormalization"]
    node.CopyFrom(onnx.helper.make_node("Identity", node.input, node.output))
    return bytes(graph.SerializeToString())


@pytest.mark.parametrize("words", [False, True], ids=["bare", "worded"])
def test_a_graph_that_does_not_normalise_is_refused(
    toy_artifact_copy: Path, worded: Path, words: bool
) -> None:
    """Many at once it would score as it should; one prompt alone comes in another length."""
    folder = worded if words else toy_artifact_copy
    earlier = without_normalization((folder / MODEL_FILE).read_bytes())
    _, extractor, _ = open_artifact(folder)
    golden = read_golden(folder)
    rows = extractor.extract_many([case["prompt"] for case in golden])
    together = Scorer(earlier, extractor.width, 3).score(rows).p_pass
    np.testing.assert_allclose(together, [case["p_pass"] for case in golden], atol=GOLDEN_TOLERANCE)
    (folder / MODEL_FILE).write_bytes(earlier)
    reseal(folder)
    refuse(folder, "golden scores do not come out", f"over {len(golden)} prompts")


def test_golden_scores_within_the_tolerance_pass(toy_artifact_copy: Path) -> None:
    cases = read_golden(toy_artifact_copy)
    cases[0]["p_pass"] = [p + GOLDEN_TOLERANCE / 2 for p in cases[0]["p_pass"]]
    write_golden(toy_artifact_copy, cases)
    reseal(toy_artifact_copy)
    assert "tw-toy" == Router.load(toy_artifact_copy).model_id


@pytest.mark.parametrize(
    "cases",
    [
        [{"prompt": "a"}],
        [{"p_pass": [0.1, 0.2, 0.3]}],
        [{"prompt": 3, "p_pass": [0.1, 0.2, 0.3]}],
        [{"prompt": "a", "p_pass": [0.1, 0.2]}],
        [{"prompt": "a", "p_pass": "high"}],
        [{"prompt": "a", "p_pass": [0.1, 0.2, 0.3]}, {"prompt": "b", "p_pass": [0.1]}],
        [["a", [0.1, 0.2, 0.3]]],
        [None],
    ],
)
def test_golden_lines_of_another_form_are_refused(toy_artifact_copy: Path, cases: list[Any]) -> None:
    write_golden(toy_artifact_copy, cases)
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, GOLDEN_FILE, "fit again")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        gzip.compress(b""),
        gzip.compress(b"", mtime=0)[:-4],
        gzip.compress(b'{"prompt": "a"')[:-9],
        gzip.compress(b"not json"),
        gzip.compress(b"[" * 200_000),
        gzip.compress(b"\xff\xfe"),
        b'{"prompt": "plain", "p_pass": [0.5, 0.5, 0.5]}',
        gzip.compress(b"x" * 999)[:12] + b"\xff" * 40,
    ],
    ids=["empty", "no lines", "no end", "cut", "no json", "deep", "no text", "plain", "corrupt"],
)
def test_golden_files_of_another_form_are_refused(toy_artifact_copy: Path, content: bytes) -> None:
    (toy_artifact_copy / GOLDEN_FILE).write_bytes(content)
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, "golden")


@pytest.mark.parametrize("model", [b"", b"garbage", b"\x08\x07" * 50], ids=["empty", "text", "protobuf"])
def test_a_graph_that_is_none_is_refused_though_its_hash_is_right(
    toy_artifact_copy: Path, model: bytes
) -> None:
    (toy_artifact_copy / MODEL_FILE).write_bytes(model)
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, "ONNX Runtime cannot load the graph")


@pytest.mark.parametrize(
    "model",
    [
        build_graph(WIDTH + 1),
        build_graph(WIDTH, 2),
        build_graph(WIDTH, 4),
        build_graph(WIDTH, input_name="rows_in"),
        build_graph(WIDTH, element=TensorProto.DOUBLE),
        build_graph(WIDTH, element=TensorProto.INT64),
        build_graph(WIDTH, rows=1),
        build_graph(WIDTH, answer_columns=1),
        build_graph(WIDTH, answer_columns=2),
        build_graph(WIDTH, answer_columns=4),
        build_graph(WIDTH, spread_columns=1),
        build_graph(WIDTH, spread_columns=4),
        build_graph(WIDTH, novelty_columns=2),
        build_graph(WIDTH, without=P_PASS),
        build_graph(WIDTH, without=SPREAD),
        build_graph(WIDTH, without=ANSWER),
        build_graph(WIDTH, without=NOVELTY),
        build_graph(WIDTH, extra_input=True),
    ],
    ids=[
        "width",
        "two tiers",
        "four tiers",
        "name",
        "double",
        "integer",
        "one row",
        "one answer",
        "two answers",
        "four answers",
        "one spread",
        "four spreads",
        "novelty",
        "no p_pass",
        "no spread",
        "no answer",
        "no novelty",
        "two inputs",
    ],
)
def test_a_graph_of_another_shape_is_refused(toy_artifact_copy: Path, model: bytes) -> None:
    (toy_artifact_copy / MODEL_FILE).write_bytes(model)
    reseal(toy_artifact_copy)
    refuse(
        toy_artifact_copy,
        f"from {WIDTH} features to p_pass, spread and answer of 3 tiers",
        "found inputs",
        "fit again",
    )


@pytest.mark.parametrize("output", [ANSWER, SPREAD])
def test_a_graph_of_before_there_was_an_output_says_what_it_lacks(
    toy_artifact_copy: Path, output: str
) -> None:
    (toy_artifact_copy / MODEL_FILE).write_bytes(build_graph(WIDTH, without=output))
    reseal(toy_artifact_copy)
    with pytest.raises(ArtifactError) as caught:
        Router.load(toy_artifact_copy)
    expected, found = str(caught.value).split("and outputs ")
    assert output in expected
    assert output not in found


def test_outputs_are_told_by_name_and_not_by_place(toy_artifact_copy: Path) -> None:
    expected = Router.load(toy_artifact_copy)
    model = onnx.load_model_from_string(build_graph(WIDTH))
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend([outputs[1], outputs[3], outputs[2], outputs[0]])
    (toy_artifact_copy / MODEL_FILE).write_bytes(model.SerializeToString())
    reseal(toy_artifact_copy)
    prompts = ["Prove that the sum is odd", "hello? hello?"]
    assert expected.route_many(prompts) == Router.load(toy_artifact_copy).route_many(prompts)


@pytest.mark.parametrize("other", [ANSWER, SPREAD])
def test_another_output_in_the_place_of_the_score_does_not_give_the_golden_scores(
    toy_artifact_copy: Path, other: str
) -> None:
    swap = {P_PASS: other, other: P_PASS}
    model = onnx.load_model_from_string(build_graph(WIDTH))
    for node in model.graph.node:
        node.output[0] = swap.get(node.output[0], node.output[0])
    (toy_artifact_copy / MODEL_FILE).write_bytes(model.SerializeToString())
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, "golden scores do not come out")


def test_a_scalar_input_is_refused() -> None:
    from onnx import helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], [name]) for name in (P_PASS, SPREAD, ANSWER, NOVELTY)],
        "scalar",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [])
            for name in (P_PASS, SPREAD, ANSWER, NOVELTY)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ArtifactError, match="expected a float32 graph from 5 features"):
        Scorer(model.SerializeToString(), 5, 3)


def test_a_graph_that_fails_when_it_runs_is_refused(toy_artifact_copy: Path) -> None:
    from onnx import helper, numpy_helper

    constants = {"far": np.array([99]), "table": np.ones((1, 3), np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["x"], [NOVELTY], axes=[1], keepdims=1),
            helper.make_node("ReduceMax", ["x"], ["greatest"], axes=[1], keepdims=0),
            helper.make_node("Cast", ["greatest"], ["place"], to=TensorProto.INT64),
            helper.make_node("Max", ["place", "far"], ["row"]),
            helper.make_node("Gather", ["table", "row"], [P_PASS]),  # the table has one row only
            helper.make_node("Gather", ["table", "row"], [SPREAD]),
            helper.make_node("Gather", ["table", "row"], [ANSWER]),
        ],
        "out of range",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", columns])
            for name, columns in ((P_PASS, 3), (SPREAD, 3), (ANSWER, 3), (NOVELTY, 1))
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (toy_artifact_copy / MODEL_FILE).write_bytes(model.SerializeToString())
    reseal(toy_artifact_copy)
    refuse(toy_artifact_copy, f"{GOLDEN_FILE} does not fit the model", "indices", "fit again")


def test_the_ladder_and_the_graph_agree(toy_artifact_copy: Path) -> None:
    document = manifest_of(toy_artifact_copy)
    document["tiers"]["tier"].pop()
    decision = document["decision"] | {"reference": "medium"}
    cost = {"usd_per_answer": [1.0, 1.0]}
    reseal(toy_artifact_copy, tiers=document["tiers"], cost=cost, decision=decision)
    refuse(toy_artifact_copy, "to p_pass, spread and answer of 2 tiers")


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000, "a/b/c", "\x00", "\ud800"])
def test_a_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match=r"no model: expected a folder with manifest\.json, tried "):
        Router.load(tmp_path / name)


def test_a_file_is_no_folder(toy_artifact: Path) -> None:
    refuse(toy_artifact / MODEL_FILE, "expected a folder with manifest.json", "check the path")


def test_an_empty_folder_is_no_artefact(tmp_path: Path) -> None:
    refuse(tmp_path, "expected a folder with manifest.json")


def test_the_variable_names_the_model(toy_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, str(toy_artifact))
    assert toy_artifact == find_artifact()
    assert "tw-toy" == Router.load().model_id


def test_a_location_goes_before_the_variable(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path / "nowhere"))
    assert toy_artifact == find_artifact(toy_artifact)
    with pytest.raises(ArtifactError) as caught:
        find_artifact()
    assert f"(from ${MODEL_VARIABLE})" in str(caught.value)
    assert str(tmp_path / "nowhere") in str(caught.value)
    with pytest.raises(ArtifactError) as caught:
        find_artifact(tmp_path / "elsewhere")
    assert MODEL_VARIABLE not in str(caught.value)


PACKAGED = "from router import Router, RouterError\ntry:\n print(Router.load().model_id)\nexcept RouterError as e:\n print(e)"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds the package without a default model."""
    source = Path(__file__).resolve().parents[2] / "router"
    shutil.copytree(
        source, tmp_path / "site" / "router", ignore=shutil.ignore_patterns("default", "__pycache__")
    )
    return tmp_path / "site"


@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_default_both_places_are_named(
    installed: Path, python: Callable[..., Any], variable: str | None
) -> None:
    environment = {} if variable is None else {MODEL_VARIABLE: variable}
    found = python("-c", PACKAGED, cwd=installed, **environment).stdout.decode()
    for word in (
        "the packaged default",
        str(installed / "router/default"),
        str(installed / "models/default"),
    ):
        assert word in found


def test_the_package_goes_before_the_checkout(
    installed: Path, python: Callable[..., Any], toy_artifact: Path
) -> None:
    checkout = shutil.copytree(toy_artifact, installed / "models" / "default")
    reseal(checkout, model_id="tw-checkout")
    assert b"tw-checkout\n" == python("-c", PACKAGED, cwd=installed).stdout
    package = shutil.copytree(toy_artifact, installed / "router" / "default")
    reseal(package, model_id="tw-package")
    assert b"tw-package\n" == python("-c", PACKAGED, cwd=installed).stdout


@pytest.mark.parametrize("from_variable", [False, True])
def test_a_registered_model_needs_mlflow(python: Callable[..., Any], from_variable: bool) -> None:
    address = "models:/tierwise@champion"
    code = f"""
import sys
sys.modules["mlflow"] = None
from router import ConfigError, Router
try:
    Router.load({"" if from_variable else repr(address)})
except ConfigError as error:
    print(error)
"""
    found = python("-c", code, **({MODEL_VARIABLE: address} if from_variable else {}))
    assert (b"", 0) == (found.stderr, found.returncode)
    assert f"{address} needs MLflow: pip install 'tierwise[train]'\n" == found.stdout.decode()


def test_errors_say_whose_fault_it_is() -> None:
    assert (503, 1) == (ArtifactError.http_status, ArtifactError.exit_code)
    assert (500, 3) == (ConfigError.http_status, ConfigError.exit_code)
