"""What schemathesis is told beside the description: for each valid call, every second time, something that is there."""

import json
import os
from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

THEIRS: dict[str, str] = json.loads(os.environ["FUZZ_THEIRS"])  # by the names of parameters and fields


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    if isinstance(case.body, dict) and case.body.get("kind") == "erasure":
        case.body["kind"] = "access"  # else all calls after it would be a visitor's
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for part in (case.path_parameters, case.body):
        if isinstance(part, dict) and sum(str(part).encode()) % 2:
            part.update({name: THEIRS[name] for name in part.keys() & THEIRS.keys()})
