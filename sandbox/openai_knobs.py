"""What a test may turn on the stand-in of Azure OpenAI, and what it may read from it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Failure(BaseModel):
    """One way to fail, for the next `times` requests (0: until reset) whose question contains `match`.

    kind: "status" answers with `status` (and Retry-After); "prompt_filter" with Azure's 400; "cut" closes the
        connection and "hang" falls silent after `after` tokens, 0 being before the first byte of the answer;
        "answer_filter" ends the answer after `after` tokens; "no_usage" leaves the last chunk out
    retry_after: seconds
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["status", "prompt_filter", "answer_filter", "cut", "hang", "no_usage"] = "status"
    status: int = Field(default=500, ge=400, le=599)
    retry_after: float | None = Field(default=None, ge=0)
    after: int = Field(default=0, ge=0)
    times: int = Field(default=1, ge=0)
    match: str = ""


class Knobs(BaseModel):
    """How the model behaves.

    first_token_ms, gap_ms: to the first token, and between tokens; with gap 0 they leave as fast as they are read
    tokens: the length of every answer; None lets the question decide, between 80 and 220
    fail: failures to come, tried in order; one object stands for a list of one
    """

    model_config = ConfigDict(extra="forbid")

    first_token_ms: float = Field(default=300, ge=0)
    gap_ms: float = Field(default=20, ge=0)
    tokens: int | None = Field(default=None, ge=0, le=100_000)
    fail: list[Failure] = []

    @field_validator("fail", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return [] if given is None else given if isinstance(given, list) else [given]

    def next_failure(self, question: str) -> Failure | None:
        """The failure that this question meets, used up by it."""
        for failure in self.fail:
            if failure.match in question:
                if failure.times == 1:
                    self.fail.remove(failure)
                elif failure.times:
                    failure.times -= 1
                return failure
        return None


class Stats(BaseModel):
    """requests: all that came; open, peak: answers in progress, now and at most; aborted: the client went away first;
    failed: by a knob; refused: by us, as for a wrong key; tokens: sent in all."""

    requests: int = 0
    open: int = 0
    peak: int = 0
    completed: int = 0
    aborted: int = 0
    failed: int = 0
    refused: int = 0
    tokens: int = 0
