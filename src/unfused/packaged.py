"""Where the configuration that came with the package is. Kedro is not imported for it."""

from pathlib import Path


def packaged_configuration() -> Path:
    """Return the folder with ``base``, ``logging.yml`` and the other environments.

    It is inside an installed package; in a repository, from which the package may be imported too,
    it stands beside ``src/``.
    """
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"
