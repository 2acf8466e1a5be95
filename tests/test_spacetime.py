import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradnoise.spacetime import SAMPLINGS, Spacetime

spacetimes = st.builds(
    lambda columns, batch, epochs, sampling: Spacetime(columns * batch, batch, epochs, sampling),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from(SAMPLINGS),
)


@settings(deadline=None)
@given(spacetimes, st.data())
def test_the_grid_after_t_updates_has_t_steps_and_the_same_examples(spacetime, data):
    steps = data.draw(st.integers(0, spacetime.num_steps))
    cut = spacetime.truncate(steps)
    assert (cut.num_steps, cut.num_examples, cut.batch_size) == (steps, spacetime.num_examples, spacetime.batch_size)
    assert cut.epochs == Fraction(steps * spacetime.batch_size, spacetime.num_examples)
    assert cut.full_epochs * cut.steps_per_epoch + cut.remaining_steps == steps
    assert (cut == spacetime) == (steps == spacetime.num_steps)


@settings(deadline=None)
@given(spacetimes, st.data())
def test_the_printed_form_makes_an_equal_spacetime(spacetime, data):
    cut = spacetime.truncate(data.draw(st.integers(0, spacetime.num_steps)))
    assert eval(repr(cut), {"Spacetime": Spacetime}) == cut
    assert pickle.loads(pickle.dumps(cut)) == cut


def test_spacetimes_are_equal_by_value_and_hash_alike():
    long, short = Spacetime(8, 2, epochs=3), Spacetime(8, 2, epochs=2)
    assert long.truncate(8) == short
    assert hash(long.truncate(8)) == hash(short)
    assert len({long, short, long.truncate(8), Spacetime(8, 2, epochs=2, sampling="reshuffle")}) == 3


def test_epochs_are_whole_or_a_fraction():
    spacetime = Spacetime(100, 20, epochs=3)
    assert (spacetime.epochs, spacetime.num_steps, spacetime.steps_per_epoch) == (3, 15, 5)
    assert type(spacetime.epochs) is int
    assert spacetime.truncate(7).epochs == Fraction(7, 5)


def test_steps_may_be_given_where_there_are_no_epochs():
    assert Spacetime(100, 7, sampling="subset", num_steps=11).num_steps == 11
    assert Spacetime(100, 120, sampling="with_replacement", num_steps=5).epochs == 6
    assert Spacetime(10, 4, epochs=2, sampling="subset") == Spacetime(10, 4, sampling="subset", num_steps=5)


def test_steps_that_repeat_what_epochs_say_are_welcome():
    assert Spacetime(8, 2, epochs=2, num_steps=8) == Spacetime(8, 2, epochs=2)


def test_numpy_integers_become_plain_ones():
    spacetime = Spacetime(np.int64(8), np.int32(2), epochs=np.uint8(2))
    assert spacetime == Spacetime(8, 2, 2)
    assert all(type(n) is int for n in (spacetime.num_examples, spacetime.batch_size, spacetime.num_steps))


def test_a_spacetime_cannot_be_changed():
    with pytest.raises(AttributeError):
        Spacetime(8, 2).batch_size = 4  # type: ignore[misc]


def test_an_uneven_batch_is_answered_with_the_nearest_divisors():
    with pytest.raises(ValueError) as error:
        Spacetime(100, 48)
    assert str(error.value) == (
        'batch_size=48 does not divide num_examples=100, and sampling="fixed" uses each example once an epoch. '
        'Use a divisor (20, 25, 50) or sampling="with_replacement".'
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"num_examples": 0}, ValueError, ("num_examples=0", "below 1", "at least 1")),
        ({"num_examples": -4}, ValueError, ("num_examples=-4",)),
        ({"num_examples": 100.0}, TypeError, ("num_examples=100.0", "float", "integer")),
        ({"num_examples": True}, TypeError, ("num_examples=True", "bool")),
        ({"num_examples": "100"}, TypeError, ("num_examples='100'", "str")),
        ({"num_examples": None}, TypeError, ("num_examples=None",)),
        ({"batch_size": 0}, ValueError, ("batch_size=0",)),
        ({"batch_size": 2.5}, TypeError, ("batch_size=2.5",)),
        ({"batch_size": np.bool_(True)}, TypeError, ("batch_size=",)),
        ({"epochs": 0}, ValueError, ("epochs=0",)),
        ({"epochs": 1.5}, TypeError, ("epochs=1.5",)),
        ({"epochs": False}, TypeError, ("epochs=False",)),
        ({"batch_size": 200}, ValueError, ("batch_size=200 exceeds num_examples=100", "with_replacement")),
        ({"batch_size": 200, "sampling": "subset"}, ValueError, ("exceeds", '"subset"')),
        ({"batch_size": 200, "sampling": "reshuffle"}, ValueError, ("exceeds", '"reshuffle"')),
        ({"batch_size": 48, "sampling": "reshuffle"}, ValueError, ("does not divide", "20, 25, 50")),
        ({"num_examples": 7, "batch_size": 3}, ValueError, ("does not divide", "(1, 7)")),
        (
            {"sampling": "shuffle"},
            ValueError,
            ("sampling='shuffle'", *map(repr, SAMPLINGS), "Did you mean 'reshuffle'?"),
        ),
        ({"sampling": None}, ValueError, ("sampling=None", "'fixed'")),
        ({"num_steps": 7}, ValueError, ("num_steps=7", "epochs=1", ".truncate(7)")),
        ({"num_steps": 0, "sampling": "subset"}, ValueError, ("num_steps=0",)),
        ({"num_steps": 2.0, "sampling": "subset"}, TypeError, ("num_steps=2.0",)),
        ({"num_steps": 7, "epochs": 2, "sampling": "subset"}, ValueError, ("num_steps=7", "epochs=2", "20 steps")),
        ({"batch_size": 7, "sampling": "subset"}, ValueError, ("epochs=1", "100/7", "num_steps=14")),
        ({"batch_size": 300, "sampling": "with_replacement"}, ValueError, ("epochs=1", "100/300", "num_steps=1,")),
    ],
)
def test_wrong_arguments_are_named_with_what_came_and_what_to_do(arguments, error, words):
    with pytest.raises(error) as caught:
        Spacetime(**{"num_examples": 100, "batch_size": 10, **arguments})
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert message.endswith((".", "?"))


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        (-1, ValueError, "num_steps=-1"),
        (11, ValueError, "0 to 10"),
        (2.0, TypeError, "num_steps=2.0"),
        (True, TypeError, "bool"),
    ],
)
def test_a_grid_is_not_cut_outside_itself(steps, error, words):
    with pytest.raises(error, match=words):
        Spacetime(100, 10).truncate(steps)


def test_epochs_of_uneven_batches_have_no_columns():
    with pytest.raises(ValueError, match="steps_per_epoch is not whole"):
        _ = Spacetime(100, 7, sampling="subset", num_steps=3).steps_per_epoch
