"""From a history to an artefact, end to end: what comes out, that it repeats, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pandas as pd
import pytest
from alike import assert_all_alike

from eval.certify import DELTA, certify, spend
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.split import split_rows
from router import Policy, Reason, Router
from router.artifact import open_artifact, read_golden, sha256_of
from router.features import FEATURE_NAMES
from router.manifest import SCHEMA
from router.prompt import read_prompt
from router.tiers import read_tiers
from training.__main__ import main
from training.decisions import DEFAULT_MAX_REGRET
from training.fit import fit
from training.golden import GOLDEN_PROMPTS
from training.material import LEAST_PROMPTS
from training.members import FITTERS
from training.package import model_id_of
from training.synthetic import TIERS_TOML, generate

FILES = {
    "manifest.json",
    "model.onnx",
    "embedding.int8.npy",
    "embedding.scale.npy",
    "embedding.json",
    "tokenizer.json",
    "golden.jsonl.gz",
    "MODEL_CARD.md",
}
Command = Callable[..., tuple[int, str, str]]


def files_of(document: dict[str, Any]) -> set[str]:
    """What a folder holds: a lexicon beside the rest where words are among the members."""
    return FILES | ({"lexicon.npy"} if "words" in document["model"]["members"] else set())


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def strict(text: str | bytes) -> Any:
    """Parse JSON as other languages do: without NaN and Infinity."""
    return json.loads(text, parse_constant=refuse_constant)


def test_strict_json_refuses_what_python_lets_pass() -> None:
    assert np.isnan(json.loads('{"a": NaN}')["a"])
    with pytest.raises(ValueError, match="NaN is not JSON"):
        strict('{"a": NaN}')


# The artefact


def test_the_folder_holds_exactly_the_files_of_the_contract(artefact: Path) -> None:
    document = json.loads((artefact / "manifest.json").read_bytes())
    assert files_of(document) == {path.name for path in artefact.iterdir()}
    assert all(path.is_file() for path in artefact.iterdir())
    assert [artefact.name] == [path.name for path in artefact.parent.iterdir()]


def test_the_manifest_is_complete(artefact: Path, history_files: tuple[Path, Path]) -> None:
    document = strict((artefact / "manifest.json").read_bytes())
    assert {
        "schema", "name", "model_id", "created", "files", "tiers", "features", "cost", "decision", "certificate",
        "model", "metrics", "reference", "data", "versions", "git_commit",
    } == set(document)  # fmt: skip
    assert SCHEMA == document["schema"]
    assert re.fullmatch(r"tw-[0-9a-f]{12}", document["model_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", document["created"])
    assert files_of(document) - {"manifest.json"} == set(document["files"])
    assert {name: sha256_of(artefact / name) for name in document["files"]} == document["files"]
    assert read_tiers(history_files[1]).to_dict() == document["tiers"]
    assert {"embedding", "shape", "lexicon"} == set(document["features"])
    assert 3 == len(document["cost"]["usd_per_answer"])
    assert {
        "default_epsilon", "default_loss", "default_max_regret", "basis", "reference", "dominated", "unit_usd",
        "novelty_threshold", "novelty_false_alarm", "novelty_false_alarm_observed", "spend",
    } == set(document["decision"])  # fmt: skip
    assert {
        "delta", "n", "reference", "reserve", "table", "quality", "slices", "needed", "split", "date",
    } == set(document["certificate"])  # fmt: skip
    assert DELTA == document["certificate"]["delta"]
    assert document["certificate"]["reference"] == document["decision"]["reference"]
    model = document["model"]
    assert {"members", "weights", "candidates", "seed"} == set(model)
    assert model["members"] == list(model["weights"])
    assert 1.0 == pytest.approx(sum(model["weights"].values()))
    names = list(FITTERS)  # this history has tokens and tasks, so every member stood for choice
    assert [[name] for name in names] + [names] == [row["members"] for row in model["candidates"]]
    assert set(FEATURE_NAMES) == set(document["reference"]["features"])
    assert {"lightgbm", "numpy", "onnxruntime", "python", "tierwise"} <= set(document["versions"])


def test_the_id_names_graph_lexicon_and_what_decides(artefact: Path) -> None:
    document = json.loads((artefact / "manifest.json").read_bytes())
    deciding = {key: document[key] for key in ("tiers", "features", "cost", "decision")}
    table = {key: document["certificate"][key] for key in ("table", "quality", "slices")}
    model, lexicon = (artefact / "model.onnx").read_bytes(), np.load(artefact / "lexicon.npy")
    assert document["model_id"] == model_id_of(model, lexicon, deciding, table)
    assert document["model_id"] != model_id_of(model, None, deciding, table)


def test_the_data_are_named_by_content_and_no_path_of_this_machine_is_told(
    artefact: Path, history_files: tuple[Path, Path]
) -> None:
    text = (artefact / "manifest.json").read_text(encoding="utf-8")
    data = json.loads(text)["data"]
    history, tiers = history_files
    for path, found in ((history, data["files"]), (tiers, data["tiers"])):
        assert [{"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}] == found
    parts = data["split"]
    assert 500 == parts["train"] + parts["calibration"] + parts["test"] == data["summary"]["prompts"]
    assert "time" == parts["method"]
    for place in (artefact.parent, history.parent, Path(__file__).parents[2]):
        assert str(place) not in text


def test_the_manifest_and_the_card_hold_no_prompt(artefact: Path, history_files: tuple[Path, Path]) -> None:
    told = "".join(
        (artefact / name).read_text(encoding="utf-8") for name in ("manifest.json", "MODEL_CARD.md")
    )
    prompts = pd.read_parquet(history_files[0])["prompt"].dropna().unique()
    assert len(prompts) > 300
    assert not [prompt for prompt in prompts if prompt in told or json.dumps(prompt)[1:-1] in told]


def test_what_the_fit_returns_is_what_it_wrote(fitted: tuple[Path, dict[str, Any]]) -> None:
    out, result = fitted
    document = json.loads((out / "manifest.json").read_bytes())
    strict(json.dumps(result))
    assert str(out) == result["artefact"]
    assert document["model_id"] == result["model_id"]
    assert document["model"]["members"] == result["members"]
    for key in ("decision", "certificate", "metrics"):
        assert document[key] == result[key]


def test_the_router_loads_scores_and_routes(artefact: Path) -> None:
    router = Router.load(artefact)
    prompts = [
        "Extract the order number from: order A-2291.",
        "Prove it.",
        [{"role": "user", "content": "Hi"}],
        "",
    ]
    p_pass = router.score(prompts)
    assert ((4, 3), np.float32) == (p_pass.shape, p_pass.dtype)
    assert ((p_pass > 0) & (p_pass < 1)).all()
    decisions = router.route_many(prompts)
    assert ["small", "medium", "large"] == [tier.name for tier in router.tiers]
    assert Reason.EMPTY == decisions[3].reason
    assert_all_alike(router, prompts, [router.route(prompt) for prompt in prompts], decisions)
    assert "large" == router.route(prompts[0], Policy(max_regret=0.0)).tier
    assert "small" == router.route(prompts[0], Policy(budget=1e-9)).tier


def test_golden_scores_are_those_of_the_model(artefact: Path) -> None:
    golden = read_golden(artefact)
    _, extractor, scorer = open_artifact(artefact)
    assert list(GOLDEN_PROMPTS) == [case["prompt"] for case in golden]
    p_pass = scorer.score(extractor.extract_many(GOLDEN_PROMPTS)).p_pass
    np.testing.assert_allclose([case["p_pass"] for case in golden], p_pass, rtol=0, atol=1e-6)


def test_the_test_part_is_measured_with_its_uncertainty(fitted: tuple[Path, dict[str, Any]]) -> None:
    _, result = fitted
    router = result["metrics"]["router"]
    assert router["prompts"] > 50
    assert router["gap_closed"]["low"] < router["gap_closed"]["value"] < router["gap_closed"]["high"]
    assert router["calibration"]["small"]["auc"] > 0.55  # so much can be told from these prompts


def held_out(history_files: tuple[Path, Path], part: str) -> Outcomes:
    outcomes = tabulate(read_history(history_files[0]), read_tiers(history_files[1]))
    return outcomes.take(getattr(split_rows(outcomes, 0), part))


def test_reported_metrics_can_be_had_again_from_the_artefact(
    fitted: tuple[Path, dict[str, Any]], history_files: tuple[Path, Path]
) -> None:
    """The test part, routed by what was written, gives the regret and the saving that the manifest states."""
    out, result = fitted
    test = held_out(history_files, "test")
    test = test.take(test.complete)
    epsilon = result["decision"]["default_epsilon"]
    chosen = [
        decision.index for decision in Router.load(out).route_many(test.prompts, Policy(epsilon=epsilon))
    ]
    each = np.arange(len(test))
    regret = ((test.passed[:, -1] == 1) & (test.passed[each, chosen] == 0)).mean()
    saving = 1 - test.cost_usd[each, chosen].sum() / test.cost_usd[:, -1].sum()
    point = result["metrics"]["router"]["operating_point"]
    assert epsilon == point["epsilon"]
    assert regret == pytest.approx(point["regret"]["value"])
    assert saving == pytest.approx(point["saving"]["value"])


def test_the_certificate_can_be_had_again_from_the_artefact(
    fitted: tuple[Path, dict[str, Any]], history_files: tuple[Path, Path]
) -> None:
    """It is about the calibration part, scored as serving scores it: neither learned from nor measured on."""
    out, result = fitted
    outcomes = tabulate(read_history(history_files[0]), read_tiers(history_files[1]))
    split, held = split_rows(outcomes, 0), held_out(history_files, "calibration")
    router, decision = Router.load(out), result["decision"]
    scores = router.model.score([read_prompt(prompt) for prompt in held.prompts])
    usd, novel = router.expected_cost(held.prompts), scores.novelty > decision["novelty_threshold"]
    said = {"reference": 2, "unit_usd": decision["unit_usd"], "spread": scores.spread, "escalated": novel}
    again = certify(held, scores.p_pass, usd, **said, seed=0)
    assert again == {key: result["certificate"][key] for key in again}
    assert spend(held, scores.p_pass, usd, **said) == decision["spend"]
    assert novel.mean() == decision["novelty_false_alarm_observed"]
    others = set(outcomes.groups[split.train].tolist() + outcomes.groups[split.test].tolist())
    assert not others & set(held.groups.tolist())


def test_what_is_certified_is_what_the_router_does(
    fitted: tuple[Path, dict[str, Any]], history_files: tuple[Path, Path]
) -> None:
    """Saving and shares of each promise, seen by asking the opened router for it on the calibration part."""
    out, result = fitted
    held = held_out(history_files, "calibration")
    held = held.take(held.complete)
    router, each = Router.load(out), np.arange(len(held))
    assert len(result["certificate"]["table"]) > 10
    _, of = np.unique(held.groups.astype(str), return_inverse=True)
    weights = 1.0 / np.bincount(of)[of]  # every group counts alike
    for row in result["certificate"]["table"][::7]:
        decisions = router.route_many(held.prompts, Policy(max_regret=row["alpha"]))
        chosen = np.array([decision.index for decision in decisions])
        shares = np.bincount(chosen, weights, minlength=3) / weights.sum()
        assert row["share_per_tier"] == pytest.approx(shares.tolist())
        paid, top = weights @ held.cost_usd[each, chosen], weights @ held.cost_usd[:, 2]
        assert row["saving"] == pytest.approx(1.0 - paid / top)


def test_an_epsilon_is_per_average_call_of_the_reference_tier(
    fitted: tuple[Path, dict[str, Any]], history_files: tuple[Path, Path]
) -> None:
    out, result = fitted
    train = held_out(history_files, "train")
    usd = Router.load(out).expected_cost(train.prompts)[:, 2].mean()
    assert ("large", False) == (result["decision"]["reference"], result["decision"]["dominated"])
    assert usd == pytest.approx(result["decision"]["unit_usd"])


def test_a_budget_is_kept_on_the_calibration_part(
    fitted: tuple[Path, dict[str, Any]], history_files: tuple[Path, Path]
) -> None:
    out, result = fitted
    held = held_out(history_files, "calibration")
    held = held.take(held.complete)
    router, each, table = Router.load(out), np.arange(len(held)), result["decision"]["spend"]
    assert len(table) > 5
    assert all(a["epsilon"] < b["epsilon"] and a["usd"] > b["usd"] for a, b in pairwise(table))
    for row in table[:: len(table) // 4]:
        decisions = router.route_many(held.prompts, Policy(budget=row["usd"]))
        paid = held.cost_usd[each, [decision.index for decision in decisions]].mean()
        assert row["usd"] == pytest.approx(paid)


def test_default_decisions_rest_on_the_certificate(fitted: tuple[Path, dict[str, Any]]) -> None:
    _, result = fitted
    decision, table = result["decision"], result["certificate"]["table"]
    assert DEFAULT_MAX_REGRET == decision["default_max_regret"]
    certified = [row["epsilon"] for row in table if row["alpha"] <= DEFAULT_MAX_REGRET]
    assert ("certificate" if certified else "cross-validation") == decision["basis"]
    assert "regret" == decision["default_loss"]
    if certified:
        assert certified[-1] == decision["default_epsilon"]


# Histories of many kinds


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A history of 160 prompts without messages, times or groups, so that each test may add what it is about."""
    table = generate(190, 5)
    return table[table["prompt"].notna()].drop(columns=["messages", "timestamp"])


