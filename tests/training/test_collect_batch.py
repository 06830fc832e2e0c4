"""Collecting through the Batch API: the same history at half the price."""

from __future__ import annotations

from pathlib import Path

import pytest
from collecting import Collect, finish, rows_of, simple_prompts, start
from served import MOST_SECONDS, wait_until
from standin import make_prompts, standin


def test_batches_give_the_same_history_at_half_the_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    collect = Collect(tmp_path, capsys)
    prompts = collect.write(simple_prompts(6))
    with standin() as server:
        assert 0 == collect(prompts, "--base-url", server.url).code
        server.reset()
        out = tmp_path / "batched.jsonl"
        ended = collect(prompts, "--base-url", server.url, "--batch", out=out)
        assert (0, 18, None) == (ended.code, ended.result["calls"]["made"], ended.result["stopped"]), (
            ended.err
        )
        bill = server.bill()
        assert {6} == {bill["models"][row["model"]]["calls_in_batches"] for row in rows_of(out)}
        again = collect(prompts, "--base-url", server.url, "--batch", out=out)
        assert (0, 18, 18) == (again.code, again.result["resumed"], server.bill()["calls"])
    assert rows_of(collect.out, "latency_ms", "cost_usd") == rows_of(out, "latency_ms", "cost_usd")
    assert [row["cost_usd"] / 2 for row in rows_of(collect.out)] == pytest.approx(
        [row["cost_usd"] for row in rows_of(out)]
    )
    assert {None} == {row["latency_ms"] for row in rows_of(out)}
    assert ended.result["tiers"]["small"]["mean_latency_ms"] is None
    assert bill["usd"] == pytest.approx(ended.result["spent_usd"], rel=1e-9)


@pytest.mark.pipeline
def test_killed_while_a_batch_runs_it_is_taken_up_and_never_sent_beside(tmp_path: Path) -> None:
    prompts, out = make_prompts(tmp_path / "prompts.jsonl", 10), tmp_path / "history.jsonl"
    with standin() as server:
        process = start(prompts, out, server.url, "--batch")
        wait_until(lambda: 3 == len(server.ask("/v1/batches")["data"]), "no batches are made", MOST_SECONDS)
        process.kill()
        finish(process)
        beside = finish(start(prompts, out, server.url))
        assert (1, "in batch") == (beside.code, beside.result["stopped"]), beside.err
        assert (
            f"{beside.result['in_batch']} calls are in batches that have not ended; go on with --batch"
            in beside.err
        )
        assert 0 == server.bill()["calls"], "none was sent beside"
        assert (0, None, False) == (beside.result["rows"], beside.result["history"], out.exists())
        ended = finish(start(prompts, out, server.url, "--batch"))
        assert (0, 30) == (ended.code, ended.result["rows"]), ended.err
        assert (30, 0) == (server.bill()["calls"], server.bill()["billed_twice"])
