"""The first way through the house: register, buy, ask, watch, and what it cost."""

from tests.journeys.person import Person, text_of


async def test_a_question_is_held_answered_settled_and_shown(person: Person) -> None:
    consultation = await person.begin()

    job = await person.asked(consultation)
    events = await person.follow(job)

    assert [event["type"] for event in events[:2]] == ["queued", "started"]
    assert events[-1]["type"] == "done"
    result = events[-1]["data"]["result"]
    shown = text_of(events)
    assert len(shown) == result["chars"] > 0
    kept = (await person.get(f"/api/consultations/{consultation}"))["messages"]
    assert [message["role"] for message in kept] == ["question", "answer"]
    assert kept[1]["text"] == shown
    assert await person.credits() == {
        "balance_mc": 500_000 - result["cost_mc"],
        "held_mc": 0,
        "available_mc": 500_000 - result["cost_mc"],
        "debt_mc": 0,
        "next_expiry": None,
    }
    lines = (await person.get("/api/credits/entries"))["entries"]
    assert [line["amount_mc"] for line in lines] == [-result["cost_mc"], 500_000]
    assert lines[0]["link"] == f"/consultations/{consultation}#message-{kept[1]['id']}"


async def test_polling_and_the_socket_tell_the_same(person: Person) -> None:
    job = await person.asked(await person.begin())

    live = await person.follow(job)
    polled = await person.poll(job)

    assert [(event["id"], event["type"], event["data"]) for event in live] == [
        (event["id"], event["type"], event["data"]) for event in polled
    ]


async def test_who_had_the_end_is_told_that_there_is_no_more(person: Person) -> None:
    job = await person.asked(await person.begin())
    end = (await person.follow(job))[-1]["id"]

    again = await person.get(f"/api/jobs/{job}/events?after={end}&wait=20")

    assert again == {"events": [], "done": True}


async def test_a_purchase_is_credited_once_and_has_one_receipt(person: Person) -> None:
    mails = await person.mails(2)

    assert len(mails) == 2  # the code and the receipt
    assert "500" in mails[1]["text"]
