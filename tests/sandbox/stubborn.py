"""A process that waits. Unless "polite", it does not end when it is asked to, and has a child that does not either."""

import signal
import subprocess
import sys

if __name__ == "__main__":
    if "polite" not in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1:] == ["stubborn"]:
        subprocess.Popen([sys.executable, "-m", "tests.sandbox.stubborn", "stubborn", "child"])
    while True:
        signal.pause()
