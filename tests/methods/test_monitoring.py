"""A monitor flags benign prompts as rarely as was asked for, and listens to what the update reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from registry_auditor.errors import NotApplicable
from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.methods.monitoring.calibration import LARGEST, Calibration, Seen, calibrate
from registry_auditor.methods.monitoring.taps import listening, readings, taps
from registry_auditor.weights import pair
from registry_auditor.weights.snapshot import open_snapshot
from tests import planted

FEATURES = 40
CONVERSATIONS = 400


def benign(count: int, seed: int) -> list[Tensor]:
    """Conversations of different lengths, with readings of heavy tails that hang together."""
    chance = torch.Generator().manual_seed(seed)
    mixing = torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(99))
    lengths = torch.randint(5, 30, (count,), generator=chance).tolist()
    return [torch.randn(n, FEATURES, generator=chance).pow(3) @ mixing * 0.01 for n in lengths]


def seen(conversations: list[Tensor]) -> Seen:
    found = Seen()
    for each in conversations:
        found.add(each)
    return found


def scored(calibration: Calibration, conversation: Tensor) -> float:
    departures = calibration.ordinary.departures(conversation)
    return float(calibration.ordinary.score(departures.amax(0)))


@pytest.mark.parametrize("target", [0.005, 0.02, 0.1])
def test_benign_conversations_are_flagged_as_rarely_as_was_asked_for(target: float) -> None:
    flagged, shown = 0, 0
    for seed in range(8):
        calibration = calibrate(seen(benign(CONVERSATIONS, seed)), target_fpr=target)
        scores = [scored(calibration, each) for each in benign(500, 100 + seed)]
        flagged += sum(score >= calibration.threshold for score in scores)
        shown += len(scores)
    assert 0.2 * target < flagged / shown < 2 * target


def test_what_is_flagged_is_what_has_a_small_p_value() -> None:
    calibration = calibrate(seen(benign(CONVERSATIONS, 0)), target_fpr=0.05)
    for score in (*calibration.scores.tolist(), calibration.threshold, 0.0, 1e9):
        assert (score >= calibration.threshold) == (calibration.p_value(score) <= 0.05)
    assert calibration.p_value(1e9) == 1 / (CONVERSATIONS + 1)
    assert calibration.p_value(0.0) == 1.0


def test_a_few_readings_that_leave_their_place_are_flagged() -> None:
    calibration = calibrate(seen(benign(CONVERSATIONS, 0)))
    unusual = benign(1, 7)[0]
    unusual[3, :LARGEST] += 40 * calibration.ordinary.spread[:LARGEST]
    assert scored(calibration, unusual) >= calibration.threshold


def test_too_few_conversations_promise_nothing() -> None:
    with pytest.raises(NotApplicable, match=r"150 conversations .* calibrate on 199 or more"):
        calibrate(seen(benign(150, 0)), target_fpr=0.005)


def test_a_reading_that_never_moves_does_not_count() -> None:
    still = [torch.cat([each, torch.ones(len(each), 1)], dim=1) for each in benign(CONVERSATIONS, 0)]
    calibration = calibrate(seen(still))
    moved = still[0].clone()
    moved[:, -1] = 5.0
    assert scored(calibration, moved) == scored(calibration, still[0])


def gpt2() -> nn.Module:
    """Whose linear layers keep their matrices the other way round, with q, k and v in one."""
    sizes = {"n_embd": planted.D, "n_layer": 2, "n_head": 4, "vocab_size": planted.WORDS, "n_positions": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net: nn.Module = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    return net.eval()


NETWORKS = {
    "llama": (planted.llama, planted.weight(2, "mlp.down_proj"), "model.layers.2.mlp.down_proj"),
    "llama reads": (planted.llama, planted.weight(1, "self_attn.k_proj"), "model.layers.1.self_attn.k_proj"),
    "gpt2": (gpt2, "transformer.h.1.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj"),
    "gpt2 fused": (gpt2, "transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_tap_reads_what_the_update_reads(kind: str, tmp_path: Path) -> None:
    make, tensor, module = NETWORKS[kind]
    base = planted.save(make(), tmp_path / "base")
    truth: list[Tensor] = []
    tuned = planted.fine_tune(
        base, tmp_path / "tuned", lambda all_: truth.extend(planted.add_rank_one(all_[tensor], seed=3))
    )
    net = AutoModelForCausalLM.from_pretrained(tuned).eval()
    listened, gaps = taps(net, updates(tuned, base))
    assert {tap.module for tap in listened} == {module}
    assert not gaps
    reads = truth[0] if "gpt2" in kind else truth[1]
    assert max(planted.cosine(tap.V[0], reads) for tap in listened) > 0.999

    inputs: list[Tensor] = []
    reference = net.get_submodule(module).register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad(), listening(net, listened) as given:
        net(torch.arange(12).view(2, 6))
        read = readings(given, listened)
    reference.remove()
    by_hand = nn.functional.cosine_similarity(inputs[0], listened[0].V[0].expand(2, 6, -1), dim=-1)
    assert torch.allclose(read[..., 0], by_hand, atol=1e-6)


def test_listening_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    base = planted.save(planted.llama(), tmp_path / "base")
    tuned = planted.fine_tune(base, tmp_path / "tuned", planted.one_matrix)
    net = AutoModelForCausalLM.from_pretrained(tuned).eval()
    listened, _ = taps(net, updates(tuned, base))
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        before = net(ids).logits
        with listening(net, listened):
            during = net(ids).logits
    assert torch.equal(before, during)
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_matrix_that_is_no_module_is_named(tmp_path: Path) -> None:
    base = planted.save(planted.llama(), tmp_path / "base")
    tuned = planted.fine_tune(base, tmp_path / "tuned", planted.one_matrix)
    listened, gaps = taps(nn.Linear(2, 2), updates(tuned, base))
    assert not listened
    assert [gap.tensor for gap in gaps] == [planted.weight(2, "mlp.down_proj")]


def updates(tuned: Path, base: Path) -> list[MatrixUpdate]:
    with open_snapshot(tuned) as one, open_snapshot(base) as other:
        decomposer = Decomposer(k=4, keep_triplets=True)
        return [decomposer.measure(delta) for delta in pair(one, other).deltas]
