"""Packages that a real interpreter cannot find."""


def hiding(*packages: str) -> str:
    """Code that makes them, and all below them, modules that are not installed."""
    return (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {packages!r}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
