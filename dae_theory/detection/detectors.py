"""Oriented scores of representations and of inputs, and scikit-learn estimators that put a threshold on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from dae_theory import checks, representation
from dae_theory.checks import Refusal
from dae_theory.detection.roc import threshold_at_fpr

Statistic = Callable[[Any], Any]

_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # of the largest score: what compiled sums may differ by


def _score(h: Any, name: str) -> np.ndarray:
    """One score of `representation.Spikiness` alone, oriented."""
    return representation.ORIENTATION[name] * np.asarray(representation.score(h, name))


def std(h: Any) -> np.ndarray:
    """The paper's score, the standard deviation over neurons; it grows with the input's norm."""
    return _score(h, "std")


def l4_over_l2(h: Any) -> np.ndarray:
    """‖h‖₄/‖h‖₂."""
    return _score(h, "l4_over_l2")


def kurtosis(h: Any) -> np.ndarray:
    """Excess kurtosis over neurons."""
    return _score(h, "kurtosis")


def participation_ratio(h: Any) -> np.ndarray:
    """Minus (Σh²)²/Σh⁴, since few active neurons mean memorized. Ranks as ‖h‖₄/‖h‖₂ does, which is its −¼ power."""
    return _score(h, "participation_ratio")


def gini(h: Any) -> np.ndarray:
    """Gini coefficient of |h|."""
    return _score(h, "gini")


def max_share(h: Any) -> np.ndarray:
    """max h²/Σh²."""
    return _score(h, "max_share")


STATISTICS: tuple[Statistic, ...] = (std, l4_over_l2, kurtosis, participation_ratio, gini, max_share)


def _rows(x: Any) -> np.ndarray:
    if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64):  # as it is, not by way of a device
        checks.finite("x", x)
    else:
        x = np.asarray(representation.as_array("x", x))
    if x.ndim < 2:
        raise Refusal(f"x must have shape (n, ...); got {x.shape}")
    return x.reshape(x.shape[0], -1)


def pixel_std(x: Any) -> np.ndarray:
    """Trivial control: the standard deviation over the entries of each input, (n, ...) → (n,)."""
    return _rows(x).std(axis=1)


def input_norm(x: Any) -> np.ndarray:
    """Trivial control: the l2 norm of each input, (n, ...) → (n,)."""
    return np.linalg.norm(_rows(x), axis=1)


def denoising_loss(x: Any, denoised: Any) -> np.ndarray:
    """Trivial control: minus ‖f(y) − x‖² of each sample, since a memorized sample is denoised well, (n, ...) → (n,).

    Raises:
        ValueError: `denoised` has another shape than `x`.
    """
    x, denoised = _rows(x), _rows(denoised)
    if x.shape != denoised.shape:
        raise Refusal(f"denoised must have as many entries as x, {x.shape}; got {denoised.shape}")
    return -np.sum((denoised - x) ** 2, axis=1)


class _Detector(ClassifierMixin, BaseEstimator):
    """Fires when a score exceeds the (1 − fpr) quantile of the scores of the negatives it was fitted on, by more than
    rounding.
    """

    fpr: float

    def _fit_scores(self, X: np.ndarray, positive: np.ndarray) -> None:
        """Learn what the score needs, if anything."""

    def _scores(self, X: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> "_Detector":
        """Fit on representations X (n, p) and labels y, the larger of two classes being *memorized*.

        Raises:
            ValueError: `y` does not hold exactly two classes, or the score of some row of X is undefined.
        """
        X, y = validate_data(self, X, y, ensure_min_features=2)
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            raise Refusal(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        if len(self.classes_) < 2:
            raise Refusal(f"y must hold two classes; got one class only, {self.classes_[0]!r}")
        positive = encoded == 1
        self._fit_scores(X, positive)
        scores = self._scores(X)
        self._refuse_undefined(scores)
        # The threshold is the score of a negative, which in another batch may come out a rounding error higher.
        rounding = _ROUNDING * np.max(np.abs(scores[np.isfinite(scores)]), initial=0)
        self.threshold_ = float(threshold_at_fpr(scores[~positive], self.fpr) + rounding)
        return self

    @staticmethod
    def _refuse_undefined(scores: np.ndarray) -> None:
        undefined = int(np.isnan(scores).sum())
        if undefined:
            raise Refusal(f"X must have a defined score in every row; got {undefined} rows that are zero or constant")

    def decision_function(self, X: Any) -> np.ndarray:
        """Score minus threshold, (n,): above 0 is memorized; NaN where the score is undefined, which never fires."""
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, reset=False))
        return self._scores(X) - self.threshold_

    def predict(self, X: Any) -> np.ndarray:
        """The class of every row, (n,)."""
        fires = self.decision_function(X) > 0
        return self.classes_[fires.astype(int)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True  # the threshold aims at a false positive rate, not at accuracy
        return tags


class SpikinessDetector(_Detector):
    """One oriented score with a threshold at a false positive rate.

    Args:
        statistic: From representations (n, p) to scores (n,), larger for memorized: one of `STATISTICS`, or your own.
        fpr: False positive rate allowed on the training negatives.

    >>> import numpy as np
    >>> from dae_theory import detection
    >>> representations, memorized = np.vstack([np.eye(4), np.ones((4, 4)) + np.eye(4)]), np.arange(8) < 4
    >>> detector = detection.SpikinessDetector(detection.max_share, fpr=0.01).fit(representations, memorized)
    >>> print(detector.predict(np.array([[0.0, 9.0, 0.0, 0.1], [1.0, 2.0, 1.0, 2.0]])))
    [ True False]
    """

    # scikit-learn wants constructors that take anything; `fit` refuses what is not allowed.
    def __init__(self, statistic: Any = participation_ratio, fpr: Any = 0.01):
        self.statistic = statistic
        self.fpr = fpr

    def _scores(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.statistic(X), dtype=float)


class CombinedDetector(_Detector):
    """Logistic regression on standardised scores, with a threshold at a false positive rate.

    Args:
        statistics: Sequence of the scores to combine, each from (n, p) to (n,); all of `STATISTICS` when None.
        fpr: False positive rate allowed on the training negatives.
        C: Inverse strength of the l2 penalty of the logistic regression.
    """

    def __init__(self, statistics: Any = None, fpr: Any = 0.01, C: Any = 1.0):
        self.statistics = statistics
        self.fpr = fpr
        self.C = C

    def _features(self, X: np.ndarray) -> np.ndarray:
        statistics = STATISTICS if self.statistics is None else self.statistics
        return np.stack([np.asarray(statistic(X), dtype=float) for statistic in statistics], axis=1)

    def _fit_scores(self, X: np.ndarray, positive: np.ndarray) -> None:
        features = self._features(X)
        self._refuse_undefined(features.sum(axis=1))
        self.scaler_ = StandardScaler().fit(features)
        self.logistic_ = LogisticRegression(C=self.C).fit(self.scaler_.transform(features), positive)

    def _scores(self, X: np.ndarray) -> np.ndarray:
        features = self._features(X)
        scores = np.full(len(features), np.nan)
        defined = ~np.isnan(features).any(axis=1)
        if defined.any():
            scores[defined] = self.logistic_.decision_function(self.scaler_.transform(features[defined]))
        return scores
