from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "adapters"))
from searched import IMPORTANCES, policy_of, trials_of

pytest.importorskip("plotly")
from launcher.adapters.study.charts import report_html

pytestmark = pytest.mark.search
CHARTS = ("history", "parallel", "importance", "intermediate", "slices", "timeline")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    return found


def opened(chromium: str, folder: Path, page: bytes) -> tuple[str, str]:
    """What a browser without a network makes of a page, and what it says on its console."""
    (folder / "report.html").write_bytes(page)
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    done = subprocess.run(
        (
            chromium, "--headless", *root, "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}/profile",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--virtual-time-budget=10000",
            "--window-size=1200,3000", "--dump-dom", f"file://{folder}/report.html",
        ),
        capture_output=True,
        timeout=100,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return done.stdout.decode(), "\n".join(console)


def drawn(dom: str) -> dict[str, int]:
    """How many pictures stand in the place of each chart."""
    main = dom[dom.index("<main>") : dom.index("</main>")]
    sections = re.split(r"<section\b", main)
    places = {name: next(each for each in sections if f'id="{name}"' in each) for name in CHARTS}
    return {name: text.count("<svg") for name, text in places.items()}


def test_every_chart_is_drawn_without_a_network(chromium: str, tmp_path: Path) -> None:
    policy = policy_of()
    dom, console = opened(chromium, tmp_path, report_html(policy, trials_of(policy, 20), IMPORTANCES, "a search"))
    assert console == ""
    assert all(count >= 1 for count in drawn(dom).values())
    words = "".join(re.findall(r"<text\b[^>]*>([^<]*)", dom))
    assert "learning_rate" in words
    assert "accuracy" in words


def test_hostile_names_and_values_stay_text(chromium: str, tmp_path: Path) -> None:
    run = "document.documentElement.setAttribute('data-broken', '1')"
    policy = policy_of(activations=(f"</script><script>{run}</script>", f'<img src=x onerror="{run}">', "<b>x</b>"))
    page = report_html(policy, trials_of(policy, 20), IMPORTANCES, f"</title><script>{run}</script>")
    dom, console = opened(chromium, tmp_path, page)
    assert console == ""
    assert "data-broken" not in dom[: dom.index("<head>")]
    assert "<img" not in dom[dom.index("<main>") : dom.index("</main>")]
    assert all(count >= 1 for count in drawn(dom).values())
