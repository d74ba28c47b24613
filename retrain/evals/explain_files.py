"""`python -m retrain.evals.explain_files CONFIG.json`: explains files of decisions, in its own process.

Writes `records-N.json` for each `decisions-N.parquet` and, however it ends, `exit.json` into `output_dir`.
"""

import sys
from pathlib import Path

from retrain.evals.explained.files import explain_files
from retrain.train.progress import report_exit

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.explain_files CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), explain_files))
