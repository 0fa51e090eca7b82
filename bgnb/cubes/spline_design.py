"""Sums over the bins of all cells for the fit of a spline, without its design matrix.

The design matrix has a row for each bin of each cell and a column for each coefficient, and is
never computed: each column is a product of functions of pointing, energy and field of view, so
that sums run over one axis after the other (Currie, Durbán and Eilers 2006, J. R. Statist. Soc. B
68, 259). Only one block of cells at a time has values in all bins. For the coefficients that all cells have in
common, the cells are added in weighted sums, one for each product of two functions of the pointing,
or for each cell if those are fewer. Those of the norms are eliminated from the normal equations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bgnb._util.arrays import Bools, Floats, Ints
from bgnb.cubes.cells import Cell
from bgnb.cubes.spline_basis import Parts

#: Names of the functions of pointing, energy and field of view of a term.
Term = tuple[str, str, str]
#: Cells, and a value in each of their bins, shape (cell, energy, pixel).
Block = tuple[slice, Floats]

# The basis with many columns. Sums over pixels are the last ones for it, and the first ones for all others.
_WIDE = "xy~"
# Number of bins of all cells in a block, about, and minimum number of cells.
_BLOCK, _BLOCK_CELLS = 2**20, 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Design:
    """Factors of the columns of the design matrix.

    The first column of each matrix is the constant 1. Vectors of coefficients contain those of the
    terms, and after them the first one of all norms, the second one of all norms, and so on.

    Parameters
    ----------
    pointing, energy, view : ndarray
        Functions of pointing, energy and field of view, with a row for each cell, energy and pixel.
    columns : ndarray of int, shape (3, p)
        Column of the three matrices for each coefficient of the terms.
    wide : ndarray of bool
        Columns of ``view`` of the basis with many columns.
    of_norms : ndarray of int
        Columns of ``energy`` for the coefficients of each norm.
    norm_of_cell : ndarray of int
        Number of the norm of each cell.
    """

    pointing: Floats
    energy: Floats
    view: Floats
    columns: Ints
    wide: Bools
    of_norms: Ints
    norm_of_cell: Ints

    @classmethod
    def of_terms(
        cls, parts: tuple[Parts, Parts, Parts], terms: Sequence[Term], of_norms: Sequence[str], norm_of_cell: Ints
    ) -> Design:
        """Make the design of terms, and of norms that are multiplied by functions of the energy."""
        names = [list(dict.fromkeys(used)) for used in zip(*terms, *(("1", e, "1") for e in of_norms), strict=True)]
        matrices = [[part[n] for n in used] for part, used in zip(parts, names, strict=True)]
        labels = [np.repeat(used, [one.shape[1] for one in of]) for used, of in zip(names, matrices, strict=True)]
        columns = [[np.flatnonzero(label == n) for label, n in zip(labels, term, strict=True)] for term in terms]
        pointing, energy, view = (np.concatenate(of, axis=1) for of in matrices)
        return cls(
            pointing=pointing,
            energy=energy,
            view=view,
            columns=np.concatenate([np.stack(np.meshgrid(*of, indexing="ij")).reshape(3, -1) for of in columns], axis=1),
            wide=labels[2] == _WIDE,
            of_norms=np.array([labels[1].tolist().index(e) for e in of_norms], dtype=int),
            norm_of_cell=norm_of_cell,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of cells, energies and pixels."""
        return len(self.pointing), len(self.energy), len(self.view)

    def split(self, values: Floats) -> tuple[Floats, Floats]:
        """Divide a vector of coefficients into those of terms, shape (p,), and of norms, shape (norm, k)."""
        n_terms, n_norms = self.columns.shape[1], self.norm_of_cell.max() + 1
        return values[:n_terms], values[n_terms:].reshape(-1, n_norms).T

    def blocks(self) -> Iterator[slice]:
        """Divide the cells into blocks."""
        n_cells, n_energies, n_pixels = self.shape
        size = max(_BLOCK // (n_energies * n_pixels), _BLOCK_CELLS)
        yield from (slice(first, min(first + size, n_cells)) for first in range(0, n_cells, size))

    def add_norms(self, values: Floats) -> Floats:
        """Add the values, shape (cell, ...), of the cells of each norm."""
        order = np.argsort(self.norm_of_cell, kind="stable")
        return np.add.reduceat(values[order], np.unique(self.norm_of_cell[order], return_index=True)[1])

    @cached_property
    def _pointing_pairs(self) -> tuple[Floats, Floats, Ints]:
        """Products of pairs of columns as an orthogonal times a triangular matrix, and the number of each pair."""
        products, number = _pairs(self.pointing)
        return *np.linalg.qr(products), number

    @cached_property
    def _energy_pairs(self) -> tuple[Floats, Ints]:
        return _pairs(self.energy)

    @cached_property
    def _view_pairs(self) -> tuple[Floats, Ints]:
        """Products of pairs of columns that are not wide, and the number of each pair; it is 0 for other pairs."""
        products, number = _pairs(self.view[:, ~self.wide])
        of_all = np.zeros((len(self.wide),) * 2, dtype=int)
        of_all[np.ix_(~self.wide, ~self.wide)] = number
        return products, of_all

    @cached_property
    def _energies_of_wide(self) -> Ints:
        """Columns of ``energy`` of terms with wide columns."""
        return np.unique(self.columns[1, self.wide[self.columns[2]]])


@dataclass(frozen=True, eq=False, kw_only=True)
class Information:
    """Fisher information: transposed design matrix · expected counts · design matrix.

    Parameters
    ----------
    shared : ndarray, shape (p, p)
        Of the coefficients of the terms.
    mixed : ndarray, shape (norm, k, p)
        Of the k coefficients of each norm with those of the terms.
    own : ndarray, shape (norm, k, k)
        Of the coefficients of each norm; it is zero between different norms.
    """

    shared: Floats
    mixed: Floats
    own: Floats

    @property
    def expected(self) -> Floats:
        """Transposed design matrix · expected counts: the row of the constant term."""
        return _joined(self.shared[0], self.mixed[:, :, 0])


def observed_counts(design: Design, cells: Sequence[Cell], inside: Floats) -> Iterator[Block]:
    """Return the counts in pixels with ``inside`` = 1, in blocks of cells."""
    for block in design.blocks():
        counts = np.stack([cell.stack.counts for cell in cells[block]]) * inside
        yield block, counts.reshape(len(counts), *design.shape[1:])


def expected_counts(design: Design, cells: Sequence[Cell], volume: Floats, coefficients: Floats) -> Iterator[Block]:
    """Compute the expected counts in blocks of cells.

    ``volume`` is the exposure per microsecond of livetime, shape (energy, pixel); coefficients are those of terms and norms.
    """
    of_terms, norms = design.split(coefficients)
    tensor = np.zeros([matrix.shape[1] for matrix in (design.pointing, design.energy, design.view)])
    np.add.at(tensor, tuple(design.columns), of_terms)
    common = design.energy @ tensor[0] @ design.view.T
    changing = tensor[1:].any(axis=(0, 1))
    tensor, view = tensor[1:, :, changing], np.ascontiguousarray(design.view[:, changing].T)
    of_cells = norms[design.norm_of_cell] @ design.energy[:, design.of_norms].T
    for block in design.blocks():
        along_energy = np.tensordot(design.pointing[block, 1:], tensor, 1)
        counts = (design.energy @ along_energy) @ view
        for values, of_cell, cell in zip(counts, of_cells[block], cells[block], strict=True):
            values += common
            values += of_cell[:, None]
            np.exp(np.clip(values, -700, 100, out=values), out=values)
            values *= cell.stack.livetime_us.reshape(values.shape)
            values *= volume
        yield block, counts


def project(design: Design, blocks: Iterable[Block]) -> Floats:
    """Multiply the transposed design matrix with the values in each bin of each cell."""
    n_cells, n_energies, n_pixels = design.shape
    summed, of_cells = np.zeros((design.pointing.shape[1], n_energies * n_pixels)), np.empty((n_cells, n_energies))
    for block, values in blocks:
        summed += design.pointing[block].T @ values.reshape(len(values), -1)
        of_cells[block] = values.sum(axis=2)
    projected = design.energy.T @ (summed.reshape(-1, n_energies, n_pixels) @ design.view)
    return _joined(projected[tuple(design.columns)], design.add_norms(of_cells @ design.energy[:, design.of_norms]))


def fisher_information(design: Design, blocks: Iterable[Block]) -> Information:
    """Compute the Fisher information from expected counts."""
    from scipy.linalg.blas import dgemm

    n_cells, n_energies, n_pixels = design.shape
    (orthogonal, *_), with_wide = design._pointing_pairs, design._energies_of_wide
    narrow, wide = (np.ascontiguousarray(design.view[:, which]) for which in (~design.wide, design.wide))
    of_norms = design.energy[:, design.of_norms]
    weights, weights_of_wide = (_products(of_norms, design.energy[:, which]).T for which in (slice(None), with_wide))
    maps = np.zeros((orthogonal.shape[1], n_energies * n_pixels))
    over_narrow = np.empty((n_cells, n_energies, narrow.shape[1]))
    over_wide = np.empty((n_cells, len(weights_of_wide), wide.shape[1]))
    for block, counts in blocks:
        # In place: maps += orthogonal[block].T @ counts
        maps = dgemm(1.0, counts.reshape(len(counts), -1).T, orthogonal[block], 1.0, maps.T, overwrite_c=True).T
        over_narrow[block] = counts @ narrow
        over_wide[block] = (weights_of_wide @ counts) @ wide

    # Sums for each cell, coefficient of a norm, column of the energy and column of the field of view.
    shape = (n_cells, len(design.of_norms))
    sums = np.zeros((*shape, design.energy.shape[1], len(design.wide)))
    sums[..., ~design.wide] = (weights @ over_narrow).reshape(*sums.shape[:3], narrow.shape[1])
    sums[:, :, with_wide[:, None], design.wide] = over_wide.reshape(*shape, len(with_wide), wide.shape[1])
    p, e, v = design.columns
    return Information(
        shared=_shared_information(design, maps.reshape(-1, n_energies, n_pixels)),
        mixed=design.add_norms(sums[:, :, e, v] * design.pointing[:, None, p]),
        own=design.add_norms(sums[:, :, design.of_norms, 0]),
    )


def _shared_information(design: Design, maps: Floats) -> Floats:
    """Compute the information of the coefficients of the terms from the sums over cells, shape (function, energy, pixel)."""
    _, of_pointing, p_pair = design._pointing_pairs
    (of_energy, e_pair), (of_view, v_pair) = design._energy_pairs, design._view_pairs
    p, e, v = design.columns
    in_pairs = np.tensordot(of_pointing.T, of_energy.T @ (maps @ of_view), 1)
    information = in_pairs[p_pair[p[:, None], p], e_pair[e[:, None], e], v_pair[v[:, None], v]]
    view = np.ascontiguousarray(design.view.T)
    for pointing, energy in sorted(set(zip(*design.columns[:2, design.wide[v]].tolist(), strict=True))):
        rows = np.flatnonzero((p == pointing) & (e == energy) & design.wide[v])
        over_cells = np.tensordot(of_pointing[:, p_pair[pointing]].T, maps, 1)
        weights = (design.energy * design.energy[:, [energy]]).T @ over_cells  # (pointing, energy, pixel)
        of_wide = (weights[p, e] * view[v]) @ design.view[:, v[rows]]
        information[:, rows], information[rows] = of_wide, of_wide.T
    return information


def solve(information: Information, strength: Floats, gradient: Floats) -> tuple[Floats, Floats, Floats]:
    """Solve the penalised normal equations, and invert their matrix.

    The coefficients of the norms are eliminated first (Schur complement), which needs the inverse of a
    small matrix for each norm.

    Parameters
    ----------
    information : Information
    strength : ndarray
        Penalties of terms and norms, which are added to the diagonal of the information.
    gradient : ndarray
        Right-hand side, likewise.

    Returns
    -------
    solution : ndarray
        Likewise.
    covariance : ndarray, shape (p, p)
        Inverse for the coefficients of the terms.
    covariance_of_norms : ndarray, shape (norm, k, k)
        Inverse for the coefficients of each norm.
    """
    from scipy.linalg import cho_factor, cho_solve

    n_norms, k, n_terms = information.mixed.shape
    of_terms, of_norms = gradient[:n_terms], gradient[n_terms:].reshape(k, n_norms).T
    inverse = np.linalg.inv(information.own + strength[n_terms:].reshape(k, n_norms).T[:, None] * np.eye(k))
    eliminated = inverse @ information.mixed
    flat = eliminated.reshape(-1, n_terms)
    factor = cho_factor(information.shared + np.diag(strength[:n_terms]) - information.mixed.reshape(flat.shape).T @ flat)
    solution = cho_solve(factor, of_terms - flat.T @ of_norms.ravel())
    covariance = cho_solve(factor, np.eye(n_terms))
    solution_of_norms = (inverse @ of_norms[..., None])[..., 0] - eliminated @ solution
    covariance_of_norms = inverse + eliminated @ covariance @ eliminated.transpose(0, 2, 1)
    return _joined(solution, solution_of_norms), covariance, covariance_of_norms


def _joined(of_terms: Floats, of_norms: Floats) -> Floats:
    """Make a vector from values for terms, shape (p,), and for norms, shape (norm, k)."""
    return np.concatenate([of_terms, of_norms.T.ravel()])


def _pairs(matrix: Floats) -> tuple[Floats, Ints]:
    """Multiply all pairs of columns of a matrix; return the products, and the number of that of each pair."""
    one, other = np.triu_indices(matrix.shape[1])
    number = np.empty((matrix.shape[1],) * 2, dtype=int)
    number[one, other] = number[other, one] = np.arange(len(one))
    return matrix[:, one] * matrix[:, other], number


def _products(one: Floats, other: Floats) -> Floats:
    """Multiply each column of a matrix with each of another, shape (row, column of one and column of the other)."""
    return (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
