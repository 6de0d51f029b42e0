"""Raw observation to raw action, and the checkpoint directory."""
