"""The smallest ACT that has every part: a recipe that many rooms' tests share."""

from foreact.config import PolicyConfig

TINY = PolicyConfig(
    chunk_size=6,
    n_action_steps=3,
    vision_backbone="cnn",
    pretrained_backbone_weights=None,
    backbone_norm="group",
    dim_model=16,
    n_heads=2,
    dim_feedforward=32,
    n_encoder_layers=1,
    n_decoder_layers=1,
    n_vae_encoder_layers=1,
    latent_dim=4,
)
