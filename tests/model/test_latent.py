from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from foreact.config import PolicyConfig
from foreact.model.latent import VAEEncoder, sample_latent

MakeConfig = Callable[..., PolicyConfig]


def sequence_length(encoder: VAEEncoder, *inputs: torch.Tensor | None) -> int:
    lengths: list[int] = []
    hook = encoder.encoder.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    encoder(*inputs)
    hook.remove()
    return lengths[0]


def test_the_sequence_is_cls_state_and_the_actions(make_config: MakeConfig) -> None:
    action, is_pad = torch.randn(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
    assert sequence_length(VAEEncoder(make_config(), 3, 4), torch.randn(2, 3), action, is_pad) == 7
    assert sequence_length(VAEEncoder(make_config(), 0, 4), None, action, is_pad) == 6


def test_values_of_padded_actions_change_nothing(make_config: MakeConfig) -> None:
    encoder = VAEEncoder(make_config(), 3, 4)
    state, action = torch.randn(2, 3), torch.randn(2, 5, 4)
    is_pad = torch.arange(5).expand(2, 5) >= 3
    before = encoder(state, action, is_pad)
    action[:, 3:] = 1e3 * torch.randn(2, 2, 4)
    after = encoder(state, action, is_pad)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_a_padded_chunk_gives_what_a_network_for_shorter_chunks_gives(make_config: MakeConfig) -> None:
    long, short = VAEEncoder(make_config(), 3, 4), VAEEncoder(make_config(chunk_size=3, n_action_steps=1), 3, 4)
    short.load_state_dict(long.state_dict())
    state, action = torch.randn(2, 3), torch.randn(2, 5, 4)
    padded = long(state, action, torch.arange(5).expand(2, 5) >= 3)
    cut = short(state, action[:, :3], torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(padded, cut)


def test_real_actions_their_order_and_the_state_all_matter(make_config: MakeConfig) -> None:
    encoder = VAEEncoder(make_config(), 3, 4)
    state, action = torch.randn(1, 3), torch.randn(1, 5, 4)
    is_pad = torch.zeros(1, 5, dtype=torch.bool)
    mu, _ = encoder(state, action, is_pad)
    for other_state, other_action in ((state, action + 1), (state, action.flip(1)), (state + 1, action)):
        assert not torch.allclose(encoder(other_state, other_action, is_pad)[0], mu, atol=1e-3)


def test_cls_and_state_are_never_masked(make_config: MakeConfig) -> None:
    encoder = VAEEncoder(make_config(), 3, 4)
    action, everything_padded = torch.randn(1, 5, 4), torch.ones(1, 5, dtype=torch.bool)
    mu = encoder(torch.zeros(1, 3), action, everything_padded)[0]
    other = encoder(torch.ones(1, 3), action, everything_padded)[0]
    assert torch.isfinite(mu).all()
    assert not torch.allclose(mu, other, atol=1e-3)


def test_mu_comes_before_log_var(make_config: MakeConfig) -> None:
    encoder = VAEEncoder(make_config(), 3, 4)
    nn.init.zeros_(encoder.latent_head.weight)
    encoder.latent_head.bias.data = torch.cat([torch.full((6,), 2.0), torch.full((6,), -3.0)])
    mu, log_var = encoder(torch.zeros(1, 3), torch.zeros(1, 5, 4), torch.zeros(1, 5, dtype=torch.bool))
    assert mu.tolist() == [[2.0] * 6]
    assert log_var.tolist() == [[-3.0] * 6]


def test_samples_have_the_posteriors_mean_and_deviation() -> None:
    n = 200_000
    mu, log_var = torch.tensor([1.5, -0.5]), torch.tensor([0.0, -2.0])
    z = sample_latent(mu.expand(n, 2), log_var.expand(n, 2), torch.Generator().manual_seed(0))
    # Standard errors are sigma / sqrt(n) = 0.0022 of the mean and sigma / sqrt(2 n) = 0.0016 of the deviation.
    torch.testing.assert_close(z.mean(0), mu, rtol=0, atol=0.01)
    torch.testing.assert_close(z.std(0), (log_var / 2).exp(), rtol=0, atol=0.008)


def test_noise_comes_from_the_generator_alone() -> None:
    mu, log_var = torch.zeros(4, 3), torch.zeros(4, 3)
    first = sample_latent(mu, log_var, torch.Generator().manual_seed(5))
    torch.manual_seed(123)
    assert torch.equal(first, sample_latent(mu, log_var, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, sample_latent(mu, log_var, torch.Generator().manual_seed(6)))


def test_the_gradient_of_a_sample_is_that_of_the_reparameterisation() -> None:
    mu = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    log_var = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def draw(mu: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
        return sample_latent(mu, log_var, torch.Generator().manual_seed(7))

    assert torch.autograd.gradcheck(draw, (mu, log_var))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_every_weight_of_the_posterior_gets_a_gradient(make_config: MakeConfig, pre_norm: bool) -> None:
    encoder = VAEEncoder(make_config(pre_norm=pre_norm), 3, 4)
    mu, log_var = encoder(torch.randn(2, 3), torch.randn(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool))
    (mu.square().sum() + log_var.square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name
