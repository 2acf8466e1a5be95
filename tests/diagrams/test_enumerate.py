import pytest

from diagrams.brute_force import every_diagram
from gradnoise.diagrams import Diagram, enumerate_diagrams, number_of_diagrams

NUMBERS = (1, 1, 4, 17, 101, 700, 5861)


@pytest.mark.parametrize("order", range(7))
def test_the_list_and_the_independent_count_agree(order):
    found = list(enumerate_diagrams(order))
    assert len(found) == len(set(found)) == number_of_diagrams(order) == NUMBERS[order]
    assert all(diagram.order == order and not diagram.is_root_tied for diagram in found)


def test_the_count_goes_where_no_list_can():
    assert number_of_diagrams(7) == 55818
    assert number_of_diagrams(12) > 10**10


def test_labelled_diagrams_add_up_to_trees_times_partitions():
    """sum over diagrams of d!/|Aut| = (d+1)^(d-1) Bell(d)."""
    for order, factorial, partitions in ((1, 1, 1), (2, 2, 2), (3, 6, 5), (4, 24, 15), (5, 120, 52)):
        labelled = sum(factorial // diagram.num_automorphisms for diagram in enumerate_diagrams(order))
        assert labelled == (order + 1) ** (order - 1) * partitions


def test_the_order_of_the_list_is_stable():
    assert [str(d) for d in every_diagram(3)] == [
        *(f"({parts})(01-12-23)" for parts in ("0-1-2-3", "01-2-3", "02-1-3", "0-12-3", "012-3")),
        *(f"({parts})(01-13-23)" for parts in ("0-1-2-3", "01-2-3", "02-1-3", "0-12-3", "012-3")),
        *(f"({parts})(02-12-23)" for parts in ("0-1-2-3", "01-2-3", "02-1-3", "012-3")),
        *(f"({parts})(03-13-23)" for parts in ("0-1-2-3", "01-2-3", "012-3")),
    ]


def test_order_0_is_the_lone_root():
    assert list(enumerate_diagrams(0)) == [Diagram.parse("(0)()")]


@pytest.mark.parametrize("function", [number_of_diagrams, lambda order: list(enumerate_diagrams(order))])
@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (-1, ValueError, "order=-1"),
        (1.0, TypeError, "not an integer"),
        (True, TypeError, "bool"),
        ("3", TypeError, "str"),
    ],
)
def test_orders_that_are_no_orders_are_refused(function, order, error, message):
    with pytest.raises(error, match=message):
        function(order)


def test_diagrams_without_a_written_form_are_not_listed():
    with pytest.raises(ValueError, match="0 to 9"):
        next(enumerate_diagrams(10))
