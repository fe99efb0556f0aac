"""kfp.local as it comes: python -m pipeline.benchmark.stock SPEC PARAMETERS.json FOLDER"""

import json
import sys
from pathlib import Path

from kfp import components, local


def main(spec: Path, parameters: Path, folder: Path) -> None:
    """Run a compiled pipeline; for each task it starts a shell, pip, and a new Python."""
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(folder / "outputs"), workspace_root=str(folder / "workspace"))
    components.load_component_from_file(str(spec))(**json.loads(parameters.read_text("utf-8")))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
