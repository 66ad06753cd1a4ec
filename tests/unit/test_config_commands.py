"""Does ``dsrlb check`` tell what is wrong, and do commands take a file but not flags beside it?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from config_lines import BACKEND_LINES, SERVICE_LINES, WHOLE

from dsrlb.cli import cli
from dsrlb.config import Config, located
from dsrlb.errors import ConfigError, UsageError


def check(path: Path | str, *more: str) -> Result:
    return CliRunner().invoke(cli, ["check", *more, str(path)])


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_check_says_that_a_file_is_right_and_what_it_could_not_look_at(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", WHOLE)
    done = check(path, "--no-host")
    assert done.exit_code == 0
    assert f"{path}: 2 services, 3 backends: no problem found" in done.output
    assert "not checked: this host's interfaces" in done.output and "another machine has a VIP" in done.output


def test_check_prints_each_problem_on_a_line_and_exits_3(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", "bogus = 1\n" + SERVICE_LINES)
    done = check(path)
    assert done.exit_code == 3
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [f"{path}:1", f"{path}:2"]


def test_check_of_no_file_exits_2() -> None:
    assert isinstance(check("no/such.toml").exception, UsageError)


def test_check_looks_at_the_host_as_root_or_when_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)

    def survey(config: Config) -> None:
        raise ConfigError(*located(config, [(config.services[0].backends[0].address, "off-link")]))

    monkeypatch.setattr(sys.modules["dsrlb.cli.check"], "survey", survey)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert check(path).exit_code == 0
    assert check(path, "--host").stdout == f"{path}:5: off-link\n"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert check(path).exit_code == 3
    assert check(path, "--no-host").exit_code == 0


@pytest.mark.parametrize(
    "flag", [["--vip", "198.18.1.100:80"], ["--mode", "l2dsr"], ["--snat"], ["--scheduler", "rr"]]
)
def test_a_file_and_flags_together_are_refused(flag: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)
    done = CliRunner().invoke(cli, ["serve", "--config", str(path), *flag])
    assert done.exit_code == 2 and f"--config and {flag[0]} together" in done.output


def test_a_file_and_an_interface_together_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)
    done = CliRunner().invoke(cli, ["serve", "--config", str(path), "--interface", "eth0"])
    assert done.exit_code == 2 and "--config and --interface together" in done.output


def test_a_replay_takes_a_file_too(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)
    done = CliRunner().invoke(cli, ["replay", "--config", str(path), "no.pcap", "out.pcap"])
    assert isinstance(done.exception, ConfigError) and "198.18.1.11: no MAC" in str(done.exception)
