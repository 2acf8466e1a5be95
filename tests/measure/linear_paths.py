"""Stationary Gaussian paths x_{t+1} = A x_t + e of known law, for tests of what trajectories show."""

import numpy as np
from scipy import linalg

F = np.array([[1.0, 1.0], [0.0, 2.0]])
D = np.array([[1.0, 0.6], [0.6, 1.0]])
"""A force and a noise whose stationary law circulates although all rates are real."""


def stationary_covariance(F, D):
    """F S + S F^T = 2 D."""
    return linalg.solve_continuous_lyapunov(F, 2 * D)


def reversible_twin():
    """(F, D) at equilibrium, with the autocovariance of each single coordinate that (F, D) above has, at all lags.

    Coordinate 0 is a mixture of the rates 1 and 2 with positive weights, coordinate 1 has rate 2 alone: linear functions
    of two independent Ornstein-Uhlenbeck processes have the same.
    """
    S = stationary_covariance(F, D)
    share = F[0, 1] * S[0, 1] / S[0, 0]
    mixing = np.array([[np.sqrt(S[0, 0] * (1 - share)), np.sqrt(S[0, 0] * share)], [0.0, np.sqrt(S[1, 1])]])
    rates = np.diag([1.0, 2.0])
    return mixing @ rates @ np.linalg.inv(mixing), mixing @ rates @ mixing.T


def transition(F, D, dt):
    """A and S of dx = -F x dt + sqrt(2 D) dW, seen every dt."""
    return linalg.expm(-F * dt), stationary_covariance(F, D)


def paths(A, S, num_records, rng, replicas=1):
    """(replica, record, d) with x_0 ~ N(0, S) and E x_{t+k} x_t^T = A^k S."""
    start, kick = _root(S), _root(S - A @ S @ A.T)
    noise = rng.normal(size=(num_records, replicas, len(S)))
    found = np.empty_like(noise)
    found[0] = noise[0] @ start.T
    for t in range(1, num_records):
        found[t] = found[t - 1] @ A.T + noise[t] @ kick.T
    return found.transpose(1, 0, 2)


def _root(matrix):
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0))