@pytest.fixture
def learn(toy_embedding: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Fit a table and return the manifest of an artefact that loads and routes."""

    def learn(
        table: pd.DataFrame, suffix: str = ".parquet", name: str = "model", **options: Any
    ) -> dict[str, Any]:
        history, tiers = tmp_path / f"history{suffix}", tmp_path / "tiers.toml"
        tiers.write_text(TIERS_TOML, encoding="utf-8")
        if suffix == ".parquet":
            table.to_parquet(history, index=False)
        elif suffix == ".csv":
            table.to_csv(history, index=False)
        else:
            history.write_text(
                "".join(json.dumps(row) + "\n" for row in table.to_dict("records")), encoding="utf-8"
            )
        out = tmp_path / name
        result = fit([history], tiers, out, embedding=toy_embedding, **options)
        strict(json.dumps(result))
        router = Router.load(out)
        assert 3 == len(router.route("Prove that this works.").p_pass)
        document = strict((out / "manifest.json").read_bytes())
        assert files_of(document) == {path.name for path in out.iterdir()}
        return document

    return learn


def test_the_format_of_the_file_does_not_matter(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    found = [learn(table, suffix, name=suffix[1:]) for suffix in (".parquet", ".csv", ".jsonl")]
    assert 1 == len({document["model_id"] for document in found})
    assert 1 == len({json.dumps(document["metrics"]) for document in found})


def test_another_seed_is_another_model(
    table: pd.DataFrame, tmp_path: Path, learn: Callable[..., dict[str, Any]]
) -> None:
    one, other = learn(table, name="one", seed=1), learn(table, name="two", seed=2)
    assert one["model_id"] != other["model_id"]
    assert (tmp_path / "one" / "model.onnx").read_bytes() != (tmp_path / "two" / "model.onnx").read_bytes()
    assert (1, 2) == (one["model"]["seed"], other["data"]["split"]["seed"])


def test_without_any_cost_the_price_list_decides(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    document = learn(table.drop(columns=["cost_usd", "input_tokens", "output_tokens", "latency_ms"]))
    assert [1.0, 1.0, 1.0] == [tier["cost_estimated_share"] for tier in document["data"]["summary"]["tiers"]]
    prices = [tier["output_usd_per_mtok"] for tier in document["tiers"]["tier"]]
    assert [256e-6 * price for price in prices] == pytest.approx(document["cost"]["usd_per_answer"])


def test_messages_are_prompts(learn: Callable[..., dict[str, Any]]) -> None:
    table = generate(150, 5).drop(columns=["timestamp"])
    text = table["prompt"].notna()
    table.loc[text, "messages"] = [
        json.dumps([{"role": "user", "content": p}]) for p in table.loc[text, "prompt"]
    ]
    assert 150 == learn(table.drop(columns=["prompt"]))["data"]["summary"]["prompts"]


def test_a_split_that_is_given_is_kept(table: pd.DataFrame, learn: Callable[..., dict[str, Any]]) -> None:
    ids = table["prompt_id"].unique()
    tested = set(ids[:40])
    marked = table.assign(
        split=["test" if i in tested else "train" for i in table["prompt_id"]], group=table["prompt_id"]
    )
    split = learn(marked)["data"]["split"]
    assert ("given", 40) == (split["method"], split["test"])
    assert "group" == learn(marked, split_method="group")["data"]["split"]["method"]


def test_the_newest_judge_where_there_are_times(learn: Callable[..., dict[str, Any]]) -> None:
    table = generate(150, 5)
    split = learn(table)["data"]["split"]
    assert "time" == split["method"]
    assert 30 == pytest.approx(split["test"], abs=3)


def test_unobserved_outcomes_are_left_unobserved(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    # The dear tier answered a half: those prompts teach the others alone, and none of them is measured on it.
    ids = table["prompt_id"].unique()
    seldom = table[~((table["model"] == "synthetic-large") & table["prompt_id"].isin(ids[::2]))]
    document = learn(seldom.assign(score=seldom["score"]))
    metrics, summary = document["metrics"]["router"], document["data"]["summary"]
    assert summary["tiers"][2]["observed"] == (seldom["model"] == "synthetic-large").sum()
    assert metrics["prompts"] < metrics["calibration"]["small"]["observed"]


def test_tiers_that_were_never_tried_on_one_prompt_promise_nothing(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    ids = {prompt: i for i, prompt in enumerate(table["prompt_id"].unique())}
    models = np.array(["synthetic-small", "synthetic-medium", "synthetic-large"])
    apart = table[table["model"] == models[[ids[i] % 3 for i in table["prompt_id"]]]]
    document = learn(apart)
    assert {"prompts": 0, "groups": 0} == {
        key: document["metrics"]["router"][key] for key in ("prompts", "groups")
    }
    assert (0, []) == (document["certificate"]["n"], document["certificate"]["table"])
    assert ("cross-validation", 0.0) == (
        document["decision"]["basis"],
        document["decision"]["default_epsilon"],
    )
    assert {None} == {row["gap_closed"] for row in document["model"]["candidates"]}


def test_a_history_whose_prompts_tell_the_tier_is_routed_well(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    """Proofs need the large tier and sums do not; prompts of both kinds are as long."""
    ids = {prompt: i for i, prompt in enumerate(table["prompt_id"].unique())}
    number = table["prompt_id"].map(ids).to_numpy()
    proof = number % 2 == 0
    told = table.assign(
        prompt=np.where(proof, "Prove the number of it ", "Sum the list and write ") + number.astype(str),
        score=np.where(proof & (table["model"] != "synthetic-large"), 0.0, 1.0),
        group=table["prompt_id"],
    )
    metrics = learn(told.drop(columns=["task", "feature"]))["metrics"]
    assert metrics["router"]["gap_closed"]["value"] > 0.6
    assert metrics["router"]["gap_closed"]["value"] > metrics["length"]["gap_closed"]["value"] + 0.3


@pytest.mark.parametrize("score", [1.0, 0.0])
def test_outcomes_that_are_all_alike_send_all_to_the_cheapest(
    score: float, table: pd.DataFrame, tmp_path: Path, learn: Callable[..., dict[str, Any]]
) -> None:
    """Where all pass the cheapest is enough; where all fail nothing is gained by paying more."""
    document = learn(table.assign(score=score))
    point = document["metrics"]["router"]["operating_point"]
    assert {"small": 1.0, "medium": 0.0, "large": 0.0} == point["share_per_tier"]
    assert 0.0 == point["regret"]["value"]
    assert [None] * 3 == [row["auc"] for row in document["metrics"]["router"]["calibration"].values()]
    p_pass = Router.load(tmp_path / "model").score(["Prove it.", "Sum it."])
    assert (p_pass > 0.97).all() if score else (p_pass < 0.03).all()


def test_prompts_that_are_all_alike_send_all_to_one_tier(
    table: pd.DataFrame, tmp_path: Path, learn: Callable[..., dict[str, Any]]
) -> None:
    """Nothing can be told from the prompt: what is left are the pass rates, and any other prompt is novel."""
    document = learn(table.assign(prompt="Sum the list."))
    shares = document["metrics"]["router"]["operating_point"]["share_per_tier"]
    assert [1.0] == [share for share in shares.values() if share]
    router = Router.load(tmp_path / "model")
    rates = [tier["pass_rate"] for tier in document["data"]["summary"]["tiers"]]
    assert rates == pytest.approx(router.score(["Sum the list."])[0].tolist(), abs=0.1)
    assert Reason.NOVEL == router.route("Prove that the train is late").reason


def test_many_copies_of_a_few_prompts_are_learned_in_silence(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    texts = table["prompt"].unique()[:6]
    copies = pd.concat([table.assign(prompt_id=table["prompt_id"] + f"/{i}") for i in range(8)])
    number = {prompt: i for i, prompt in enumerate(copies["prompt_id"].unique())}
    copies["prompt"] = [texts[number[i] % 6] for i in copies["prompt_id"]]
    copies["group"] = copies["prompt_id"]
    assert len(number) > 1000
    learn(copies)


def candidates_of(document: dict[str, Any]) -> set[str]:
    return {name for row in document["model"]["candidates"] for name in row["members"]}


def test_tasks_are_a_member_where_the_history_tells_them(
    table: pd.DataFrame, learn: Callable[..., dict[str, Any]]
) -> None:
    """The task column, the feature column where there is none, and neither."""
    with_tasks = table.assign(task=["one" if i < "synthetic/f" else "other" for i in table["prompt_id"]])
    assert "tasks" in candidates_of(learn(with_tasks))
    by_feature = with_tasks.drop(columns=["feature"]).rename(columns={"task": "feature"})
    assert learn(by_feature)["model_id"] == learn(with_tasks.drop(columns=["feature"]))["model_id"]
    untold = learn(table.drop(columns=["task", "feature"]))
    assert set(FITTERS) - {"tasks"} == candidates_of(untold)
    assert "tasks" not in untold["model"]["members"]


def test_a_history_in_a_script_without_tokens_is_learned(
    table: pd.DataFrame, tmp_path: Path, learn: Callable[..., dict[str, Any]]
) -> None:
    """The embedding knows no token of it, so words and vectors say nothing; length and shape are left."""
    number = {prompt: i for i, prompt in enumerate(table["prompt_id"].unique())}
    strange = table.assign(
        prompt=["世界" * (1 + number[i] % 40) + "々" * number[i] for i in table["prompt_id"]]
    )
    document = learn(strange.drop(columns=["group"]))
    assert 5 <= len(candidates_of(document))
    p_pass = Router.load(tmp_path / "model").score(["世界", "世界" * 40, "Prove it."])
    assert ((p_pass > 0) & (p_pass < 1)).all()


def test_notes_and_name_stand_in_the_card(
    table: pd.DataFrame, tmp_path: Path, learn: Callable[..., dict[str, Any]]
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("## Purpose\n\nFür Tests.\n", encoding="utf-8")
    document = learn(table, name="model", notes=notes)
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "tierwise" == document["name"]
    assert card.startswith("# tierwise\n")
    assert "Für Tests." in card


# The command


def test_two_processes_give_the_same_bytes(
    tmp_path: Path, toy_embedding: Path, training: Callable[..., Popen[str]], table: pd.DataFrame
) -> None:
    history, tiers = tmp_path / "history.parquet", tmp_path / "tiers.toml"
    table.to_parquet(history, index=False)
    tiers.write_text(TIERS_TOML, encoding="utf-8")
    arguments = ("--history", history, "--tiers", tiers, "--embedding", toy_embedding, "--seed", "4")
    runs = [
        training("fit", *arguments, "--out", tmp_path / name, PYTHONHASHSEED=name[1:])
        for name in ("s0", "s1234")
    ]
    documents = []
    for process in runs:
        stdout, stderr = process.communicate()
        assert 0 == process.returncode, stderr
        lines = stdout.splitlines()
        documents.append(strict(lines[-1]))
        assert 1 == len(lines)  # nothing but the document; progress is on stderr
        for step in (
            "reading",
            "extracting features",
            "cross-validating",
            "certifying",
            "measuring",
            "writing",
        ):
            assert f"] {step}" in stderr
        assert "Held-out test part" in stderr
        assert "\r" not in stderr  # no bar where there is no terminal
    one, other = (tmp_path / name for name in ("s0", "s1234"))
    for name in {path.name for path in one.iterdir()} - {"manifest.json", "MODEL_CARD.md"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert {document.pop("artefact") for document in documents} == {str(one), str(other)}
    assert documents[0] == documents[1]
    first, second = (json.loads((folder / "manifest.json").read_bytes()) for folder in (one, other))
    for document in (first, second):
        del document["created"], document["files"]["MODEL_CARD.md"]
    assert first == second


@pytest.fixture
def command(
    tmp_path: Path, toy_embedding: Path, table: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Run `python -m training fit` on a table, in a folder of its own, with arguments added or replaced."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "tiers.toml").write_text(TIERS_TOML, encoding="utf-8")

    def command(changed: pd.DataFrame | None = None, **options: str | Path) -> tuple[int, str, str]:
        (table if changed is None else changed).to_csv(folder / "history.csv", index=False)
        arguments = {
            "history": folder / "history.csv",
            "tiers": folder / "tiers.toml",
            "out": tmp_path / "out" / "model",
            "embedding": toy_embedding,
        } | options
        capfd.readouterr()
        code = main(["fit", *(text for key, value in arguments.items() for text in (f"--{key}", str(value)))])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


def of_prompts(table: pd.DataFrame, n: int) -> pd.DataFrame:
    return table[table["prompt_id"].isin(table["prompt_id"].unique()[:n])]


BAD_HISTORIES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no model column": (lambda t: t.drop(columns=["model"]), "expected a column model"),
    "no score": (lambda t: t.drop(columns=["score"]), "expected a column score or passed"),
    "score out of range": (lambda t: t.assign(score=[1.5, *t["score"][1:]]), "row 1, column score"),
    "duplicate key": (lambda t: pd.concat([t, t.head(1)]), "each pair once"),
    "unknown models": (lambda t: t.assign(model=t["model"] + "-x"), "expected rows of the tiers' models"),
    "a tier without rows": (lambda t: t[t["model"] != "synthetic-large"], "expected outcomes of tier large"),
    "ten rows": (lambda t: t.head(10), f"expected {LEAST_PROMPTS} prompts or more"),
    "too few prompts": (lambda t: of_prompts(t, 60), f"expected {LEAST_PROMPTS} prompts or more"),
    "one group": (lambda t: t.assign(group="g"), "all prompts are of one group"),
    "one group to learn from": (
        lambda t: t.assign(
            group=["g" if i < "synthetic/s" else i for i in t["prompt_id"]],
            split=["train" if i < "synthetic/s" else "test" for i in t["prompt_id"]],
        ),
        "all prompts to learn from are of one group",
    ),
    "constant prompts": (
        lambda t: t.drop(columns=["group"]).assign(prompt="Sum the list."),
        "all prompts are of one group",  # equal prompts are
    ),
    "a tier only in the test part": (
        lambda t: t.assign(split=["test" if m == "synthetic-large" else "train" for m in t["model"]]),
        "",
    ),
    "no scores": (lambda t: t.assign(score=None), "expected prompts with an outcome"),
    "blank prompts": (lambda t: t.assign(prompt=" "), ""),
    "no rows": (lambda t: t.head(0), "expected rows"),
}


@pytest.mark.parametrize("kind", BAD_HISTORIES)
def test_a_history_that_cannot_be_used_is_refused(
    kind: str, table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    change, message = BAD_HISTORIES[kind]
    assert_refused(command(change(table)), message, tmp_path)


def assert_refused(found: tuple[int, str, str], message: str, tmp_path: Path) -> None:
    code, out, err = found
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (3, "", 1) == (code, out, len(errors)), err
    assert err.splitlines()[-1] == errors[0]
    assert message in errors[0]
    assert "Traceback" not in err
    assert not [*(tmp_path / "out").glob("*"), *(tmp_path / "out").glob(".*")]


def test_a_tier_that_the_training_part_never_saw_is_refused(
    table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    ids = set(table["prompt_id"].unique()[:40])
    test = table["prompt_id"].isin(ids)
    unseen = table.assign(split=np.where(test, "test", "train"), group=table["prompt_id"])
    unseen = unseen[test | (unseen["model"] != "synthetic-large")]
    assert_refused(command(unseen), "no outcome on tier large in the training part", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"history": "missing.csv"}, "expected a file to read"),
        ({"history": "history.xls"}, "expected .parquet, .jsonl"),
        ({"tiers": "missing.toml"}, "cannot be read"),
        ({"embedding": "missing"}, "no embedding"),
        ({"notes": "missing.md"}, "cannot be read as UTF-8"),
        ({"split": "given"}, "holds no train and test"),
        ({"split": "time"}, "timestamp"),
        ({"seed": "-1"}, "--seed is 0 to 4294967295; found -1"),
        ({"seed": "4294967296"}, "--seed is 0 to 4294967295; found 4294967296"),
    ],
)
def test_an_option_that_cannot_be_met_is_refused(
    options: dict[str, str], message: str, command: Command, tmp_path: Path
) -> None:
    assert_refused(command(**options), message, tmp_path)


def test_an_unknown_split_is_a_matter_of_usage(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(split="random")
    assert "invalid choice: 'random'" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_ladder_with_one_rung_is_refused(command: Command, tmp_path: Path) -> None:
    tiers = tmp_path / "one.toml"
    tiers.write_text(
        TIERS_TOML.split("[[tier]]")[0] + "[[tier]]" + TIERS_TOML.split("[[tier]]")[1], encoding="utf-8"
    )
    assert_refused(command(tiers=tiers), "needs two tiers or more", tmp_path)


@pytest.mark.parametrize("damage", ["tokenizer.json", "embedding.int8.npy", "embedding.json"])
def test_a_damaged_embedding_is_refused(
    damage: str, command: Command, toy_embedding: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "embedding"
    shutil.copytree(toy_embedding, folder)
    (folder / damage).write_bytes(b"{not this")
    assert_refused(command(embedding=folder), "no embedding", tmp_path)


def test_a_target_that_holds_other_things_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("text", encoding="utf-8")
    assert_refused(command(out=tmp_path / "file"), "is a file", tmp_path)
    assert_refused(command(out=tmp_path / "folder"), "not an artefact", tmp_path)
    assert ["text", "text"] == [(tmp_path / name).read_text() for name in ("file", "folder/thesis.tex")]


def test_a_refused_refit_leaves_the_artefact(
    table: pd.DataFrame, command: Command, toy_artifact: Path, tmp_path: Path
) -> None:
    out = tmp_path / "old"
    shutil.copytree(toy_artifact, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert_refused(command(table.head(10), out=out), "prompts or more", tmp_path)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_several_files_are_one_history(table: pd.DataFrame, tmp_path: Path, toy_embedding: Path) -> None:
    ids = table["prompt_id"].unique()
    tiers = tmp_path / "tiers.toml"
    tiers.write_text(TIERS_TOML, encoding="utf-8")
    files = []
    for name, part in (("first", ids[:70]), ("second", ids[70:])):
        files.append(tmp_path / f"{name}.csv")
        table[table["prompt_id"].isin(part)].to_csv(files[-1], index=False)
    result = fit(files, tiers, tmp_path / "model", embedding=toy_embedding)
    assert {"first": 70, "second": len(ids) - 70} == result["summary"]["sources"]
    assert {"first", "second"} == set(result["metrics"]["by_source"])
    counts = [part["router"]["prompts"] for part in result["metrics"]["by_source"].values()]
    assert result["metrics"]["router"]["prompts"] == sum(counts)
