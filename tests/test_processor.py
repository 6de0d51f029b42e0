"""What the processor is, against PyTorch's own look at it and against texts of known processors."""

from pathlib import Path

import pytest
import torch

from foreact import processor

EPYC = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse4_2 avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE_RAPIDS = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512f amx_bf16 amx_tile amx_int8\n"
SKYLAKE = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    ("text", "is_amd", "has_bf16_units"),
    [(EPYC, True, True), (SAPPHIRE_RAPIDS, False, True), (SKYLAKE, False, False), (ARM, False, False)],
    ids=["AMD Zen 4", "Intel Sapphire Rapids", "Intel Skylake", "ARM"],
)
def test_known_processors(
    text: str, is_amd: bool, has_bf16_units: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", path)
    assert (processor.is_amd(), processor.has_bf16_units()) == (is_amd, has_bf16_units)


def test_nothing_is_claimed_where_there_is_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "absent")
    assert (processor.is_amd(), processor.has_bf16_units()) == (False, False)


@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this PyTorch cannot tell")
def test_this_one_is_what_pytorch_takes_it_for() -> None:
    known = torch.cpu.get_capabilities()
    if known.get("architecture") != "x86_64":
        pytest.skip("only x86's units are known")
    assert processor.has_bf16_units() == (known["avx512_bf16"] or known["amx_bf16"])
