"""`pgguard init`: what it writes can be used as it is, and what is there stays."""

from pathlib import Path

from click.testing import CliRunner

from pgguard.cli.main import main
from pgguard.directory.static import StaticSource
from pgguard.runtime.config import load_config


def test_what_it_writes_loads(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["init", str(tmp_path / "new")])
    assert ran.exit_code == 0, ran.output
    config = load_config(tmp_path / "new" / "pgguard.toml")
    assert config.rules.path == tmp_path / "new" / "rules"
    assert config.directory.path is not None
    assert StaticSource(config.directory.path).fetch(["alice"])["alice"].groups == ("analysts",)
    checked = CliRunner().invoke(main, ["check", str(config.rules.path), "--strict"])
    assert checked.output.startswith("2 rules load")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pgguard.toml").write_text("mine")
    ran = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert ran.exit_code == 1
    assert "is there already" in ran.output
    assert (tmp_path / "pgguard.toml").read_text() == "mine"
    assert not (tmp_path / "rules").exists()
