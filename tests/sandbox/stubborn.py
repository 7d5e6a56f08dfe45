"""A process that does not end when it is asked to, and has a child of its own that does not either."""

import signal
import subprocess
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" not in sys.argv:
        subprocess.Popen([sys.executable, "-m", "tests.sandbox.stubborn", "child"])
    while True:
        signal.pause()
