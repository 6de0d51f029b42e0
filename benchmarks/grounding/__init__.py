"""The study of coordinate conditioning: which policies go where they are told, on which data.

`variants.py` says what is compared; `python benchmarks/grounding list` what is done. Each cell of the study (data,
policy, seed) leaves one small JSON file under `benchmarks/results/grounding`, which makes the study resumable.
"""
