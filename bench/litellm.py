"""The peer: LiteLLM's proxy with one worker, a key, no database, no telemetry, before the same stand-in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from sandbox.processes import Child, free_port

HERE = Path(__file__).parent
VENV = HERE / ".venv"
REQUIREMENTS = HERE / "requirements.txt"
KEY = "sk-bench"
MODEL = "bench"


def prepare() -> None:
    """See that its environment is there; made anew whenever requirements.txt changes."""
    mark, wanted = VENV / ".ready", REQUIREMENTS.read_text()
    if mark.exists() and mark.read_text() == wanted:
        return
    print("Setting up bench/.venv with LiteLLM's proxy: once, about a minute.", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    mark.write_text(wanted)  # last, so that a set-up that was cut off is done again


def version() -> str:
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    python = [str(VENV / "bin" / "python"), "-c", code]
    return subprocess.run(python, capture_output=True, text=True, check=True).stdout.strip()


class LiteLLM:
    def __init__(self, directory: Path, *, openai_url: str, openai_key: str, deployment: str, api_version: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        parameters = {"api_base": openai_url, "api_key": openai_key, "api_version": api_version}
        self.config = {
            "model_list": [{"model_name": MODEL, "litellm_params": {"model": f"azure/{deployment}", **parameters}}],
            "litellm_settings": {"telemetry": False, "num_retries": 0},
            "general_settings": {"master_key": KEY},
        }
        config = directory / "litellm.yaml"
        config.write_text(json.dumps(self.config))  # JSON is YAML
        command = [str(VENV / "bin" / "litellm"), "--config", str(config), "--num_workers", "1"]
        command += ["--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]]
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
        quiet |= {"LITELLM_TELEMETRY": "False", "DISABLE_ADMIN_UI": "True"}
        self.child = Child("litellm", command, log=directory / "litellm.log", environ=os.environ | quiet)

    def __enter__(self) -> "LiteLLM":
        self.child.start()
        self.child.wait_until(self._ready, seconds=180)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop(seconds=10)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/liveliness", timeout=2).is_success
        except httpx.TransportError:
            return False
