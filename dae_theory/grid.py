"""Named axes <-> flat points <-> labelled results.

A grid is an ordered set of named axes; its points are the flat arrays that an ensemble runs over, in row-major order
(the last axis varies fastest); what comes back is reshaped and labelled as an `xarray.Dataset`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dae_theory.checks import Refusal


class Grid:
    """The product of named axes, for example `Grid(n=[2, 4, 8], p=[4, 16], seed=range(8))`.

    >>> from dae_theory import grid
    >>> axes = grid.Grid(n=[2, 4], p=[8, 16, 32])
    >>> axes.size, axes.points()["n"]
    (6, array([2, 2, 2, 4, 4, 4]))
    >>> dict(axes.dataset({"loss": range(6)}).sizes)
    {'n': 2, 'p': 3}
    """

    def __init__(self, **axes: Sequence[Any] | np.ndarray):
        if not axes:
            raise Refusal("axes must name at least one axis; got none")
        self.axes = {name: np.asarray(list(values)) for name, values in axes.items()}
        for name, values in self.axes.items():
            if values.ndim != 1 or values.size == 0:
                raise Refusal(f"axis {name} must be a non-empty list of scalars; got shape {values.shape}")
            if len(np.unique(values)) != values.size:
                raise Refusal(f"axis {name} must hold distinct values; got {values.tolist()}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, in order."""
        return tuple(values.size for values in self.axes.values())

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    def points(self) -> dict[str, np.ndarray]:
        """Flat coordinates: for every axis an array (size,), row-major."""
        mesh = np.meshgrid(*self.axes.values(), indexing="ij")
        return {name: values.ravel() for name, values in zip(self.axes, mesh, strict=True)}

    def dataset(self, flat: Mapping[str, Any], trailing: Mapping[str, Sequence[str]] | None = None) -> xr.Dataset:
        """Label flat results.

        Args:
            flat: name -> array (size, ...), in the order of `points`.
            trailing: name -> names of the axes behind the first, where there are any.

        Raises:
            ValueError: an array does not start with `size`, or its trailing axes are not named.
        """
        variables = {}
        for name, values in flat.items():
            values = np.asarray(values)
            names = tuple((trailing or {}).get(name, ()))
            if values.shape[:1] != (self.size,):
                raise Refusal(f"flat[{name!r}] must have a first axis of {self.size} points; got {values.shape}")
            if values.ndim != 1 + len(names):
                raise Refusal(f"trailing[{name!r}] must name {values.ndim - 1} axes; got {names}")
            variables[name] = ((*self.axes, *names), values.reshape(self.shape + values.shape[1:]))
        return xr.Dataset(variables, coords=self.axes)
