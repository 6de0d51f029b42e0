"""The auxiliary head, and why it must not read the coordinate token's own output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.model.act import ACT
from foreact.model.auxiliary import CueHead, satisfied_for_free
from foreact.model.losses import act_loss
from foreact.records import Batch, Camera, Features

MakeConfig = Callable[..., PolicyConfig]

N_STEPS = 160


def test_the_head_sees_a_set_of_tokens_and_not_their_order() -> None:
    head = CueHead(16, 2)
    tokens = torch.randn(3, 7, 16)
    assert head(tokens).shape == (3, 2)
    torch.testing.assert_close(head(tokens.flip(1)), head(tokens))


def test_equal_tokens_are_pooled_to_themselves() -> None:
    head = CueHead(16, 2)
    token = torch.randn(3, 1, 16)
    torch.testing.assert_close(head(token.expand(-1, 7, -1)), head.mlp(token[:, 0]))


FEATURES = Features(
    action_names=("a", "b"),
    state_names=("joint",),
    environment_names=("x", "y"),
    cameras=(Camera(name="top", height=32, width=32),),
)


def samples(n: int, generator: torch.Generator, answer: float = 0.0) -> Batch:
    """Samples whose pictures have nothing to do with the coordinates.

    `answer` says how much the actions have; by which function is hard to learn, so that a network begins without.
    """
    state = torch.randn(n, 1, generator=generator)
    time = torch.linspace(0, 1, 5)
    images = {"top": torch.randn(n, 3, 32, 32, generator=generator)}
    cue = torch.randn(n, 2, generator=generator)
    action = torch.stack([torch.sin(state + time), torch.cos(state - time)], dim=-1)
    return Batch(
        images=images,
        state=state,
        environment_state=cue,
        action=action + answer * torch.sin(4 * cue)[:, None],
        action_is_pad=torch.zeros(n, 5, dtype=torch.bool),
    )


@dataclass(frozen=True)
class Trained:
    l1: float
    auxiliary: float
    """On samples never seen; of coordinates from N(0, 1), a guess of 0 has 1."""
    chunk: float
    """Mean change of the chunk when the coordinates are another sample's."""
    image_tokens: float
    """The same of the encoder's outputs at the image tokens."""
    decoder: float
    """The same of the decoder's outputs."""


def train(config: PolicyConfig, *, steps: int = N_STEPS, answer: float = 0.0) -> Trained:
    torch.manual_seed(1)
    model = ACT(config, FEATURES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        batch = samples(32, generator, answer)
        loss = act_loss(model(batch), batch, config).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    unseen = samples(256, torch.Generator().manual_seed(9), answer)
    assert unseen.environment_state is not None
    swapped = replace(unseen, environment_state=unseen.environment_state.roll(1, 0))
    seen: dict[str, list[Tensor]] = {"encoder": [], "decoder": []}
    for name, outputs in seen.items():
        model.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, outputs=outputs: outputs.append(output)
        )
    with torch.no_grad():
        output, other = model(unseen, recover_cue=True), model(swapped)
    terms = act_loss(output, unseen, config).terms()

    def change(before: Tensor, after: Tensor) -> float:
        return (after - before).abs().mean().item()

    cells = model.image_tokens
    return Trained(
        l1=terms["l1"].item(),
        auxiliary=terms["auxiliary"].item() if "auxiliary" in terms else float("nan"),
        chunk=change(output.action_hat, other.action_hat),
        image_tokens=change(seen["encoder"][0][:, cells], seen["encoder"][1][:, cells]),
        decoder=change(*seen["decoder"]),
    )


@pytest.mark.slow
def test_recovered_from_its_own_token_the_coordinate_costs_nothing_and_reaches_nothing(
    make_config: MakeConfig,
) -> None:
    def trained(**changes: Any) -> Trained:
        return train(make_config(use_vae=False, **changes))

    without = trained(conditioning=("token",))
    free, image, decoder = (
        trained(conditioning=("token", "auxiliary"), auxiliary_from=source)
        for source in ("cue_token", "image", "decoder")
    )
    for policy in (without, free, image, decoder):
        assert policy.l1 < 0.1  # guessing zero has 0.6

    # The free variant's loss falls to nothing, and the chunk is as blind to the coordinate as without it.
    assert free.auxiliary < 0.02
    assert free.chunk < 1.5 * without.chunk
    assert free.decoder < 1.5 * without.decoder

    # Recovered from elsewhere, the coordinate has to get there.
    assert image.auxiliary < 0.1
    assert image.image_tokens > 4 * without.image_tokens
    assert image.image_tokens > 2.5 * free.image_tokens
    assert decoder.auxiliary < 0.3
    assert decoder.decoder > 4 * without.decoder
    assert decoder.decoder > 4 * free.decoder


@pytest.mark.slow
def test_recovered_from_elsewhere_the_coordinate_reaches_the_chunk_sooner(make_config: MakeConfig) -> None:
    """Where the actions depend on it, early in training: the networks that have to bring it along answer to it."""

    def trained(**changes: Any) -> Trained:
        return train(make_config(use_vae=False, auxiliary_weight=1.0, **changes), steps=80, answer=0.3)

    without = trained(conditioning=("token",))
    free, image, decoder = (
        trained(conditioning=("token", "auxiliary"), auxiliary_from=source)
        for source in ("cue_token", "image", "decoder")
    )
    for policy in (free, image, decoder):
        assert policy.auxiliary < 0.04
    assert free.chunk < 1.2 * without.chunk
    assert image.chunk > 1.4 * max(free.chunk, without.chunk)
    assert decoder.chunk > 2 * max(free.chunk, without.chunk)


@pytest.mark.parametrize(
    ("ways", "source", "is_free"),
    [
        (("token",), "cue_token", True),
        (("token",), "image", False),
        (("token",), "decoder", False),
        (("strong",), "cue_token", True),
        (("strong",), "image", True),
        (("strong",), "decoder", False),
        (("film",), "image", True),
        (("film",), "decoder", False),
        (("token", "heatmap"), "image", True),
        (("token", "heatmap"), "decoder", False),
    ],
)
def test_it_costs_nothing_where_the_residual_path_alone_hands_over_the_coordinate(
    make_config: MakeConfig, ways: tuple[Any, ...], source: Any, is_free: bool
) -> None:
    """No attention moves anything here: what the head is given holds the coordinate, or knows nothing of it at all."""
    config = make_config(use_vae=False, conditioning=(*ways, "auxiliary"), auxiliary_from=source)
    (camera,) = FEATURES.cameras
    has_map = "heatmap" in ways
    model = ACT(config, replace(FEATURES, cameras=(replace(camera, cue_map=has_map),)))
    for name, parameter in model.named_parameters():
        if "attention.out_proj" in name:
            nn.init.zeros_(parameter)
        elif name.startswith(("films.", "backbones.")):  # trained: at the start these add nothing
            nn.init.normal_(parameter)
    given: list[Tensor] = []
    assert model.cue_head is not None
    model.cue_head.register_forward_pre_hook(lambda _module, args: given.append(args[0]))
    batch = samples(8, torch.Generator().manual_seed(3))
    assert batch.environment_state is not None
    for cue in (batch.environment_state, batch.environment_state.roll(1, 0)):
        drawn = cue[:, :1, None, None].expand(-1, 1, 32, 32)
        top = torch.cat([batch.images["top"], drawn], dim=1) if has_map else batch.images["top"]
        model(replace(batch, environment_state=cue, images={"top": top}))
    assert torch.equal(*given) is not is_free
    assert (satisfied_for_free(config) is not None) is is_free
