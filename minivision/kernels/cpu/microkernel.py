"""The innermost loops of convolution, written in vector instructions: two small matrix products that live in registers.

    tile    y[r, i] = Σ_j w[r, j] · film[at_j + i]          forward and input gradient
    dot     dw[r, j] += Σ_i dy[r, i] · film[at_j + i]       weight gradient

`film` is a long row of numbers, and column j of the product is that row read from `at_j` on: the patches of im2col, never
written out (film.py). A tile of results stays in registers while j (or i) runs: 8 rows × 3 vectors need 24 of the 32
registers of AVX-512, three more hold a piece of film, one holds a weight copied to all lanes, and every number that was
loaded is used several times. That is all the trick of a fast matrix product: the processor's multipliers never wait.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minivision.kernels.cpu.vector import INDEX, REGISTERS, Pen

ROWS, VECTORS = (8, 3) if REGISTERS == 32 else (4, 3)               # of a tile
DOT_ROWS, DOT_COLUMNS = (4, 6) if REGISTERS == 32 else (3, 4)


def one_type(*arrays):
    """Whether they hold numbers of one type: vectors of another would be read from the same bytes. None refuses to compile."""
    return len({array.dtype for array in arrays}) == 1


@intrinsic
def clear(_, out, out0, n):
    """out[out0 + i] = 0 for i < n and from there to the end of the last vector."""
    def write(context, builder, signature, arguments):
        pen = Pen(context, builder, out)
        out_, out0_, n_ = arguments
        target, nothing = pen.at(pen.base(out, out_), out0_), ir.Constant(pen.vector, None)
        with cgutils.for_range(builder, builder.sdiv(builder.add(n_, INDEX(pen.lanes - 1)), INDEX(pen.lanes))) as loop:
            pen.store(nothing, target, builder.mul(loop.index, INDEX(pen.lanes)), pen.vector)
        return context.get_dummy_value()
    return types.void(out, types.intp, types.intp), write


def copy(step):
    """f(out, out0, ldout, x, x0, ldx, rows, n): out[out0 + r·ldout + i] = x[x0 + r·ldx + i·step] for r < rows and i < n.

    step: 1 or 2. Zeros follow to the end of a row's last vector, which the next row may overwrite; x is read no further than that.
    """
    @intrinsic
    def copy_rows(_, out, out0, ldout, x, x0, ldx, rows, n):
        if not one_type(out, x):
            return None

        def write(context, builder, signature, arguments):
            pen = Pen(context, builder, out)
            out_, out0_, ldout_, x_, x0_, ldx_, rows_, n_ = arguments
            out_, x_ = pen.at(pen.base(out, out_), out0_), pen.at(pen.base(x, x_), x0_)
            whole = builder.sdiv(builder.sub(n_, INDEX(1)), INDEX(pen.lanes))           # the last vector is read with a mask
            done = builder.mul(whole, INDEX(pen.lanes))
            last = builder.add(builder.mul(builder.sub(builder.sub(n_, done), INDEX(1)), INDEX(step)), INDEX(1))
            masks = [pen.first(builder.sub(last, INDEX(v * pen.lanes))) for v in range(step)]
            some = builder.icmp_signed(">", n_, INDEX(0))
            with cgutils.for_range(builder, builder.select(some, rows_, INDEX(0))) as row:
                target, source = pen.at(out_, builder.mul(row.index, ldout_)), pen.at(x_, builder.mul(row.index, ldx_))
                with cgutils.for_range(builder, whole) as loop:
                    i = builder.mul(loop.index, INDEX(pen.lanes))
                    seen = pen.at(source, builder.mul(i, INDEX(step)))
                    pieces = [pen.load(seen, v * pen.lanes, pen.vector) for v in range(step)]
                    pen.store(pen.every(step, pieces), target, i, pen.vector)
                seen = pen.at(source, builder.mul(done, INDEX(step)))
                pieces = [pen.load_some(seen, v * pen.lanes, mask) for v, mask in enumerate(masks)]
                pen.store(pen.every(step, pieces), target, done, pen.vector)
            return context.get_dummy_value()
        return types.void(out, types.intp, types.intp, x, types.intp, types.intp, types.intp, types.intp), write
    return copy_rows


def tile(rows, vectors):
    """f(y, ldy, w, w0, ldw, film, start, at, at0, J): y[r·ldy + i] = Σ_j w[w0 + r·ldw + j] · film[start + at[at0 + j] + i]

    for `rows` values of r and `vectors`·lanes values of i. y, w, film: flat arrays of one float type; at: whole numbers.
    Nothing checks the indices: the caller knows that they lie inside.
    """
    @intrinsic
    def product(_, y, ldy, w, w0, ldw, film, start, at, at0, J):
        if not one_type(y, w, film):
            return None

        def write(context, builder, signature, arguments):
            pen = Pen(context, builder, y)
            y_, ldy_, w_, w0_, ldw_, film_, start_, at_, at0_, J_ = arguments
            out, weights, cells, ats = (pen.base(t, v) for t, v in ((y, y_), (w, w_), (film, film_), (at, at_)))
            cells, ats = pen.at(cells, start_), pen.at(ats, at0_)
            row_of = [pen.at(weights, builder.add(w0_, builder.mul(ldw_, INDEX(r)))) for r in range(rows)]
            totals = [[pen.variable() for _ in range(vectors)] for _ in range(rows)]
            with cgutils.for_range(builder, J_) as loop:
                seen = pen.at(cells, builder.load(pen.at(ats, loop.index)))
                pieces = [pen.load(seen, v * pen.lanes, pen.vector) for v in range(vectors)]
                for weight, total in zip(row_of, totals):
                    same = pen.spread(pen.load(weight, loop.index))
                    for v in range(vectors):
                        pen.accumulate(total[v], same, pieces[v])
            for r in range(rows):
                for v in range(vectors):
                    place = builder.add(builder.mul(ldy_, INDEX(r)), INDEX(v * pen.lanes))
                    pen.store(builder.load(totals[r][v]), out, place, pen.vector)
            return context.get_dummy_value()
        return types.void(y, types.intp, w, types.intp, types.intp, film, types.intp, at, types.intp, types.intp), write
    return product


def dot(rows, columns):
    """f(dw, dw0, lddw, dy, dy0, lddy, film, at, at0, vectors):

        dw[dw0 + r·lddw + j] += Σ_i dy[dy0 + r·lddy + i] · film[at[at0 + j] + i]

    for `rows` values of r, `columns` values of j, and i over `vectors`·lanes numbers.
    """
    @intrinsic
    def product(_, dw, dw0, lddw, dy, dy0, lddy, film, at, at0, vectors):
        if not one_type(dw, dy, film):
            return None

        def write(context, builder, signature, arguments):
            pen = Pen(context, builder, dw)
            dw_, dw0_, lddw_, dy_, dy0_, lddy_, film_, at_, at0_, vectors_ = arguments
            out, slope, cells, ats = (pen.base(t, v) for t, v in ((dw, dw_), (dy, dy_), (film, film_), (at, at_)))
            row_of = [pen.at(slope, builder.add(dy0_, builder.mul(lddy_, INDEX(r)))) for r in range(rows)]
            seen = [pen.at(cells, builder.load(pen.at(ats, builder.add(at0_, INDEX(j))))) for j in range(columns)]
            totals = [[pen.variable() for _ in range(columns)] for _ in range(rows)]
            with cgutils.for_range(builder, vectors_) as loop:
                i = builder.mul(loop.index, INDEX(pen.lanes))
                slopes = [pen.load(row, i, pen.vector) for row in row_of]
                for j in range(columns):
                    piece = pen.load(seen[j], i, pen.vector)
                    for r in range(rows):
                        pen.accumulate(totals[r][j], slopes[r], piece)
            group = min(pen.lanes, 1 << (columns - 1).bit_length())         # columns that are summed together
            for r in range(rows):
                for first in range(0, columns, group):
                    some = totals[r][first:first + group]
                    sums = pen.sums(some + [pen.variable()] * (group - len(some)))
                    for j in range(len(some)):
                        place = pen.at(out, builder.add(dw0_, builder.add(builder.mul(lddw_, INDEX(r)), INDEX(first + j))))
                        builder.store(builder.fadd(builder.load(place), builder.extract_element(sums, ir.IntType(32)(j))), place)
            return context.get_dummy_value()
        return types.void(dw, types.intp, types.intp, dy, types.intp, types.intp, film, at, types.intp, types.intp), write
    return product


def sandwich(L, unzipped=False, zipped=False):
    """f(out, out0, ldout, x, start, ldx, vectors): out_ab = Σ_kl L[a,k] · x_kl · L[b,l], that is L·x·Lᵀ, for many small x at once.

    Entry kl of tile i is x[start + (k·n + l)·ldx + i], entry ab of its result out[out0 + (a·m + b)·ldout + i]; L is m×n and
    known when the loop is compiled, so that its zeros and ones cost nothing. i runs over `vectors`·lanes tiles.

    unzipped: x is a picture whose rows lie ldx apart, and tile i begins at its column 4·i: entry kl is x[start + k·ldx + 4i + l].
    zipped: the results are the 4×4 pixels of such a picture, out[out0 + a·ldout + 4i + b].
    """
    m, n = L.shape

    @intrinsic
    def transform(_, out, out0, ldout, x, start, ldx, vectors):
        if not one_type(out, x):
            return None

        def write(context, builder, signature, arguments):
            pen = Pen(context, builder, x)
            out_, out0_, ldout_, x_, start_, ldx_, vectors_ = arguments
            target, cells = pen.at(pen.base(out, out_), out0_), pen.at(pen.base(x, x_), start_)
            rows = [pen.at(cells, builder.mul(ldx_, INDEX(k))) for k in range(n if unzipped else n * n)]
            results = [pen.at(target, builder.mul(ldout_, INDEX(a))) for a in range(m if zipped else m * m)]
            with cgutils.for_range(builder, vectors_) as loop:
                i = builder.mul(loop.index, INDEX(pen.lanes))
                i4 = builder.mul(i, INDEX(4))
                half = []                                               # L·x, column by column
                if unzipped:
                    pieces = [pen.unzip(rows[k], i4)[:n] + (pen.unzip(rows[k], builder.add(i4, INDEX(4)))[:n - 4] if n > 4 else [])
                              for k in range(n)]
                    half = [pen.combine(L, [pieces[k][l] for k in range(n)]) for l in range(n)]
                else:
                    half = [pen.combine(L, [pen.load(rows[k * n + l], i, pen.vector) for k in range(n)]) for l in range(n)]
                for a in range(m):
                    values = pen.combine(L, [half[l][a] for l in range(n)])
                    if zipped:
                        for b, value in enumerate(pen.zip(values)):
                            pen.store(value, results[a], builder.add(i4, INDEX(b * pen.lanes)), pen.vector)
                    else:
                        for b, value in enumerate(values):
                            pen.store(value, results[a * m + b], i, pen.vector)
            return context.get_dummy_value()
        return types.void(out, types.intp, types.intp, x, types.intp, types.intp, types.intp), write
    return transform
