"""`directions nearest`: neighbours of a direction, of a vector, and of all that an audit found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from torch import Tensor

from tests.planted import add_rank_one, weight

Cli = Callable[..., Any]
Json = dict[str, Any]


@pytest.fixture
def taught(tuned_by: Callable[..., Path]) -> Callable[..., Path]:
    """A function that makes a model which learnt these lessons: equal seeds are equal directions."""

    def teach(*seeds: int) -> Path:
        def change(tensors: dict[str, Tensor]) -> None:
            for layer, seed in enumerate(seeds):
                add_rank_one(tensors[weight(layer, "mlp.down_proj")], seed=seed, relative=0.5)

        return tuned_by(change, name="-".join(map(str, seeds)))

    return teach


@pytest.fixture
def pair(audited: Callable[..., Json], taught: Callable[..., Path], base: Path) -> tuple[Json, Json]:
    """Two audits that share the first of two lessons."""
    return audited(taught(30, 40), base), audited(taught(30, 50), base)


def direction_of(cli: Cli, audit: Json, layer: int) -> Json:
    items = cli("directions", "list", "--audit", audit["audit"]["id"], "--layer", layer, "--format", "json").json
    direction: Json = items["items"][0]
    return direction


def test_a_shared_direction_is_found_in_the_other_model(cli: Cli, pair: tuple[Json, Json]) -> None:
    mine, theirs = (direction_of(cli, audit, 0) for audit in pair)
    place = f"{mine['bank'][:12]}:{mine['ordinal']}"
    found = cli("directions", "nearest", place, "--min-cosine", 0.9, "--format", "json").json
    (hit,) = found["items"]
    assert hit["direction"] == theirs
    assert abs(hit["cosine"]) > 0.99
    assert hit["p_value"] < 1e-9
    assert (found["searched"], found["missing"], found["exact"]) == (3, 0, True)
    text = cli("directions", "nearest", place, "--min-cosine", 0.9)
    assert f"{theirs['bank'][:12]}:{theirs['ordinal']}" in text.out
    assert "compared with 3 directions of 64 dimensions" in text.err


def test_the_neighbours_of_a_vector_come_from_a_file(cli: Cli, pair: tuple[Json, Json], tmp_path: Path) -> None:
    mine = direction_of(cli, pair[0], 0)
    output = tmp_path / "bank.safetensors"
    cli("banks", "export", "--audit", pair[0]["audit"]["id"], "--output", output)
    with safe_open(output, framework="np") as file:
        vector = file.get_tensor("vectors")[mine["ordinal"]]
    np.save(tmp_path / "vector.npy", 3 * vector)
    (tmp_path / "vector.json").write_text(json.dumps(vector.tolist()))
    base = pair[0]["audit"]["base"]
    for name, basis in (("vector.npy", base["digest"]), ("vector.json", base["ref"])):
        found = cli("directions", "nearest", "--vector", name, "--basis", basis, "--limit", 1, "--format", "json").json
        assert found["basis"] == base["digest"]
        assert abs(found["items"][0]["cosine"]) == pytest.approx(1, abs=1e-5)


def test_tells_which_other_model_learnt_the_same(cli: Cli, pair: tuple[Json, Json]) -> None:
    ids = [audit["audit"]["id"] for audit in pair]
    found = cli("directions", "nearest", "--audit", ids[0][:13], "--format", "json").json
    (other,) = found["items"]
    assert other["model"] == pair[1]["audit"]["model"]["ref"]
    assert (other["matched"], found["asked"], found["compared"], other["directions"]) == (1, 2, 1, 2)
    assert other["p_value"] < 1e-8
    text = cli("directions", "nearest", "--audit", ids[0])
    assert "1 of 2" in text.out  # however long the path of the other model is
    assert "looked up 2 directions in 1 other models" in text.err


def test_what_is_near_nothing_says_so(cli: Cli, audited: Callable[..., Json], taught: Any, base: Path) -> None:
    audit = audited(taught(30), base)
    direction = direction_of(cli, audit, 0)
    assert "Nothing is near" in cli("directions", "nearest", f"{direction['bank']}:{direction['ordinal']}").out
    assert "No other model" in cli("directions", "nearest", "--audit", audit["audit"]["id"]).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give one of"),
        (("3f2a:0", "--audit", "01"), "give one of"),
        (("--vector", "x.npy"), "--basis"),
        (("3f2a",), "no BANK:ROW"),
        (("3f2a:0",), "is no bank"),
        (("--audit", "0000"), "audits list"),
        (("--audit", "0000", "--exclude-model", "hf:*"), "--exclude-model"),
        (("--vector", "missing.npy", "--basis", "x"), "missing.npy"),
        (("--vector", "words.json", "--basis", "x"), "words.json"),
        (("--vector", "pickle.npy", "--basis", "x"), "pickle.npy"),
        (("--vector", "zero.json", "--basis", "x"), "the vector is zero"),
        (("--vector", "row.json", "--basis", "x"), "no directions over the base 'x'"),
    ],
)
def test_what_cannot_be_asked_exits_with_4_and_says_why(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "words.json").write_text("no json")
    (tmp_path / "zero.json").write_text("[0, 0]")
    (tmp_path / "row.json").write_text("[1, 2]")
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    outcome = cli("directions", "nearest", *arguments)
    assert (outcome.code, outcome.out) == (4, "")
    assert told in outcome.err
