"""What an answer looks like: a verdict in words, its evidence in numbers, and what helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Severity = Literal["fault", "warning", "fine", "note"]
"""Worst first. `note` judges nothing: attention and gradients only go with what interventions have shown."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer to one question."""

    question: str
    """The question's short name, also that of its picture: `swap`, `sensitivity`, ..."""
    title: str
    """The question in words."""
    verdict: str
    """One sentence with the evidence in it: `uses the coordinate: no: swap test 3 of 200`."""
    severity: Severity
    remedy: str = ""
    """Which setting or command helps; empty where nothing is wrong."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Plain values for JSON and pictures, with the units in the names."""


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return the findings by severity; among equals the order stays."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
