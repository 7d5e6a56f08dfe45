"""Answers for the stand-in of the model: prose that takes up the question's words, the same for the same question."""

import random
import re
from collections.abc import Iterator

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """about after again also always because been before being between both could does doing during each every from
        have having here into just like make many more most much must need only other over please should since some
        such tell than that their them then there these they thing this those through under until very want were what
        when where which while will with without would your yours""",
    )
)
WORD = re.compile(r"[^\W\d_][\w'-]{3,}")
TOKEN = re.compile(r"\s*[\w'-]+|\s*[^\w\s]|\s+$")

OPENINGS = (
    "The short answer on {a}: {verb} {b} first, and let the rest follow from it.",
    "I would look at {a} from the side of {b}, since that is where {quality} decisions are made.",
    "There are {number} things to weigh here, and {a} is the one that I would put first.",
    "What you describe is a common knot: {a} pulls one way, and {b} pulls the other.",
)
SENTENCES = (
    "Start by writing down what {a} costs you today, in {unit}, before you change anything.",
    "If {b} matters more to you than {c}, then {verb} it early, while a change is still cheap.",
    "A {quality} plan for {a} names who does it, by when, and how one will see that it worked.",
    "Most people look at {b} and forget {c}, although the two are rarely apart.",
    "It helps to {verb} one part of {c} at a time and to keep the rest as it is.",
    "Ask yourself what would have to be true for {a} to be the wrong choice.",
    "The risk with {c} is small at first and grows with every {unit_one} that passes unnoticed.",
    "Give {b} {number} {unit}, then compare what you see with what you expected.",
    "Where {a} is uncertain, a {quality} experiment tells more than a long argument.",
    "Keep a note of each decision about {b}, with its reason, so that you can take it back later.",
    "I would not {verb} {c} before you know how it touches {a}.",
    "When {c} and {a} disagree, prefer the one that is easier to undo.",
)
CLOSINGS = (
    "If you tell me more about {a}, I can make this more exact.",
    "Which of these is closest to how {b} looks on your side?",
    "As a next step, {verb} {c} and see what it shows within {number} {unit}.",
)
VERBS = ("settle", "test", "measure", "simplify", "question", "describe", "review", "outline")
QUALITIES = ("careful", "simple", "small", "sound", "plain", "well-bounded", "reversible")
UNITS = ("days", "weeks", "hours", "steps", "attempts", "conversations")
NUMBERS = ("two", "three", "four", "five")
COMMON = ("the goal", "the effort", "the timing", "the people involved", "the first step", "the outcome")


def subjects(question: str) -> list[str]:
    """What the question is about: its longer words, each once; a few general ones where it has hardly any."""
    words = dict.fromkeys(word for word in WORD.findall(question[:4000]) if word.lower() not in STOP_WORDS)
    return [*list(words)[:24], *COMMON[: max(0, 3 - len(words))]]


def sentences(question: str, seed: str) -> Iterator[str]:
    """Sentences without end, each with the space or paragraph break before it."""
    choose, about = random.Random(seed), subjects(question)

    def fill(template: str) -> str:
        first, second, third = choose.sample(about, 3) if len(about) >= 3 else (about * 3)[:3]
        unit = choose.choice(UNITS)
        return template.format(
            a=first,
            b=second,
            c=third,
            verb=choose.choice(VERBS),
            quality=choose.choice(QUALITIES),
            unit=unit,
            unit_one=unit.removesuffix("s"),
            number=choose.choice(NUMBERS),
        )

    yield fill(choose.choice(OPENINGS))
    while True:
        style = choose.random()
        if style < 0.3:
            for number in range(1, choose.randint(3, 5)):
                yield f"\n\n{number}. " + fill(choose.choice(SENTENCES))
        for place in range(choose.randint(2, 4)):
            yield (" " if place else "\n\n") + fill(choose.choice(SENTENCES))
        if style > 0.7:
            yield " " + fill(choose.choice(CLOSINGS))


def tokens(question: str, seed: str, length: int) -> list[str]:
    """`length` pieces of an answer, in the grain of a model's tokens: a word with its space, or a sign.

    A shorter answer to the same question is the start of a longer one.
    """
    pieces: list[str] = []
    for sentence in sentences(question, seed):
        pieces += TOKEN.findall(sentence)
        if len(pieces) >= length:
            break
    return pieces[:length]


def count_tokens(text: str) -> int:
    """About what a model's tokenizer counts: four characters are a token."""
    return (len(text) + 3) // 4
