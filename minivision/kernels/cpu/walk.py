"""The innermost loop of a depthwise convolution with 3×3 taps, in vector instructions: a vector of columns at a time, downwards.

The general sum over taps loads a vector of film for every multiplication, and most of these begin in the middle of a cache line:
loading, not multiplying, sets its speed. Down the image a row of film serves three rows of results while it is in registers.
"""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minivision.kernels.cpu.microkernel import one_type
from minivision.kernels.cpu.vector import INDEX, Pen


def walk_down(step):
    """f(y, ldy, rows, columns, film, start, width, w, w0, bias, least, most), for 3×3 taps with stride `step` 1 or 2:

        y[r·ldy + q] = min(most, max(least, bias + Σ_kl w[w0 + 3k + l] · film[start + (r·step + k)·width + q·step + l]))

    for r < rows and q < columns; no other entry of y is written. A vector of places at a time, from the top row down: a row of
    film is loaded once for all rows of results that it helps, and the nine weights stay in registers.
    """
    @intrinsic
    def product(_, y, ldy, rows, columns, film, start, width, w, w0, bias, least, most):
        if not one_type(y, w, film):
            return None

        def write(context, builder, signature, arguments):
            pen = Pen(context, builder, y)
            y_, ldy_, rows_, columns_, film_, start_, width_, w_, w0_, bias_, least_, most_ = arguments
            out, cells, weights = pen.base(y, y_), pen.at(pen.base(film, film_), start_), pen.at(pen.base(w, w_), w0_)
            w_kl = [[pen.spread(pen.load(weights, 3 * k + l)) for l in range(3)] for k in range(3)]
            bias_, least_, most_ = pen.spread(bias_), pen.spread(least_), pen.spread(most_)
            with cgutils.for_range(builder, builder.sdiv(builder.add(columns_, INDEX(pen.lanes - 1)), INDEX(pen.lanes))) as block:
                q = builder.mul(block.index, INDEX(pen.lanes))
                column, left = pen.at(cells, builder.mul(q, INDEX(step))), builder.sub(columns_, q)
                whole, mask = builder.icmp_signed(">=", left, INDEX(pen.lanes)), pen.first(left)

                def look(r):
                    """What the three taps of a row of film see."""
                    row = pen.at(column, builder.mul(r, width_))
                    if step == 1:
                        return [pen.load(row, l, pen.vector) for l in range(3)]
                    a, b, c, d = (pen.load(row, at, pen.vector) for at in (0, pen.lanes, 2, pen.lanes + 2))
                    return [pen.every(2, [a, b]), pen.every(2, [a, b], 1), pen.every(2, [c, d])]

                def add(total, k, row):
                    for l in range(3):
                        total = pen.multiply_add(w_kl[k][l], row[l], total)
                    return total

                begun, half = pen.variable(), pen.variable()    # what rows above gave to the next result and to the one after
                above = [look(INDEX(r)) for r in range(3 - step)]
                builder.store(add(bias_, 0, above[0]) if step == 2 else add(add(bias_, 0, above[0]), 1, above[1]), begun)
                if step == 1:
                    builder.store(add(bias_, 0, above[1]), half)
                with cgutils.for_range(builder, rows_) as loop:
                    r = builder.mul(loop.index, INDEX(step))
                    total, row = builder.load(begun), look(builder.add(r, INDEX(2)))
                    if step == 1:
                        builder.store(add(builder.load(half), 1, row), begun)
                        builder.store(add(bias_, 0, row), half)
                    else:
                        total = add(total, 1, look(builder.add(r, INDEX(1))))
                        builder.store(add(bias_, 0, row), begun)
                    total = add(total, 2, row)
                    total = builder.select(builder.fcmp_ordered("<", total, least_), least_, total)         # NaN stays
                    total = builder.select(builder.fcmp_ordered(">", total, most_), most_, total)
                    place = builder.add(builder.mul(loop.index, ldy_), q)
                    with builder.if_else(whole) as (full, part):
                        with full:
                            pen.store(total, out, place, pen.vector)
                        with part:
                            pen.store_some(total, out, place, mask)
            return context.get_dummy_value()
        size = types.intp
        return types.void(y, size, size, size, film, size, size, w, size, y.dtype, y.dtype, y.dtype), write
    return product
