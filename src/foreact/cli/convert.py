"""`foreact convert SRC [SRC ...] OUT`: any data set, or several as one, as a LeRobotDataset v3.0."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse
from foreact.config import SourceConfig
from foreact.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Write a data set of any format that is read, or several merged, as a LeRobotDataset v3.0.

    The last path is the folder to write. The same command continues an interrupted conversion. Sources are never
    changed.
    """

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SRC [SRC ...] OUT")]
    """Data sets, folders or files, and the folder of the new one; several sources must agree in rate, names, picture
    sizes and units."""
    episodes: str = ""
    """Which ones: indices and ranges first:after, such as 0:50,60; all where it is not given. With several sources they
    count through them, from 0."""
    trim_idle: bool = False
    """Leave out the frames at the start and end of each episode in which nothing moves, all but the last 0.2 s."""
    rename: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Another name for a camera or a dimension of state, coordinates or action: old=new; may be given several times."""
    depth: bool = True
    """Convert the depth of RGB-D cameras too."""
    calibration: Path | None = None
    """Where the cameras stand and which arm it is (YAML, see foreact calibrate), for the new data set's metadata; names
    are those after --rename."""
    coordinates: Path | None = None
    """Coordinates for data without: a CSV file with a heading episode,x,y (or other names, or more) and a line an
    episode. With several sources episodes count through them, from 0."""
    skip_bad: bool = False
    """Go on without damaged episodes; each is named with what is wrong."""
    workers: int | None = None
    """Converting processes; one a core where it is not given."""
    source: SourceConfig = field(default_factory=SourceConfig)


def run(arguments: list[str]) -> int:
    """Parse, convert, and return 0, or 130 where Ctrl-C ended it."""
    options = parse(ConvertOptions, arguments, command="convert")
    if len(options.paths) < 2:
        given = f"only '{options.paths[0]}'" if options.paths else "no path"
        raise ConfigError(f"{given} was given: type foreact convert SRC [SRC ...] OUT, the folder to write last")
    *sources, out = options.paths

    from foreact.data.convert import ConvertConfig, convert, summary

    config = ConvertConfig(
        episodes=options.episodes,
        trim_idle=options.trim_idle,
        rename=_names(options.rename),
        depth=options.depth,
        calibration=options.calibration,
        coordinates=options.coordinates,
        source=options.source,
    )
    result = convert(sources, out, config, skip_bad=options.skip_bad, workers=options.workers)
    if not result.finished:
        return 130
    print(summary(result))
    return 0


def _names(pairs: tuple[str, ...]) -> dict[str, str]:
    """New names by old ones."""
    names: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise ConfigError(f"--rename '{pair}' is not of the form old=new")
        if old in names:
            raise ConfigError(f"--rename names '{old}' twice")
        names[old] = new
    return names
