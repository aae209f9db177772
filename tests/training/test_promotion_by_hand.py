from training.promotion import Verdict, for_a_person


def test_a_model_that_may_be_promoted_waits_for_a_person() -> None:
    verdict = for_a_person(Verdict(True, "better: by far"))
    assert not verdict.promote
    assert "foreview promote" in verdict.reason
    assert "better: by far" in verdict.reason


def test_a_refusal_stays_what_it_is() -> None:
    refused = Verdict(False, "its interval does not hold")
    assert for_a_person(refused) == refused
