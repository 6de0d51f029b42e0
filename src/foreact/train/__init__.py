"""A data set and a recipe to a checkpoint: the Lightning module, optimiser and run."""
