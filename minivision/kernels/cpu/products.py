"""The two matrix products of microkernel.py for any number of rows and columns: whole tiles, and what is left over."""

from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.microkernel import DOT_COLUMNS, DOT_ROWS, ROWS, VECTORS, dot, tile
from minivision.kernels.cpu.vector import VECTOR_BYTES

wide, narrow, wide_row, narrow_row = tile(ROWS, VECTORS), tile(ROWS, 1), tile(1, 6), tile(1, 1)
dots, dots_column, dots_row, one_dot = dot(DOT_ROWS, DOT_COLUMNS), dot(DOT_ROWS, 1), dot(1, DOT_COLUMNS), dot(1, 1)


@compiled
def strip_of_products(out, length, w, w0, J, film, start, starts, n, rows):
    """out[r·length + i] = Σ_j w[w0 + r·J + j] · film[start + starts[j] + i] for r < rows (ROWS or 1) and i < n.

    In whole vectors: what remains of the last one is written behind n, and as far behind the film is read.
    """
    i, lanes = 0, VECTOR_BYTES // film.itemsize
    while i < n:
        if rows > 1 and i + (VECTORS - 1) * lanes < n:
            wide(out[i:], length, w, w0, J, film, start + i, starts, 0, J)
            i += VECTORS * lanes
        elif rows > 1:
            narrow(out[i:], length, w, w0, J, film, start + i, starts, 0, J)
            i += lanes
        elif i + 5 * lanes < n:
            wide_row(out[i:], 0, w, w0, J, film, start + i, starts, 0, J)
            i += 6 * lanes
        else:
            narrow_row(out[i:], 0, w, w0, J, film, start + i, starts, 0, J)
            i += lanes


@compiled
def add_dots(out, out0, ldout, dy, length, rows, film, starts, J, vectors):
    """out[out0 + r·ldout + j] += Σ_i dy[r·length + i] · film[starts[j] + i] for r < rows, j < J, over `vectors` vectors."""
    r = 0
    while r < rows:
        many, j = r + DOT_ROWS <= rows, 0
        while j < J:
            place = out0 + r * ldout + j
            if many and j + DOT_COLUMNS <= J:
                dots(out, place, ldout, dy, r * length, length, film, starts, j, vectors)
            elif j + DOT_COLUMNS <= J:
                dots_row(out, place, ldout, dy, r * length, length, film, starts, j, vectors)
            elif many:
                dots_column(out, place, ldout, dy, r * length, length, film, starts, j, vectors)
            else:
                one_dot(out, place, ldout, dy, r * length, length, film, starts, j, vectors)
            j += DOT_COLUMNS if j + DOT_COLUMNS <= J else 1
        r += DOT_ROWS if many else 1
