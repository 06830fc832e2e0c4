"""The synthetic history keeps the history contract, and its outcomes follow its stated probabilities."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from router.errors import ConfigError, RequestError
from router.tiers import parse_tiers, read_tiers
from training import synthetic, synthetic_model
from training.synthetic_prompts import FAMILIES, nearly_repeat, text_of
from training.synthetic_words import LANGUAGES, Drawn, Slots

N, SEED = 6000, 11
MODELS = ("synthetic-small", "synthetic-medium", "synthetic-large")
P = ["p_small", "p_medium", "p_large"]
SHOWN = ["shown_small", "shown_medium", "shown_large"]


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return synthetic.generate_with_truth(N, SEED)


@pytest.fixture(scope="module")
def history(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    return tables[0]


@pytest.fixture(scope="module")
def truth(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    return tables[1]


@pytest.fixture(scope="module")
def prompts(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop_duplicates("prompt_id").set_index("prompt_id")


def text(row: pd.Series) -> str:
    return row["prompt"] if pd.notna(row["prompt"]) else text_of(json.loads(row["messages"]))


def test_same_seed_gives_the_same_history() -> None:
    first, again = synthetic.generate(150, 3), synthetic.generate(150, 3)
    pd.testing.assert_frame_equal(first, again)


def test_other_seed_gives_other_prompts() -> None:
    one, other = synthetic.generate(150, 3), synthetic.generate(150, 4)
    assert not set(one["prompt"].dropna()) & set(other["prompt"].dropna())


@pytest.mark.parametrize("n", [150, 1000, 1300])
def test_a_shorter_history_is_the_beginning_of_a_longer_one(
    n: int, history: pd.DataFrame, truth: pd.DataFrame
) -> None:
    short, short_truth = synthetic.generate_with_truth(n, SEED)
    pd.testing.assert_frame_equal(history.head(len(short)), short)
    pd.testing.assert_frame_equal(truth.head(n), short_truth)


def test_columns_are_those_of_the_contract(history: pd.DataFrame) -> None:
    assert list(history.columns) == [
        "prompt_id",
        "prompt",
        "messages",
        "model",
        "score",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "latency_ms",
        "group",
        "timestamp",
        "task",
        "feature",
    ]


def test_values_are_in_range(history: pd.DataFrame) -> None:
    assert history["score"].between(0, 1).all()
    assert (history[["input_tokens", "output_tokens", "cost_usd", "latency_ms"]] > 0).all(axis=None)
    assert set(history["model"]) == set(MODELS)
    assert (history["prompt"].isna() != history["messages"].isna()).all()
    filled = history.drop(columns=["prompt", "messages"])
    assert not filled.isna().any(axis=None)


def test_prompt_and_model_are_a_key(history: pd.DataFrame) -> None:
    assert not history.duplicated(["prompt_id", "model"]).any()


def test_each_prompt_has_a_row_and_a_readable_id(history: pd.DataFrame, truth: pd.DataFrame) -> None:
    assert truth["prompt_id"].is_unique
    assert set(history["prompt_id"]) == set(truth["prompt_id"])
    assert truth["prompt_id"].tolist() == [f"synthetic/{f}/{i:06d}" for i, f in enumerate(truth["family"])]


def test_timestamps_span_twelve_weeks(history: pd.DataFrame) -> None:
    moments = pd.to_datetime(history["timestamp"], format="%Y-%m-%dT%H:%M:%SZ", utc=True)
    assert pd.Timedelta(weeks=11.9) < moments.max() - moments.min() <= pd.Timedelta(weeks=12)
    assert (history.groupby("prompt_id")["timestamp"].nunique() == 1).all()


def test_shares_of_the_families_are_as_declared(truth: pd.DataFrame) -> None:
    declared = {family: share for family, (share, _, _) in FAMILIES.items()}
    assert sum(declared.values()) == pytest.approx(1.0)
    assert len(declared) >= 8
    assert truth["family"].value_counts(normalize=True).to_dict() == pytest.approx(declared, abs=0.02)


def test_families_of_the_grammar_and_of_the_response_model_agree() -> None:
    assert set(FAMILIES) == set(synthetic_model.FAMILY_DIFFICULTY) == set(synthetic_model.OUTPUT_TOKENS)
    assert set(FAMILIES) >= set(synthetic_model.SKILL) | set(synthetic_model.GRADED)
    assert set(LANGUAGES) <= set(synthetic_model.LANGUAGE_DIFFICULTY)


def test_task_and_feature_name_the_family_and_where_it_came_from(history: pd.DataFrame) -> None:
    assert (history["task"] == history["prompt_id"].str.split("/").str[1]).all()
    assert (
        history["feature"] == history["task"].map({name: entry[1] for name, entry in FAMILIES.items()})
    ).all()


def test_languages_and_scripts_vary(truth: pd.DataFrame, prompts: pd.DataFrame) -> None:
    assert set(LANGUAGES) <= set(truth["language"])
    assert not [
        pattern
        for pattern in ("[А-я]", "[ء-ي]", "[अ-ह]", "[ぁ-ん]", "[一-龥]")
        if not prompts["prompt"].str.contains(pattern, regex=True, na=False).any()
    ]


def test_lengths_run_from_twenty_to_three_thousand_characters(
    truth: pd.DataFrame, prompts: pd.DataFrame
) -> None:
    lengths = truth["characters"]
    assert [len(text(row)) for _, row in prompts.iterrows()] == lengths.tolist()
    assert 20 <= lengths.min() < 40
    assert 2000 < lengths.max() <= 3000
    assert 100 < lengths.quantile(0.25) < lengths.quantile(0.75) < 1000


def test_messages_are_chat_messages(prompts: pd.DataFrame) -> None:
    chats = [json.loads(value) for value in prompts["messages"].dropna()]
    assert 0.12 < len(chats) / len(prompts) < 0.18
    for chat in chats:
        assert {message["role"] for message in chat} <= {"system", "user", "assistant", "tool"}
        assert all(message["role"] != "system" for message in chat[1:])
        assert chat[-1]["role"] in ("user", "tool")
        asked: set[str] = set()
        for message in chat:
            assert isinstance(message["content"], str) or message.get("tool_calls")
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
                asked.add(call["id"])
            assert message["role"] != "tool" or message["tool_call_id"] in asked


def test_agents_are_messages_with_tool_calls(prompts: pd.DataFrame) -> None:
    agents = prompts.loc[prompts["task"] == "agent", "messages"]
    assert agents.notna().all()
    assert agents.str.contains('"tool_calls"', regex=False).all()


def test_near_duplicates_share_a_group(prompts: pd.DataFrame, truth: pd.DataFrame) -> None:
    repeats = prompts[prompts["group"] != prompts.index]
    assert 0.02 < len(repeats) / len(prompts) < 0.045
    assert set(repeats["group"]) <= set(prompts.index[prompts["group"] == prompts.index])
    latent = truth.set_index("prompt_id")["latent"]
    assert (latent[repeats.index].to_numpy() == latent[repeats["group"]].to_numpy()).all()
    originals = prompts.loc[repeats["group"]]
    assert (originals["task"].to_numpy() == repeats["task"].to_numpy()).all()
    assert (repeats["prompt"].fillna("").to_numpy() != originals["prompt"].fillna("").to_numpy()).mean() > 0.5


def test_equal_texts_share_a_group(prompts: pd.DataFrame) -> None:
    for column in ("prompt", "messages"):
        assert (prompts.groupby(column)["group"].nunique() == 1).all()


@pytest.mark.parametrize("content", ["Sort this.", [{"role": "user", "content": "Sort this."}]])
def test_a_near_duplicate_differs_and_keeps_what_it_repeats(content: str | list[dict[str, str]]) -> None:
    original = Drawn(content)
    slots = Slots(np.random.default_rng(5))
    for _ in range(20):
        changed = nearly_repeat(original, slots)
        assert text_of(original.content) == "Sort this."
        assert "Sort this." in text_of(changed.content) != "Sort this."


def test_a_few_outcomes_are_unobserved(history: pd.DataFrame) -> None:
    assert 0.03 < 1 - len(history) / (3 * N) < 0.05
    observed = history.groupby("prompt_id")["model"].nunique()
    assert observed.between(1, 3).all()
    assert 1 - (history["model"].value_counts() / N).max() > 0.025


def test_pass_rates_are_ordered_and_as_stated(history: pd.DataFrame) -> None:
    rates = (history["score"] >= 0.5).groupby(history["model"]).mean()
    assert pytest.approx([rates[model] for model in MODELS], abs=0.025) == [0.60, 0.78, 0.90]


def test_truth_is_ordered_in_every_family(truth: pd.DataFrame) -> None:
    p = truth[P].to_numpy()
    assert ((p > 0) & (p < 1)).all()
    assert (np.diff(p, axis=1) > 0).all()


def test_outcomes_follow_the_truth(history: pd.DataFrame, truth: pd.DataFrame) -> None:
    p = truth.set_index("prompt_id")[P].set_axis(list(MODELS), axis=1)
    for model, rows in history.groupby("model"):
        probability = p.loc[rows["prompt_id"], model].to_numpy()
        passed = (rows["score"] >= 0.5).to_numpy()
        for low, high in ((0.0, 1.01), (0.0, 0.5), (0.5, 0.8), (0.8, 1.01)):
            inside = (probability >= low) & (probability < high)
            expected, spread = (
                probability[inside].sum(),
                np.sqrt((probability * (1 - probability))[inside].sum()),
            )
            assert expected == pytest.approx(passed[inside].sum(), abs=4 * spread), (model, low)


def test_outcomes_correlate_but_a_cheap_tier_sometimes_passes_alone(history: pd.DataFrame) -> None:
    table = (history.pivot(index="prompt_id", columns="model", values="score").dropna() >= 0.5)[list(MODELS)]
    assert table.astype(float).corr().loc["synthetic-small", "synthetic-large"] > 0.15
    assert 0.01 < (table["synthetic-small"] & ~table["synthetic-large"]).mean() < 0.1


def test_only_summaries_are_graded(history: pd.DataFrame) -> None:
    binary = history["score"].isin([0.0, 1.0])
    assert set(history.loc[~binary, "task"]) == {"summary"}
    assert history.loc[history["task"] == "summary", "score"].nunique() > 50


def test_cost_is_tokens_times_price(history: pd.DataFrame) -> None:
    for tier in parse_tiers(tomllib.loads(synthetic.TIERS_TOML)).tiers:
        rows = history[history["model"] == tier.model]
        expected = [
            tier.cost_usd(i, o) for i, o in zip(rows["input_tokens"], rows["output_tokens"], strict=True)
        ]
        np.testing.assert_allclose(expected, rows["cost_usd"], rtol=1e-12)


def test_input_tokens_are_about_a_quarter_of_the_characters(
    history: pd.DataFrame, truth: pd.DataFrame
) -> None:
    characters = history["prompt_id"].map(truth.set_index("prompt_id")["characters"])
    assert (history["input_tokens"] / characters).median() == pytest.approx(0.25, rel=0.02)


def test_difficulty_rises_with_what_is_visible() -> None:
    plain = synthetic.visible_difficulty(["coding"], [1], [0], [300], ["Python"])
    assert plain[0] == pytest.approx(synthetic_model.FAMILY_DIFFICULTY["coding"] + synthetic_model.STEP)
    for steps, constraints, characters, language in (
        (2, 0, 300, "Python"),
        (1, 1, 300, "Python"),
        (1, 0, 600, "Python"),
        (1, 0, 300, "Hindi"),
    ):
        assert (
            synthetic.visible_difficulty(["coding"], [steps], [constraints], [characters], [language]) > plain
        )


def test_true_pass_probability_is_the_sigmoid_of_ability_less_difficulty() -> None:
    skill = np.array(synthetic_model.SKILL["legal"])
    logits = synthetic_model.SHARPNESS * (synthetic_model.ABILITY + skill - 0.7)
    expected = (1 - synthetic_model.LAPSE) / (1 + np.exp(-logits))
    np.testing.assert_allclose(expected[None], synthetic.true_pass_probability(["legal"], [0.7]))


def test_visible_pass_probability_averages_over_the_latent() -> None:
    latent = np.random.default_rng(2).normal(0.0, synthetic_model.LATENT_SD, 200_000)
    expected = synthetic.true_pass_probability(["agent"] * len(latent), 1.5 + latent).mean(axis=0)
    np.testing.assert_allclose(expected, synthetic.visible_pass_probability(["agent"], [1.5])[0], atol=0.003)


def test_truth_given_the_text_is_less_sure(truth: pd.DataFrame) -> None:
    assert truth[P].mean().to_numpy() == pytest.approx(truth[SHOWN].mean().to_numpy(), abs=0.01)
    assert (truth[P].to_numpy().std(axis=0) > truth[SHOWN].to_numpy().std(axis=0)).all()


def test_ladder_parses_and_lists_the_models_of_the_history() -> None:
    ladder = parse_tiers(tomllib.loads(synthetic.TIERS_TOML))
    assert ladder.names == ("small", "medium", "large")
    assert tuple(tier.model for tier in ladder.tiers) == MODELS


@pytest.mark.parametrize(("n_prompts", "seed"), [(0, 1), (-3, 1), (5, -1)])
def test_impossible_requests_are_refused(n_prompts: int, seed: int) -> None:
    with pytest.raises(RequestError, match="expected n_prompts >= 1 and seed >= 0"):
        synthetic.generate(n_prompts, seed)


def test_write_demo_writes_what_generate_returns(tmp_path: Path) -> None:
    history_path, tiers_path = synthetic.write_demo(tmp_path / "demo", n_prompts=120, seed=9)
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["history.parquet", "tiers.toml"]
    pd.testing.assert_frame_equal(synthetic.generate(120, 9), pd.read_parquet(history_path))
    assert read_tiers(tiers_path).names == ("small", "medium", "large")


def test_a_folder_that_can_not_be_written_is_the_operators_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written"):
        synthetic.write_demo(tmp_path / "taken", n_prompts=5)


def test_command_returns_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    synthetic.add_arguments(parser)
    document = synthetic.run(parser.parse_args(["--out", str(tmp_path), "--prompts", "90", "--seed", "2"]))
    assert json.loads(json.dumps(document)) == document
    assert document["prompts"] == 90
    assert document["rows"] == len(pd.read_parquet(document["history"]))
    assert set(document["pass_rate"]) == set(MODELS)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "wrote" in captured.err
