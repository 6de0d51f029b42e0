"""Tests of foreact.data, with the recordings that they share."""
