"""A process that waits. If "polite" it ends when it is asked to; if "stubborn" it does not, nor does its child.

It touches its alive file at once; if "late" when somebody writes to the pipe SMALL_GO. If "unlucky" it ends before.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    if "unlucky" in sys.argv:
        sys.exit("no luck today")
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1:] == ["stubborn"]:
        subprocess.Popen([sys.executable, "-m", "tests.sandbox.stubborn", "stubborn", "child"])
    if "late" in sys.argv:
        Path(os.environ["SMALL_GO"]).read_text()
    Path(os.environ["CLOFY_ALIVE_FILE"]).touch()
    while True:
        signal.pause()
