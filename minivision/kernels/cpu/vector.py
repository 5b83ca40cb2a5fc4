"""Vector instructions for Numba: what the processor has, and a pen that writes LLVM's language.

Numba's Python knows numbers and arrays but no vectors. An `@intrinsic` may write the instructions of a loop itself; LLVM
makes of them what the processor has. AVX-512 has 32 registers of 16 float32, AVX 16 of 8, ARM 32 of 4.
"""

import platform

from llvmlite import binding, ir
from numba.core import cgutils

FEATURES = binding.get_host_cpu_features()
VECTOR_BYTES = 64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx") else 16
REGISTERS = 32 if FEATURES.get("avx512f") or platform.machine().lower() in ("arm64", "aarch64") else 16

INDEX, LANE = ir.IntType(64), ir.IntType(32)


class Pen:
    """Writes LLVM instructions on numbers of one type: a builder with the few words these kernels need."""

    def __init__(self, context, builder, array):
        self.context, self.builder = context, builder
        self.number = context.get_data_type(array.dtype)
        self.bytes = array.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.vector = ir.VectorType(self.number, self.lanes)
        self.suffix = f"v{self.lanes}f{8 * self.bytes}"

    def base(self, array, value):
        """Address of an array's first entry."""
        return self.context.make_array(array)(self.context, self.builder, value).data

    def at(self, base, index, kind=None):
        """Address of entry `index` after `base`, as a number or as the vector that begins there."""
        place = self.builder.gep(base, [INDEX(index) if isinstance(index, int) else index])
        return self.builder.bitcast(place, kind.as_pointer()) if kind else place

    def load(self, base, index, kind=None):
        return self.builder.load(self.at(base, index, kind), align=self.bytes)

    def first(self, count):
        """The mask of the first `count` lanes."""
        lanes = ir.VectorType(INDEX, self.lanes)
        one = self.builder.insert_element(ir.Constant(lanes, ir.Undefined), count, LANE(0))
        counts = self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(LANE, self.lanes), [0] * self.lanes))
        return self.builder.icmp_signed("<", ir.Constant(lanes, list(range(self.lanes))), counts)

    def load_some(self, base, index, mask):
        """The vector there, with zeros in the other lanes, which are not read."""
        pointer = self.vector.as_pointer()
        kind = ir.FunctionType(self.vector, [pointer, LANE, mask.type, self.vector])
        load = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.load.{self.suffix}.p0")
        return self.builder.call(load, [self.at(base, index, self.vector), LANE(self.bytes), mask, ir.Constant(self.vector, None)])

    def store_some(self, value, base, index, mask):
        """The lanes of the mask are written there, the others stay as they are."""
        kind = ir.FunctionType(ir.VoidType(), [self.vector, self.vector.as_pointer(), LANE, mask.type])
        store = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.store.{self.suffix}.p0")
        self.builder.call(store, [value, self.at(base, index, self.vector), LANE(self.bytes), mask])

    def store(self, value, base, index, kind=None):
        self.builder.store(value, self.at(base, index, kind), align=self.bytes)

    def spread(self, number):
        """A number copied to all lanes."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(nothing, number, LANE(0))
        return self.builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(LANE, self.lanes), [0] * self.lanes))

    def variable(self):
        """A vector of zeros that changes; LLVM keeps it in a register."""
        return cgutils.alloca_once_value(self.builder, ir.Constant(self.vector, None))

    def multiply_add(self, a, b, c):
        """a·b + c"""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        fused = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.{self.suffix}")
        return self.builder.call(fused, [a, b, c])

    def accumulate(self, total, a, b):
        """total += a·b"""
        self.builder.store(self.multiply_add(a, b, self.builder.load(total)), total)

    def combine(self, L, vectors):
        """[Σ_k L[a,k]·vectors[k] for each row a of L], without multiplying by 0, 1 or −1."""
        fast, results = ("contract", "nsz"), []
        for row in L:
            total = None
            for factor, vector in sorted(zip(row, vectors), key=lambda term: -term[0]):     # begin with one that is added
                if factor == 0:
                    continue
                plain = abs(factor) == 1
                term = vector if plain else self.builder.fmul(
                    ir.Constant(self.vector, [ir.Constant(self.number, float(factor))] * self.lanes), vector, flags=fast)
                if total is None:
                    total = self.builder.fneg(term) if factor == -1 else term
                else:
                    total = (self.builder.fsub if factor == -1 else self.builder.fadd)(total, term, flags=fast)
            results.append(total)
        return results

    def shuffle(self, a, b, order):
        """The entries of the vectors a and b, one after the other, in a new order."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(LANE, self.lanes), order))

    def every(self, step, vectors, first=0):
        """Every `step`-th number of one or two vectors, from `first` on."""
        return vectors[0] if step == 1 else self.shuffle(*vectors, list(range(first, 2 * self.lanes, 2)))

    def unzip(self, base, index):
        """Four vectors: every fourth number from `index`, from index + 1, from index + 2, from index + 3."""
        a, b, c, d = (self.load(base, self.builder.add(index, INDEX(v * self.lanes)), self.vector) for v in range(4))
        even, odd = list(range(0, 2 * self.lanes, 2)), list(range(1, 2 * self.lanes, 2))
        ab, cd = (self.shuffle(a, b, even), self.shuffle(a, b, odd)), (self.shuffle(c, d, even), self.shuffle(c, d, odd))
        return [self.shuffle(ab[l % 2], cd[l % 2], even if l < 2 else odd) for l in range(4)]

    def zip(self, vectors):
        """Undo `unzip`: [a0 b0 c0 d0 a1 …], four vectors."""
        half = self.lanes // 2
        turns = [[lane // 2 + start + self.lanes * (lane % 2) for lane in range(self.lanes)] for start in (0, half)]
        a, b, c, d = vectors
        ac, bd = [self.shuffle(a, c, turn) for turn in turns], [self.shuffle(b, d, turn) for turn in turns]
        return [self.shuffle(ac[v // 2], bd[v // 2], turns[v % 2]) for v in range(4)]

    def sums(self, totals):
        """The vector of the sums over the lanes of each of `totals`, a power of two of them and no more than there are lanes.

        Two vectors become one with half as many summands of each, and so on: fewer steps than summing each by itself.
        """
        vectors = [self.builder.load(total) for total in totals]
        while len(vectors) > 1:
            vectors = [self.add_pairs(a, b, self.lanes) for a, b in zip(vectors[::2], vectors[1::2])]
        vector, lanes = vectors[0], self.lanes
        while lanes > len(totals):
            lanes //= 2
            vector = self.add_pairs(vector, vector, lanes)
        return vector

    def add_pairs(self, a, b, lanes):
        """The first `lanes` sums of two neighbours each in a and b, one after the other."""
        even, odd = (ir.Constant(ir.VectorType(LANE, lanes), list(range(start, 2 * lanes, 2))) for start in (0, 1))
        first, second = self.builder.shuffle_vector(a, b, even), self.builder.shuffle_vector(a, b, odd)
        return self.builder.fadd(first, second)
