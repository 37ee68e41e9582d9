"""The commands of docs/howto-go-live.md run as they stand, in order, against `venue serve`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
GUIDE = ROOT / "docs" / "howto-go-live.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def free_ports() -> int:
    """The first of four that are free."""
    for base in range(23_000 + os.getpid() % 2000 * 4, 60_000, 4):
        try:
            for port in range(base, base + 4):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no four ports are free")


@pytest.mark.usefixtures("shows_keys")
def test_the_guide_to_live_trading_runs_as_it_stands(tmp_path):
    """Only the port and the seconds are others: a test has neither 8600 for itself nor minutes."""
    port = free_ports()
    shim = tmp_path / "bin" / "kapitaalbot"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m adapters.cli.main "$@"\n')
    shim.chmod(0o755)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    script = "\n".join(blocks(GUIDE))
    assert script.count("run live") == 1
    script = script.replace("--for 60", "--for 12").replace("sleep 1", "sleep 0.3")
    script = script.replace("venue serve", f"venue serve --port {port} --for 400")
    script = f"set -eux\ntrap 'kill %1 2>/dev/null || true' EXIT\n{script}"
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("KAPITAALBOT")
    }
    environ |= {
        "PATH": f"{shim.parent}{os.pathsep}{environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "KAPITAALBOT__LIVE__LOCAL_PORT": str(port),
        "KAPITAALBOT_CACHE_DIR": os.environ.get(
            "KAPITAALBOT_CACHE_DIR", str(Path.home() / ".cache" / "kapitaalbot")
        ),
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True,
        timeout=420,
    )  # fmt: skip

    (tmp_path / "venue.txt").unlink()  # it shows the demo key
    said = done.stdout + done.stderr
    assert 0 == done.returncode, said[-4000:]
    assert 2 == said.count("the same\n"), said[-4000:]  # verdicts of paper and live
    assert "armed." in done.stderr
