"""Request ids."""

from itertools import pairwise

from agenthub.app.request_id import BATCH, request_ids


def test_ids_are_of_one_shape_and_never_twice():
    mint = request_ids()
    ids = [mint() for _ in range(3 * BATCH)]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 24 and set(one) <= set("0123456789abcdef") for one in ids)


def test_two_hubs_do_not_mint_the_same():
    first, second = request_ids(), request_ids()
    assert not {first() for _ in range(100)} & {second() for _ in range(100)}


def test_an_id_says_nothing_of_the_next():
    mint = request_ids()
    gaps = {int(b, 16) - int(a, 16) for a, b in pairwise(mint() for _ in range(1000))}
    assert len(gaps) == 999
