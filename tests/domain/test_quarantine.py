"""Arguments that kill a server rest (F58); those that only were there when it died do not."""

from agenthub.domain.quarantine import REST, SUSPECTS_MAX, Quarantine
from agenthub.domain.span import SECOND

NOW = 1_000 * SECOND
POISON, OTHER = b"poison", b"other"


def killed_twice(now=NOW):
    quarantine = Quarantine()
    quarantine.died(POISON, now, loss=1)
    quarantine.died(POISON, now, loss=2)
    return quarantine


def test_two_deaths_are_poison_and_one_is_not():
    quarantine = Quarantine()
    assert not quarantine.resting
    quarantine.died(POISON, NOW, loss=1)
    assert not quarantine.resting
    assert quarantine.wait(POISON, NOW) == 0
    quarantine.died(POISON, NOW, loss=2)
    assert quarantine.resting
    assert quarantine.wait(POISON, NOW) == REST


def test_it_rests_for_a_minute_and_is_forgotten_then():
    quarantine = killed_twice()
    assert quarantine.wait(POISON, NOW + REST - 1) == 1
    assert quarantine.wait(POISON, NOW + REST) == 0
    assert not quarantine.resting


def test_other_arguments_do_not_rest():
    quarantine = killed_twice()
    quarantine.died(OTHER, NOW, loss=3)
    assert quarantine.wait(OTHER, NOW) == 0


def test_after_its_rest_one_more_death_is_enough():
    quarantine = killed_twice()
    later = NOW + 2 * REST
    quarantine.wait(POISON, later)
    quarantine.died(POISON, later, loss=3)
    assert quarantine.wait(POISON, later) == REST


def test_one_loss_is_one_death_however_many_equal_calls_it_took_along():
    """R6: else a hundred equal calls would be poison whenever a server is restarted."""
    quarantine = Quarantine()
    for _ in range(100):
        quarantine.died(POISON, NOW, loss=7)
    assert quarantine.wait(POISON, NOW) == 0


def test_losses_without_a_number_are_counted_each():
    quarantine = Quarantine()
    quarantine.died(POISON, NOW)
    quarantine.died(POISON, NOW)
    assert quarantine.wait(POISON, NOW) == REST


def test_what_the_server_answered_is_no_poison():
    quarantine = Quarantine()
    assert not quarantine.suspects
    quarantine.died(POISON, NOW, loss=1)
    assert quarantine.suspects
    quarantine.survived(POISON)
    assert not quarantine.suspects
    quarantine.died(POISON, NOW, loss=2)
    assert quarantine.wait(POISON, NOW) == 0


def test_an_answer_ends_the_rest():
    quarantine = killed_twice()
    quarantine.survived(POISON)
    quarantine.survived(OTHER)
    assert not quarantine.resting


def test_suspects_are_bounded_and_the_oldest_go_first():
    quarantine = killed_twice()
    for number in range(SUSPECTS_MAX):
        quarantine.died(b"%d" % number, NOW, loss=number + 10)
    assert not quarantine.resting
    quarantine.died(b"1", NOW, loss=9_999)
    assert quarantine.wait(b"1", NOW) == REST


def test_who_dies_again_is_the_newest_suspect():
    quarantine = Quarantine()
    quarantine.died(POISON, NOW, loss=1)
    quarantine.died(OTHER, NOW, loss=2)
    quarantine.died(POISON, NOW, loss=3)
    for number in range(SUSPECTS_MAX - 1):
        quarantine.died(b"%d" % number, NOW, loss=number + 10)
    assert quarantine.wait(POISON, NOW) == REST
