"""What starting costs, in CPU seconds."""

from __future__ import annotations

import math
import subprocess
import sys

from asked import Asked


def seconds(code: str) -> float:
    """CPU seconds that ``code`` prints in a fresh interpreter, the least of three."""
    return min(float(subprocess.check_output([sys.executable, "-c", code], text=True).split()[-1]) for _ in range(3))


def over_torch() -> float:
    """CPU seconds of ``import posteriori`` after ``import torch``."""
    return seconds("import torch, time; s = time.process_time(); import posteriori; print(time.process_time() - s)")


def help_page() -> float:
    """CPU seconds of ``posteriori --help``, the interpreter's start included."""
    return seconds(
        "import sys, time; sys.argv = ['posteriori', '--help']\n"
        "from posteriori.app.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(time.process_time())"
    )


ASKED = [
    Asked("import posteriori, over torch [CPU s]", -math.inf, 0.3, over_torch),
    Asked("posteriori --help [CPU s]", -math.inf, 0.5, help_page),
]
