"""Tests of foreact.diagnose, with the policies of known answers that they share."""
