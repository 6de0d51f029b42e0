"""The network: normalised tensors in, tensors out."""
