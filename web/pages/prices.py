"""What an answer holds at most, as core.consultations.conversation.ask holds it; static/prices.js has the same rule."""

from core.consultations.pricing import MOST_BYTES, MOST_HISTORY
from web.shapes import ServiceFacts

USUAL_QUESTION = 534  # bytes: 100 words, as in `typical_answer_mc`

LIMITS = {"history": MOST_HISTORY, "question": USUAL_QUESTION}


def usual_most_mc(service: ServiceFacts) -> int:
    """What is held for the first question of a consultation when it has 100 words and the answer its full length."""
    spared = service["max_question_chars"] * MOST_BYTES - USUAL_QUESTION
    return service["max_answer_mc"] - spared * service["input_mc_per_1k"] // 1000
