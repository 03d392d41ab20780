"""A network with one hidden layer, in plain numpy: what it computes, and how one step of training changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PIXELS = 64
DIGITS = 10
MOMENTUM = 0.9


class Network:
    """Pixels -> hidden units (ReLU) -> one score per digit (softmax), trained by gradient descent with momentum."""

    def __init__(self, weights: Mapping[str, Floats], speed: Mapping[str, Floats]) -> None:
        self.weights = dict(weights)
        self.speed = dict(speed)

    @classmethod
    def fresh(cls, hidden: int, seed: int) -> Network:
        """Make a network that has learnt nothing yet."""
        random = np.random.default_rng(seed)
        weights = {
            "w1": random.normal(0.0, np.sqrt(2.0 / PIXELS), (PIXELS, hidden)),
            "b1": np.zeros(hidden),
            "w2": random.normal(0.0, np.sqrt(1.0 / hidden), (hidden, DIGITS)),
            "b2": np.zeros(DIGITS),
        }
        return cls(weights, {name: np.zeros_like(values) for name, values in weights.items()})

    def predict(self, images: Floats) -> Ints:
        """Say which digit each image shows."""
        answer: Ints = self._forward(images)[1].argmax(axis=1)
        return answer

    def step(self, images: Floats, digits: Ints, rate: float) -> float:
        """Learn from one batch; return its mean cross-entropy before the step."""
        rows = np.arange(len(digits))
        hidden, chances = self._forward(images)
        loss = float(-np.log(chances[rows, digits] + 1e-12).mean())
        chances[rows, digits] -= 1.0
        error = chances / len(digits)
        back = (error @ self.weights["w2"].T) * (hidden > 0.0)
        self._move("w2", hidden.T @ error, rate)
        self._move("b2", error.sum(axis=0), rate)
        self._move("w1", images.T @ back, rate)
        self._move("b1", back.sum(axis=0), rate)
        return loss

    def _forward(self, images: Floats) -> tuple[Floats, Floats]:
        hidden = np.maximum(images @ self.weights["w1"] + self.weights["b1"], 0.0)
        scores = hidden @ self.weights["w2"] + self.weights["b2"]
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, powers / powers.sum(axis=1, keepdims=True)

    def _move(self, name: str, gradient: Floats, rate: float) -> None:
        self.speed[name] = MOMENTUM * self.speed[name] - rate * gradient
        self.weights[name] = self.weights[name] + self.speed[name]
