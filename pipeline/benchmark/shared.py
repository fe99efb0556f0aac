"""What the plain script shares with evaluate_model, taken from its files: importing steps would import kfp."""

import runpy

from pipeline import ROOT

_diagnosis, _report = (runpy.run_path(str(ROOT / "steps" / name)) for name in ("diagnosis.py", "report.py"))

class_scores = _diagnosis["class_scores"]
column_importance = _diagnosis["column_importance"]
confused_pairs = _diagnosis["confused_pairs"]
failing_slices = _diagnosis["failing_slices"]
evaluation_report = _report["evaluation_report"]
