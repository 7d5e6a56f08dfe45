"""What an answer holds at most, as core.consultations.conversation.ask holds it; static/prices.js has the same rule."""

from core.consultations.conversation import MOST_HISTORY, MOST_MESSAGES, PER_MESSAGE
from web.pages.shapes import ServiceFacts

MOST_BYTES = 4  # of a character in UTF-8
OVERHEAD = PER_MESSAGE * (MOST_MESSAGES + 2)  # tokens that the model's format adds, as they are held
USUAL_QUESTION = 534  # bytes: 100 words, as in `typical_answer_mc`

LIMITS = {"overhead": OVERHEAD, "history": MOST_HISTORY, "question": USUAL_QUESTION}


def usual_most_mc(service: ServiceFacts) -> int:
    """What is held for the first question of a consultation when it has 100 words and the answer its full length."""
    spared = service["max_question_chars"] * MOST_BYTES - USUAL_QUESTION - OVERHEAD
    return service["max_answer_mc"] - spared * service["input_mc_per_1k"] // 1000


def longest_most_mc(service: ServiceFacts) -> int:
    """As above, for the longest question that is taken."""
    return service["max_answer_mc"] + -(-OVERHEAD * service["input_mc_per_1k"] // 1000)
