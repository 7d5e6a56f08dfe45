"""What an answer costs: pure arithmetic in millicredits, rounded up once, at the end."""

from dataclasses import dataclass

WORDS_TO_TOKENS = 4 / 3  # OpenAI's rule of thumb: 100 tokens are about 75 English words
TYPICAL_QUESTION_WORDS = 100
TYPICAL_ANSWER_WORDS = 250

PER_MESSAGE = 8  # tokens that the model's format adds to each message, rounded up
MOST_MESSAGES = 40  # earlier ones that go along with a question
MOST_HISTORY = 16_000  # bytes of them, newest first
MOST_BYTES = 4  # of a character in UTF-8


@dataclass(frozen=True)
class Price:
    """Of 1,000 tokens, in millicredits."""

    input_mc_per_1k: int
    output_mc_per_1k: int

    def cost_mc(self, prompt_tokens: int, completion_tokens: int) -> int:
        thousandths = prompt_tokens * self.input_mc_per_1k + completion_tokens * self.output_mc_per_1k
        return -(-thousandths // 1000)

    def typical_mc(self, system_prompt: str) -> int:
        """A question of 100 words, answered in 250 words."""
        question = int(TYPICAL_QUESTION_WORDS * WORDS_TO_TOKENS) + estimate_tokens(system_prompt)
        return self.cost_mc(question, int(TYPICAL_ANSWER_WORDS * WORDS_TO_TOKENS))


def prompt_cap(system_bytes: int, question_bytes: int, history_bytes: int = 0) -> int:
    """The most tokens that a prompt can have: each of its bytes one, and what the model's format adds."""
    return system_bytes + question_bytes + min(history_bytes, MOST_HISTORY) + PER_MESSAGE * (MOST_MESSAGES + 2)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: OpenAI's rule of thumb, four bytes of English each.

    For what we must count ourselves because the model sent no usage; shown as "estimated".
    """
    return -(-len(text.encode()) // 4)
