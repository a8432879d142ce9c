"""Configuration folders that installed packages bring."""

import importlib

import pytest

from mnist_lab.settings import packages
from mnist_lab.settings.signatures import ConfigError


@pytest.fixture
def install(tmp_path, monkeypatch):
    """`install(package, folder)`: with an entry point that names the package's folder."""
    monkeypatch.syspath_prepend(tmp_path)
    packages.folders.cache_clear()

    def write(package, folder="conf"):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[mnist_lab.conf]\n{package} = {package}.{folder}\n"
        )
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')")
        importlib.invalidate_caches()
        return tmp_path / package

    yield write
    packages.folders.cache_clear()


def test_a_package_is_found_without_being_imported(install):
    home = install("theirs")
    (home / "conf/model").mkdir(parents=True)
    (home / "conf/model/net.yaml").write_text("_target_: theirs.Net\n")
    (home / "conf/model/_base.yaml").write_text("width: 3\n")
    assert packages.folders() == {"theirs": home / "conf"}
    files = packages.files("model")
    assert list(files)[-1] == "net"
    assert files["net"] == home / "conf/model/net.yaml"
    assert "lenet" in files
    assert not any(name.startswith("_") for name in files)


def test_what_is_not_there_or_there_twice_is_told_in_a_line(install):
    home = install("theirs")
    with pytest.raises(ConfigError, match=r"^theirs\.conf: the configuration folder .* theirs$"):
        packages.folders()
    (home / "conf/model").mkdir(parents=True)
    (home / "conf/model/lenet.yaml").write_text("_target_: theirs.Net\n")
    with pytest.raises(ConfigError, match=r"theirs/conf/model/lenet.yaml: there is a .* already$"):
        packages.folders()
