"""Make the screens of the docs from a real run: python docs/assets/make.py rows.csv

Needs Chromium: apt-get install chromium.
"""

import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import run  # noqa: E402
from pipeline import console  # noqa: E402
from pipeline.runs import load  # noqa: E402

STYLE = "margin:16px;background:{background};color:{foreground};font:15px/1.35 monospace"
PAGE = f'<meta charset="utf-8"><body style="{STYLE}"><pre style="font:inherit">{{code}}</pre>'


def main(data: Path) -> None:
    """Run the pipeline twice on a file of Covertype rows, the second time for the screens."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("There is no chromium here.")
    written = StringIO()
    terminal = Console(file=written, width=100, force_terminal=True, markup=False, highlight=False)
    console.progress_console = console.error_console = console.result_console = terminal
    with TemporaryDirectory() as folder:
        os.environ["COVERTYPE_RUNS_DIR"] = f"{folder}/runs"
        (Path(folder) / data.name).symlink_to(data)
        os.chdir(folder)
        run.main(["--identifier", "real", "--data", data.name, "--set", "max_iter=50"])
        written.truncate(0)
        run.main(["--identifier", "real", "--data", data.name])
        lines = left_on_screen(written.getvalue())
        recording = Console(file=StringIO(), record=True, width=100)
        recording.print(Text.from_ansi("\n".join((f"$ python run.py --identifier real --data {data.name}", *lines))))
        page = Path(folder, "terminal.html")
        page.write_text(recording.export_html(theme=MONOKAI, inline_styles=True, code_format=PAGE), "utf-8")
        shoot(chromium, page, "terminal", 940, 20 * len(lines) + 70)
        shoot(chromium, Path(load("real").report), "report", 1280, 2140)


def left_on_screen(written: str) -> list[str]:
    """Return the lines that stay on a terminal of what was written to it: a live table is drawn over itself."""
    lines = [""]
    for part in re.split(r"(\x1b\[1A|\x1b\[2K|\x1b\[\?25[lh]|\r|\n)", written.replace("\0", "")):
        if part == "\n":
            lines.append("")
        elif part == "\x1b[1A":
            lines.pop()
        elif part == "\x1b[2K":
            lines[-1] = ""
        elif not part.startswith(("\x1b[?25", "\r")):
            lines[-1] += part
    return lines


def shoot(chromium: str, page: Path, name: str, width: int, height: int) -> None:
    """Write what the browser shows of a page to a PNG beside this file."""
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
    flags += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    with TemporaryDirectory() as profile:
        place = (f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={HERE / name}.png")
        subprocess.run([chromium, *flags, *place, page.as_uri()], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(strict=True))
