"""SGD's temperature T = learning_rate/batch_size: which runs are equivalent, how long to train, what momentum does."""

from gradnoise import _checks


def scaled_epochs(
    temperature: float, epochs: float = 300.0, reference: float = 2e-4, softening: float = 4.0, most: float = 4.0
) -> float:
    """Epochs that give runs at low temperature more time: epochs max(1, min(most, 1 + (reference/T - 1)/softening)).

    T = learning_rate/batch_size; `reference` is the temperature at and above which `epochs` are enough. It is not
    proportional to 1/T, which equal time would ask for: see `equivalent_steps`.

    >>> [scaled_epochs(T) for T in (4e-4, 2e-4, 1e-4, 5e-5, 2e-4 / 13)]
    [300.0, 300.0, 375.0, 525.0, 1200.0]

    Raises ValueError for numbers that are not positive, or `most` below 1.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", experiments.
    """
    T, start = _checks.number("temperature", temperature, above=0.0), _checks.number("epochs", epochs, above=0.0)
    ratio = _checks.number("reference", reference, above=0.0) / T
    wanted = 1 + (ratio - 1) / _checks.number("softening", softening, above=0.0)
    return start * max(1.0, min(_checks.number("most", most, minimum=1.0), wanted))


def equivalent_steps(
    num_steps: float,
    temperature: float,
    batch_size: int,
    new_temperature: float | None = None,
    new_batch_size: int | None = None,
) -> float:
    """Steps that take the same time, sum of learning rates, at another temperature or batch size.

        n1 learning_rate1 = n2 learning_rate2,    that is    T1 (B1 n1) = T2 (B2 n2)

    B n is the number of examples seen. At equal T and weight decay the two runs follow the same diffusion over the same
    time, to leading order in the learning rate.

    >>> equivalent_steps(1000, temperature=1e-3, batch_size=100, new_batch_size=200)        # twice the learning rate
    500.0
    >>> equivalent_steps(1000, temperature=1e-3, batch_size=100, new_temperature=5e-4)
    2000.0

    Raises ValueError for numbers that are not positive.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", section 4.
    """
    old = _checks.number("temperature", temperature, above=0.0) * _checks.integer("batch_size", batch_size)
    T = temperature if new_temperature is None else _checks.number("new_temperature", new_temperature, above=0.0)
    B = batch_size if new_batch_size is None else _checks.integer("new_batch_size", new_batch_size)
    return _checks.number("num_steps", num_steps, above=0.0) * old / (T * B)


def momentum_temperature(temperature: float, momentum: float) -> float:
    """T/(1 - momentum): the temperature of plain SGD with the same stationary weights, as far as its rate is small.

    To leading order in learning rate times curvature; `momentum_excess` is what is missed in a quadratic.

    >>> momentum_temperature(1e-3, momentum=0.9)
    0.01

    Raises ValueError for a temperature that is not positive and momentum outside [0, 1).

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (38)-(41); docs/theory/averaging.md.
    """
    mu = _checks.number("momentum", momentum, 0.0, below=1.0)
    return _checks.number("temperature", temperature, above=0.0) / (1 - mu)
