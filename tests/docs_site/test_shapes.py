"""The shapes on the page are those that were recorded while the code ran; a false one is refused by name."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from explain.recording import Recording
from explain.shapes import ShapeError, numbers, parse_stated
from explain.source import find_block
from foreact.config import PolicyConfig
from foreact.model.losses import kl_divergence
from foreact.model.transformer import Decoder, Encoder
from foreact_runtime.temporal_ensemble import TemporalEnsemble
from pages import ROOT
from tiny import TINY

KL = "foreact.model.losses.kl_divergence"
SYMBOLS = {"so101": {"Z": 4, "D": 16}, "r1pro": {"Z": 4, "D": 16}}


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Of a KL of three samples, and of a transformer of seven tokens and five queries of two."""

    class Both(nn.Module):
        def __init__(self, config: PolicyConfig) -> None:
            super().__init__()
            self.encoder = Encoder(config, 1)
            self.decoder = Decoder(config)

        def forward(self) -> torch.Tensor:
            position = torch.zeros(7, 16)
            memory = self.encoder(torch.zeros(2, 7, 16), position)
            return self.decoder(torch.zeros(5, 16), memory, position)

    network = Both(TINY)
    recording = Recording(network=network)
    recording.of(lambda: kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)), batch=3)
    recording.of(network, batch=2)
    return recording


def check(recording: Recording, name: str, line: str) -> dict[str, str]:
    return numbers(find_block(name), parse_stated(line), SYMBOLS, lambda preset: recording)


def test_a_recording_has_the_shapes_of_variables_attributes_and_results(recording: Recording) -> None:
    (call,) = recording.calls["foreact.model.losses", "kl_divergence"]
    assert call.shapes == {"mu": (3, 4), "log_var": (3, 4), "return": ()}
    ensemble = TemporalEnsemble(5, 0.01)
    recorded = Recording()
    recorded.of(lambda: ensemble.add(np.zeros((5, 2))))
    (added,) = recorded.calls["foreact_runtime.temporal_ensemble", "TemporalEnsemble.add"]
    assert added.shapes["self._mean"] == (5, 2)
    assert added.shapes["self._share"] == (5,)


def test_recording_ends_with_the_call(recording: Recording) -> None:
    kl_divergence(torch.zeros(1, 1), torch.zeros(1, 1))
    assert len(recording.calls["foreact.model.losses", "kl_divergence"]) == 1
    assert sys.getprofile() is None


def test_a_true_shape_is_shown_in_numbers(recording: Recording) -> None:
    assert check(recording, KL, "mu (B, Z)") == {"so101": "(B, 4)", "r1pro": "(B, 4)"}
    assert check(recording, KL, "return ()") == {"so101": "a number", "r1pro": "a number"}
    assert check(recording, KL, "r1pro: mu (B, 2 * Z / 2)") == {"r1pro": "(B, 4)"}


def test_a_module_is_named_where_several_have_the_method(recording: Recording) -> None:
    attend = "foreact.model.transformer.Attention.forward"
    assert check(recording, attend, "encoder.layers.0.self_attention: query (B, 7, D)")["so101"] == "(B, 7, 16)"
    assert check(recording, attend, "decoder.layers.0.cross_attention: key (B, 7, D)")["so101"] == "(B, 7, 16)"
    with pytest.raises(ShapeError, match=r"shape \(2, 5, 16\)"):
        check(recording, attend, "query (B, 7, D)")  # the decoder's has 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mu (Z, B)", f"'{KL}' with preset so101: 'mu' has shape (3, 4), not (Z, B) = (4, 3)"),
        ("mu (B, D)", f"'{KL}' with preset so101: 'mu' has shape (3, 4), not (B, D) = (3, 16)"),
        ("sigma (B, Z)", f"'{KL}' with preset so101: there is no tensor 'sigma'; there are mu, log_var, return"),
        ("mu (B, Q)", "'Q' is not made of the page's symbols"),
        ("encoder: mu (B, Z)", "'kl_divergence' of 'encoder' was not called"),
        ("mu B Z", "'mu B Z' is no shape"),
    ],
)
def test_a_false_shape_is_refused_with_the_blocks_name(recording: Recording, line: str, message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        check(recording, KL, line)


def test_a_function_that_was_not_called_has_no_shapes(recording: Recording) -> None:
    with pytest.raises(ShapeError, match="'masked_l1' was not called"):
        check(recording, "foreact.model.losses.masked_l1", "error (B, 1)")


PAGE = """\
# A page

:::{symbols}
L = 603, 149: tokens
D = 512, 512: width
W = 256, 256: wrong
:::

:::{block} foreact.model.act.ACT.forward[strong .. memory]
---
shapes: |
  tokens (B, L, D)
---
True.
:::

:::{block} foreact.model.act.ACT.forward[strong .. memory]
---
shapes: |
  tokens (B, L, W)
---
False.
:::

:::{block} foreact.model.act.ACT.backward

Gone.
:::
"""


@pytest.mark.slow
def test_a_page_with_a_false_shape_and_a_block_that_is_gone_is_not_built(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text(PAGE)
    (source / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'docs/_ext')!r})\n"
        "extensions = ['myst_parser', 'explain.walkthrough']\nmyst_enable_extensions = ['colon_fence']\n"
    )
    words = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", "--keep-going", str(source)]
    done = subprocess.run([*words, str(tmp_path / "site")], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    block = "foreact.model.act.ACT.forward[strong .. memory]"
    assert (
        f"'{block}' with preset so101: 'tokens' has shape (2, 603, 512), not (B, L, W) = (2, 603, 256)" in done.stderr
    )
    assert "'foreact.model.act.ACT.backward' is gone: 'foreact.model.act.ACT' has no 'backward'" in done.stderr
    assert done.stderr.count("WARNING") == 2
    page = (tmp_path / "site/index.html").read_text()
    assert "(B, 603, 512)" in page
    assert "(B, 149, 512)" in page
