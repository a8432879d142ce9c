"""Installed packages that bring a configuration folder, which stands beside our own.

One says so by an entry point of the group `mnist_lab.conf`, `NAME = "PACKAGE.FOLDER"`. None of them
is imported here, nor anything heavy.
"""

from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from mnist_lab.settings.signatures import ConfigError

GROUP = "mnist_lab.conf"

_package = Path(__file__).resolve().parents[1]
CONF = _package / "conf" if (_package / "conf").is_dir() else _package.parent / "conf"
"""Our own folder: inside an installed wheel, beside the package in a checkout."""


@cache
def folders() -> dict[str, Path]:
    """The packages' configuration folders, by the packages' names.

    Raises:
        ConfigError: one that a package names isn't there, or has a file that there is already.
    """
    found: dict[str, Path] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.value):
        package, *below = point.value.split(".")
        spec = find_spec(package)
        places = spec.submodule_search_locations if spec is not None else None
        inside = [path for place in places or () if (path := Path(place, *below)).is_dir()]
        if not inside:
            raise ConfigError(
                f"{point.value}: the configuration folder that an installed package names "
                f"(entry point {point.name} of {GROUP}) is not there; uninstall or mend "
                f"{point.dist.name if point.dist else package}"
            )
        for earlier in (CONF, *found.values()):
            for path in inside[0].rglob("*.yaml"):
                if (earlier / (file := path.relative_to(inside[0]))).exists():
                    raise ConfigError(f"{path}: there is a {file} in {earlier} already")
        found[package] = inside[0]
    return found


def files(group: str) -> dict[str, Path]:
    """The YAML files of a group by its choices, ours first; those that others build on left out."""
    return {
        path.stem: path
        for folder in (CONF, *folders().values())
        for path in sorted((folder / group).glob("*.yaml"))
        if not path.stem.startswith("_")
    }


class _Beside(SearchPathPlugin):
    """Has Hydra look into these folders after our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for package, folder in folders().items():
            search_path.append(provider=package, path=f"file://{folder}")


def let_hydra_find_them() -> None:
    """In this process, from now on."""
    Plugins.instance().register(_Beside)
