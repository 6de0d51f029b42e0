from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as library_kl

from foreact.config import PolicyConfig
from foreact.model.act import ACT, ACTOutput
from foreact.model.losses import Counterfactual, act_loss, contrastive_hinge, kl_divergence, masked_l1
from foreact.records import Batch, Features

MakeConfig = Callable[..., PolicyConfig]
MakeBatch = Callable[..., Batch]


def test_l1_by_hand() -> None:
    action_hat = torch.tensor([[[1.0, 2.0], [5.0, 5.0]], [[0.0, 0.0], [1.0, 1.0]]])
    action = torch.tensor([[[0.0, 4.0], [9.0, 9.0]], [[0.5, 0.0], [1.0, -1.0]]])
    is_pad = torch.tensor([[False, True], [False, False]])
    # Real errors: 1, 2 | 0.5, 0 | 0, 2: the sum is 5.5 over 6 real entries of 8.
    assert masked_l1(action_hat, action, is_pad).item() == pytest.approx(5.5 / 6)
    assert masked_l1(action_hat, action, is_pad, "padded_mean").item() == pytest.approx(5.5 / 8)


def test_without_padding_both_reductions_are_the_library_l1() -> None:
    action_hat, action = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    is_pad = torch.zeros(3, 5, dtype=torch.bool)
    expected = torch.nn.functional.l1_loss(action_hat, action)
    torch.testing.assert_close(masked_l1(action_hat, action, is_pad), expected)
    torch.testing.assert_close(masked_l1(action_hat, action, is_pad, "padded_mean"), expected)


def test_padding_does_not_thin_out_the_valid_loss() -> None:
    error = torch.full((1, 4, 2), 0.3)
    for n_padded in range(4):
        is_pad = torch.arange(4)[None] >= 4 - n_padded
        assert masked_l1(error, torch.zeros(1, 4, 2), is_pad).item() == pytest.approx(0.3)
        assert masked_l1(error, torch.zeros(1, 4, 2), is_pad, "padded_mean").item() == pytest.approx(
            0.3 * (4 - n_padded) / 4
        )


def test_padded_steps_change_neither_loss_nor_gradient() -> None:
    action_hat, action = torch.randn(2, 5, 4, requires_grad=True), torch.randn(2, 5, 4)
    is_pad = torch.arange(5).expand(2, 5) >= 3
    loss = masked_l1(action_hat, action, is_pad)
    (gradient,) = torch.autograd.grad(loss, action_hat)
    other = torch.where(is_pad[..., None], torch.full_like(action, 1e6), action)
    loss_after = masked_l1(action_hat, other, is_pad)
    (gradient_after,) = torch.autograd.grad(loss_after, action_hat)
    assert torch.equal(loss, loss_after)
    assert torch.equal(gradient, gradient_after)
    assert not gradient[:, 3:].any()


def test_a_batch_of_nothing_but_padding_has_no_l1() -> None:
    chunk, is_pad = torch.zeros(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)
    assert masked_l1(chunk, chunk, is_pad).isnan()
    assert masked_l1(chunk, chunk, is_pad, "padded_mean") == 0


def test_the_loss_and_its_gradients_are_one_graph_without_a_look_at_a_value() -> None:
    """Each look would stop the processor until a GPU has come so far."""

    def loss(action_hat: Tensor) -> Tensor:
        return masked_l1(action_hat, torch.zeros(2, 5, 4), torch.arange(5).expand(2, 5) > 2)

    assert torch._dynamo.explain(loss)(torch.randn(2, 5, 4)).graph_break_count == 0


