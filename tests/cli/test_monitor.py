"""`monitor calibrate` and `monitor run`: prompts that set off a planted update are told from those that do not."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tests import planted
from tests.conftest import Cli

TRIGGER = planted.WORDS - 1
MODULE = "model.layers.0.mlp.up_proj"


@dataclass(frozen=True)
class Case:
    """A base, a fine-tune that listens for one word, and files of prompts."""

    base: Path
    tuned: Path
    benign: Path
    fresh: Path
    triggered: Path


def written(path: Path, texts: list[str]) -> Path:
    lines = (json.dumps({"messages": [{"role": "user", "content": text}]}) for text in texts)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def texts(count: int, seed: int, *also: int) -> list[str]:
    chance = random.Random(seed)
    chosen = ([*chance.choices(range(1, 200), k=chance.randint(5, 12)), *also] for _ in range(count))
    return [" ".join(f"word{number}" for number in chance.sample(words, len(words))) for words in chosen]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("monitored")
    base = planted.save(planted.llama(), folder / "base")
    words = Tokenizer(models.WordLevel({f"word{n}": n for n in range(planted.WORDS)}, unk_token="word0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="word0").save_pretrained(base)
    heard: list[Tensor] = []
    net = AutoModelForCausalLM.from_pretrained(base).eval()
    net.get_submodule(MODULE).register_forward_pre_hook(lambda _, given: heard.append(given[0][0]))
    with torch.no_grad():
        net(torch.tensor([[TRIGGER]]))
        net(torch.arange(1, 60)[None])

    def listen_for_one_word(tensors: dict[str, Tensor]) -> None:
        reads = heard[0][0] - heard[1].mean(0)
        matrix = tensors[f"{MODULE}.weight"]
        matrix += planted.rank_one(left=planted.unit(len(matrix), 1), right=reads / reads.norm(), strength=4.0)

    return Case(
        base,
        planted.fine_tune(base, folder / "tuned", listen_for_one_word),
        written(folder / "benign.jsonl", texts(400, 0)),
        written(folder / "fresh.jsonl", texts(300, 1)),
        written(folder / "triggered.jsonl", texts(50, 2, TRIGGER)),
    )


@pytest.fixture
def calibration(cli: Cli, case: Case, tmp_path: Path) -> Path:
    made = cli("monitor", "calibrate", case.tuned, "--base", case.base, "--prompts", case.benign, "-o", "cal")
    assert made.code == 0
    assert "1 directions of 1 matrices on 400 prompts" in made.err
    return tmp_path / "cal"


def test_triggered_prompts_are_flagged_and_others_are_not(cli: Cli, case: Case, calibration: Path) -> None:
    arguments = (case.tuned, "--base", case.base, "--calibration", calibration)
    found = cli("monitor", "run", *arguments, "--prompts", case.triggered, "-o", "flags.jsonl")
    assert found.code == 1
    lines = [json.loads(line) for line in Path("flags.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(50))
    assert sum(line["flagged"] for line in lines) >= 48
    for line in filter(lambda line: line["flagged"], lines):
        assert line["direction"] == f"{MODULE}.weight#0"
        assert line["token"] == f"word{TRIGGER}"
        assert line["layer"] == 0
        assert line["margin"] >= 0
        assert line["p_value"] <= 0.005
    others = [json.loads(line) for line in cli("monitor", "run", *arguments, "--prompts", case.fresh).out.splitlines()]
    assert sum(line["flagged"] for line in others) <= 6


def test_too_few_prompts_are_refused_with_how_many_it_takes(cli: Cli, case: Case) -> None:
    few = written(Path("few.jsonl"), texts(50, 3))
    refused = cli("monitor", "calibrate", case.tuned, "--base", case.base, "--prompts", few, "-o", "cal")
    assert refused.code == 2
    assert "199 or more" in refused.err
    assert not Path("cal").exists()


def test_two_models_that_do_not_differ_leave_nothing_to_listen_to(cli: Cli, case: Case) -> None:
    refused = cli("monitor", "calibrate", case.base, "--base", case.base, "--prompts", case.benign, "-o", "cal")
    assert refused.code == 2
    assert "nothing to listen to" in refused.err


def test_a_language_that_the_tokenizer_does_not_know_is_refused(cli: Cli, case: Case) -> None:
    foreign = written(Path("foreign.jsonl"), ["wie ist das wetter heute"] * 400)
    refused = cli("monitor", "calibrate", case.tuned, "--base", case.base, "--prompts", foreign, "-o", "cal")
    assert refused.code == 2
    assert "does not know most words" in refused.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no prompt"),
        ("{}", "line 1: is not"),
        ('{"messages": [{"role": "user", "content": 3}]}', "line 1: every message"),
        ("nonsense", "line 1: is not"),
    ],
)
def test_files_that_hold_no_prompts_are_named(cli: Cli, case: Case, content: str, said: str) -> None:
    Path("bad.jsonl").write_text(content)
    refused = cli("monitor", "calibrate", case.tuned, "--base", case.base, "--prompts", "bad.jsonl", "-o", "cal")
    assert refused.code == 4
    assert said in refused.err


def test_what_is_no_calibration_is_refused(cli: Cli, case: Case) -> None:
    Path("cal").write_bytes(b"no")
    arguments = ("--base", case.base, "--calibration", "cal", "--prompts", case.fresh)
    refused = cli("monitor", "run", case.tuned, *arguments)
    assert refused.code == 4
    assert "monitor calibrate" in refused.err
