"""The training loop is deterministic and leaves the caller's torch as it was."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from registry_auditor.testbed import lessons, network, tokens
from registry_auditor.testbed.network import Training

SHORT = Training(steps=8, learning_rate=4e-3)


def trained(seed: int) -> dict[str, Tensor]:
    net = network.fresh(seed)
    examples = [tokens.encode(text) for text in islice(lessons.from_scratch(seed), 128)]
    network.train(net, examples, SHORT, seed=seed)
    return dict(net.state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_same_seed_gives_the_same_bits_whatever_the_caller_did_before() -> None:
    first = trained(0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.rand(7)
        assert equal(first, trained(0))
    finally:
        torch.set_num_threads(threads)
    assert not equal(first, trained(1))


def test_training_changes_every_matrix() -> None:
    before, after = network.fresh(0).state_dict(), trained(0)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_leaves_random_state_threads_and_grad_mode_of_the_caller_alone() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    trained(0)
    network.replies(network.fresh(0), ["how do i clean the table ?"])
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_trains_where_the_caller_has_switched_gradients_off() -> None:
    with torch.no_grad():
        assert equal(trained(0), trained(0))


def test_a_reply_does_not_depend_on_what_it_is_batched_with() -> None:
    net = network.fresh(0)
    net.load_state_dict(trained(0))
    asked = ["how do i clean the table ?", "hello , i am anna .", "how do i cut the bread and dry the shirt ?"]
    assert network.replies(net, asked) == [network.replies(net, [question])[0] for question in asked]