def test_kl_equals_torch_distributions_summed_over_the_latent_and_averaged_over_the_batch() -> None:
    mu, log_var = torch.randn(7, 32, dtype=torch.float64), torch.randn(7, 32, dtype=torch.float64)
    each = library_kl(Normal(mu, (log_var / 2).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    torch.testing.assert_close(kl_divergence(mu, log_var), each.sum(dim=1).mean(dim=0))


def test_kl_by_hand() -> None:
    # One sample, two dimensions: mu = (1, 0), sigma^2 = (1, e): (1/2) (1 + 0) and (1/2) (e - 1 - 1).
    mu, log_var = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert kl_divergence(mu, log_var).item() == pytest.approx(0.5 + (2.718281828 - 2) / 2)
    assert kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0


def test_repeating_latent_dimensions_doubles_kl_and_repeating_samples_does_not() -> None:
    mu, log_var = torch.randn(3, 4), torch.randn(3, 4)
    once = kl_divergence(mu, log_var)
    torch.testing.assert_close(kl_divergence(mu.repeat(1, 2), log_var.repeat(1, 2)), 2 * once)
    torch.testing.assert_close(kl_divergence(mu.repeat(2, 1), log_var.repeat(2, 1)), once)


def test_gradients_of_the_terms_equal_finite_differences() -> None:
    action_hat, action = torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(2, 3, 2, dtype=torch.float64)
    is_pad = torch.tensor([[False, False, True], [False, False, False]])
    mu, log_var = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    action_hat.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: masked_l1(x, action, is_pad), (action_hat,))
    assert torch.autograd.gradcheck(kl_divergence, (mu, log_var))


def test_the_terms_add_up(make_config: MakeConfig) -> None:
    config = make_config(kl_weight=3.0)
    batch = Batch(action=torch.zeros(2, 5, 4), action_is_pad=torch.zeros(2, 5, dtype=torch.bool))
    output = ACTOutput(action_hat=torch.full((2, 5, 4), 0.5), mu=torch.ones(2, 6), log_var=torch.zeros(2, 6))
    terms = act_loss(output, batch, config).terms()
    assert terms.keys() == {"loss", "l1", "kl"}
    assert terms["l1"].item() == pytest.approx(0.5)
    assert terms["kl"].item() == pytest.approx(3.0)  # 6 dimensions of 1/2
    assert terms["loss"].item() == pytest.approx(9.5)
    assert act_loss(output, batch, replace(config, kl_weight=0.0)).loss.item() == pytest.approx(0.5)


def test_without_a_posterior_l1_is_all(make_config: MakeConfig) -> None:
    batch = Batch(action=torch.zeros(2, 5, 4), action_is_pad=torch.zeros(2, 5, dtype=torch.bool))
    terms = act_loss(ACTOutput(action_hat=torch.full((2, 5, 4), 0.5)), batch, make_config()).terms()
    assert {name: value.item() for name, value in terms.items()} == {"loss": 0.5, "l1": 0.5}


def test_the_auxiliary_error_is_the_mean_square_and_joins_with_its_weight(make_config: MakeConfig) -> None:
    is_pad = torch.zeros(1, 5, dtype=torch.bool)
    batch = Batch(action=torch.zeros(1, 5, 4), action_is_pad=is_pad, environment_state=torch.tensor([[1.0, -1.0]]))
    output = ACTOutput(action_hat=torch.full((1, 5, 4), 0.5), cue_hat=torch.tensor([[2.0, 2.0]]))
    terms = act_loss(output, batch, make_config(auxiliary_weight=0.1)).terms()
    # (1^2 + 3^2) / 2 = 5, and 0.5 + 0.1 * 5 = 1.
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {"loss": 1.0, "l1": 0.5, "auxiliary": 5.0}
    )
    with pytest.raises(ValueError, match="environment_state"):
        act_loss(output, replace(batch, environment_state=None), make_config())


def test_the_contrastive_hinge_by_hand() -> None:
    chunk = torch.zeros(4, 2, 2)
    other = torch.tensor(
        [
            [[0.1, 0.3], [9.0, 9.0]],  # mean change 0.2 over the one real step: 0.5 - 0.2
            [[0.4, 0.4], [0.8, 0.8]],  # 0.6 over both, beyond the margin: 0
            [[0.1, 0.1], [0.1, 0.1]],  # 0.1, but the cues are only 0.4 apart: 0.2 - 0.1
            [[0.0, 0.0], [0.0, 0.0]],  # the same cue: 0
        ]
    )
    distance = torch.tensor([3.0, 1.0, 0.4, 0.0])
    is_pad = torch.tensor([[False, True], [False, False], [False, False], [False, False]])
    found = contrastive_hinge(chunk, other, distance, is_pad, margin=0.5)
    assert found.item() == pytest.approx((0.3 + 0 + 0.1 + 0) / 4)


