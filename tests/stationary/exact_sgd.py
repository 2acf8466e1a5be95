"""Stationary moments of SGD on quadratic losses of a small pool, by linear algebra over all batches: no Monte Carlo."""

from itertools import combinations, product
from typing import NamedTuple

import numpy as np


class Pool(NamedTuple):
    """l_n = theta.A_n theta/2 - b_n.theta; SGD's settings."""

    A: np.ndarray
    b: np.ndarray
    learning_rate: float
    batch_size: int = 1
    weight_decay: float = 0.0
    injected_noise: float = 0.0
    replacement: bool = True
    momentum: float = 0.0

    @property
    def dim(self):
        return self.A.shape[1]

    @property
    def gradients(self):
        """(n, d, 1 + 2d): g_n as a linear function of z = (1, theta, v)."""
        still = np.zeros((len(self.A), self.dim, self.dim))
        return np.concatenate([-self.b[:, :, None], self.A, still], axis=2)

    @property
    def force(self):
        """(d, 1 + 2d): s."""
        return self.gradients.mean(axis=0) + self.weight_decay * self.position

    @property
    def position(self):
        return np.eye(self.dim, 1 + 2 * self.dim, 1)

    @property
    def velocity(self):
        return np.eye(self.dim, 1 + 2 * self.dim, 1 + self.dim)

    @property
    def hessian(self):
        return self.A.mean(axis=0)

    def steps(self):
        """The matrices of z -> z of all batches, injected noise left out."""
        numbers = range(len(self.A))
        batches = (
            product(numbers, repeat=self.batch_size) if self.replacement else combinations(numbers, self.batch_size)
        )
        for batch in batches:
            pull = self.gradients[list(batch)].mean(axis=0) + self.weight_decay * self.position
            v = self.momentum * self.velocity + pull
            yield np.vstack([np.eye(1, 1 + 2 * self.dim), self.position - self.learning_rate * v, v])

    def moments(self):
        """E z z^T of the stationary law."""
        steps = list(self.steps())
        size = 1 + 2 * self.dim
        doubled = sum(np.kron(step, step) for step in steps) / len(steps)
        kick = np.vstack([np.zeros((1, self.dim)), -self.learning_rate * np.eye(self.dim), np.eye(self.dim)])
        injected = self.injected_noise**2 / self.batch_size * kick @ kick.T
        system, known = np.eye(size**2) - doubled, injected.reshape(-1)
        system[0], known[0] = 0, 1
        system[0, 0] = 1
        return np.linalg.solve(system, known).reshape(size, size)

    def noise(self, Z):
        """<M>: covariance of one batch's gradient times the batch size, injected noise with it."""
        centred = self.gradients - self.gradients.mean(axis=0)
        D = np.einsum("nik,kl,njl->ij", centred, Z, centred) / len(self.A)
        n, B = len(self.A), self.batch_size
        fraction = 1 if self.replacement else (n - B) / (n - 1)
        return fraction * D + self.injected_noise**2 * np.eye(self.dim)


def pools(rng, dim=2, size=4):
    """A few settings: replacement or not, weight decay, injected noise, noise that depends on the weights."""
    roots = rng.normal(size=(size, dim, dim))
    A, b = roots @ roots.transpose(0, 2, 1) / dim + 0.5 * np.eye(dim), rng.normal(size=(size, dim))
    return [
        Pool(A, b, 0.1),
        Pool(A, b, 0.2, batch_size=2, weight_decay=0.3, injected_noise=0.7),
        Pool(A, b, 0.2, batch_size=2, replacement=False, weight_decay=0.1),
        Pool(np.broadcast_to(A.mean(axis=0), A.shape), b, 0.3, batch_size=3, replacement=False),
    ]
