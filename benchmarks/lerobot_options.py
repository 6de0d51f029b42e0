"""What our configuration and LeRobot's have in common; needs neither to be installed."""

SAME_NAME = (
    "chunk_size",
    "n_action_steps",
    "dim_model",
    "n_heads",
    "dim_feedforward",
    "feedforward_activation",
    "n_encoder_layers",
    "n_decoder_layers",
    "pre_norm",
    "dropout",
    "use_vae",
    "latent_dim",
    "n_vae_encoder_layers",
    "kl_weight",
)
"""Options of a policy that LeRobot's ACT knows by the same name, the backbone apart."""