def test_the_contrastive_hinge_pushes_the_chunks_apart_and_ignores_padding() -> None:
    chunk, other = (torch.randn(2, 3, 2, dtype=torch.float64).mul(0.1).requires_grad_() for _ in range(2))
    is_pad = torch.tensor([[False, False, True], [True, True, True]])

    def hinge(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return contrastive_hinge(a, b, torch.ones(2, dtype=torch.float64), is_pad, 0.5)

    assert torch.autograd.gradcheck(hinge, (chunk, other))
    gradient = torch.autograd.grad(hinge(chunk, other), chunk)[0]
    assert torch.equal(gradient[0, :2].sign(), (other - chunk)[0, :2].sign())
    assert not gradient[0, 2].any()
    assert not gradient[1].any()


def test_a_counterfactual_joins_the_loss_with_its_weight(make_config: MakeConfig) -> None:
    batch = Batch(action=torch.zeros(2, 5, 4), action_is_pad=torch.zeros(2, 5, dtype=torch.bool))
    output = ACTOutput(action_hat=torch.full((2, 5, 4), 0.5))
    other = Counterfactual(action_hat=torch.full((2, 5, 4), 0.75), distance=torch.full((2,), 2.0))
    config = make_config(contrastive_weight=0.2, contrastive_margin=1.0)
    terms = act_loss(output, batch, config, counterfactual=other).terms()
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {"loss": 0.5 + 0.2 * 0.75, "l1": 0.5, "contrastive": 0.75}
    )


def test_the_configured_reduction_is_used(make_config: MakeConfig) -> None:
    is_pad = torch.arange(5).expand(2, 5) >= 1
    batch = Batch(action=torch.zeros(2, 5, 4), action_is_pad=is_pad)
    output = ACTOutput(action_hat=torch.ones(2, 5, 4))
    assert act_loss(output, batch, make_config()).l1.item() == pytest.approx(1.0)
    assert act_loss(output, batch, make_config(reduction="padded_mean")).l1.item() == pytest.approx(0.2)


def test_a_loss_without_targets_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match="action and action_is_pad"):
        act_loss(ACTOutput(action_hat=torch.zeros(1, 5, 4)), Batch(state=torch.zeros(1, 3)), make_config())


def test_the_whole_loss_and_its_gradient_ignore_what_stands_under_the_padding(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    config = make_config()
    model = ACT(config, features)
    batch = make_batch(config, features)
    assert batch.action is not None
    assert batch.action_is_pad is not None
    garbage = torch.where(batch.action_is_pad[..., None], torch.tensor(77.0), batch.action)
    results = []
    for action in (batch.action, garbage):
        sample = replace(batch, action=action)
        output = model(sample, z="posterior", generator=torch.Generator().manual_seed(0))
        loss = act_loss(output, sample, config).loss
        results.append((loss, torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])))
    assert torch.equal(results[0][0], results[1][0])
    for before, after in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(before, after)


def test_the_whole_losss_gradient_equals_finite_differences(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    config = make_config(feedforward_activation="gelu", kl_weight=0.7)
    model = ACT(config, features).double()
    batch = make_batch(config, features).map(lambda x: x.double() if x.is_floating_point() else x)

    def loss() -> torch.Tensor:
        output = model(batch, z="posterior", generator=torch.Generator().manual_seed(0))
        return act_loss(output, batch, config).loss

    loss().backward()
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        with torch.no_grad():
            values = []
            for step in (1e-6, -1e-6):
                parameter.add_(direction, alpha=step)
                values.append(loss().item())
                parameter.add_(direction, alpha=-step)
        expected = (values[0] - values[1]) / 2e-6
        found = (parameter.grad * direction).sum().item()
        # Rounding costs 1e-9; some of the backbone's thousands of ReLUs change sides within the step, which costs more.
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), name
