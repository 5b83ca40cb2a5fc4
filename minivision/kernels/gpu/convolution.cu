// Convolution and its two gradients as matrix products whose patches are never written down (implicit im2col).
//
//     y = w·cols         dw = dy·colsᵀ         dx = gather of wᵀ·dy
//
// A block computes a 64×64 tile of the product: its 256 threads fetch 64×16 numbers of either factor into shared memory, wait
// for each other, and each adds up a 4×4 piece in registers. Every number fetched is used 64 times.

#define TILE 64
#define DEPTH 16
#define PIECE 4                         // a thread's share of the tile: PIECE × PIECE

// Where a window stands: tap (k, l) of place (p, q) sees pixel (p·s + k·d − top, q·t + l·e − left).

// One tile of C (M,N) = A (M,K) · B (K,N), summed over k0 … k1. a(m, k) and b(k, n) fetch, store(m, n, value) keeps.
template <class A, class B, class Store>
__device__ void tiled_product(REAL (*shared_a)[TILE + 1], REAL (*shared_b)[TILE], int M, int N, int k0, int k1, A a, B b, Store store) {
    int thread = threadIdx.x, row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    int my_row = thread / (TILE / PIECE) * PIECE, my_column = thread % (TILE / PIECE);
    REAL sum[PIECE][PIECE] = {};
    for (int k = k0; k < k1; k += DEPTH) {
        int i = thread % DEPTH, j = thread % TILE;
        for (int m = thread / DEPTH; m < TILE; m += THREADS / DEPTH)
            shared_a[i][m] = row + m < M && k + i < k1 ? a(row + m, k + i) : REAL(0);
        for (int d = thread / TILE; d < DEPTH; d += THREADS / TILE)
            shared_b[d][j] = column + j < N && k + d < k1 ? b(k + d, column + j) : REAL(0);
        __syncthreads();                // both pieces are complete
        for (int d = 0; d < DEPTH; d++) {
            REAL x[PIECE], y[PIECE];
            for (int u = 0; u < PIECE; u++) {
                x[u] = shared_a[d][my_row + u];
                y[u] = shared_b[d][my_column + u * (TILE / PIECE)];
            }
            for (int u = 0; u < PIECE; u++)
                for (int v = 0; v < PIECE; v++) sum[u][v] += x[u] * y[v];
        }
        __syncthreads();                // all have used them: the next may be fetched
    }
    for (int u = 0; u < PIECE; u++)
        for (int v = 0; v < PIECE; v++) {
            int m = row + my_row + u, n = column + my_column + v * (TILE / PIECE);
            if (m < M && n < N) store(m, n, sum[u][v]);
        }
}

// y[n,o,p,q] = b[o] + Σ_ckl w[o,c,k,l]·x[n,c,·,·]: rows of the product are filters of group z, columns are places of all images.
extern "C" __global__ __launch_bounds__(THREADS)
void correlate(const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ b, REAL* __restrict__ y,
               int N, int C, int O, int H, int W, int K, int L, int P, int Q, int s, int t, int top, int left, int d, int e,
               int has_bias) {
    __shared__ REAL shared_a[DEPTH][TILE + 1], shared_b[DEPTH][TILE];
    int group = blockIdx.z, groups = gridDim.z, taps = K * L, inner = C * taps;         // C and O: of one group
    const REAL* filters = w + (size_t)group * O * inner;
    auto filter = [=](int o, int j) { return filters[(size_t)o * inner + j]; };
    auto pixel = [=](int j, int place) {
        int n = place / (P * Q), p = place / Q % P, q = place % Q, c = j / taps, k = j / L % K, l = j % L;
        int i = p * s + k * d - top, h = q * t + l * e - left;
        return i >= 0 && i < H && h >= 0 && h < W ? x[(((size_t)n * groups + group) * C + c) * H * W + (size_t)i * W + h] : REAL(0);
    };
    auto keep = [=](int o, int place, REAL value) {
        int n = place / (P * Q);
        y[(((size_t)n * groups + group) * O + o) * P * Q + place % (P * Q)] = value + (has_bias ? b[group * O + o] : REAL(0));
    };
    tiled_product(shared_a, shared_b, O, N * P * Q, 0, inner, filter, pixel, keep);
}

// dx[n,c,i,h] = Σ_okl w[o,c,k,l]·dy[n,o,p,q] over the places whose tap (k, l) sees pixel (i, h).
extern "C" __global__ __launch_bounds__(THREADS)
void correlate_input_gradient(const REAL* __restrict__ dy, const REAL* __restrict__ w, REAL* __restrict__ dx,
                              int N, int C, int O, int H, int W, int K, int L, int P, int Q, int s, int t, int top, int left,
                              int d, int e) {
    __shared__ REAL shared_a[DEPTH][TILE + 1], shared_b[DEPTH][TILE];
    int group = blockIdx.z, groups = gridDim.z, taps = K * L;
    auto filter = [=](int c, int j) {
        int o = j / taps, tap = j % taps;
        return w[(((size_t)group * O + o) * C + c) * taps + tap];
    };
    auto slope = [=](int j, int pixel) {
        int n = pixel / (H * W), i = pixel / W % H, h = pixel % W, o = j / taps, k = j / L % K, l = j % L;
        int p = i + top - k * d, q = h + left - l * e;                                 // s and t times the place
        if (p < 0 || q < 0 || p % s || q % t || p / s >= P || q / t >= Q) return REAL(0);
        return dy[(((size_t)n * groups + group) * O + o) * P * Q + (size_t)(p / s) * Q + q / t];
    };
    auto keep = [=](int c, int pixel, REAL value) {
        dx[(((size_t)(pixel / (H * W)) * groups + group) * C + c) * H * W + pixel % (H * W)] = value;
    };
    tiled_product(shared_a, shared_b, C, N * H * W, 0, O * taps, filter, slope, keep);
}

// parts[z,o,ckl] = Σ_npq dy[n,o,p,q]·x[n,c,·,·] over the z-th share of the places of one group; add_parts adds the shares up.
extern "C" __global__ __launch_bounds__(THREADS)
void correlate_weight_gradient(const REAL* __restrict__ dy, const REAL* __restrict__ x, REAL* __restrict__ parts,
                               int N, int C, int O, int H, int W, int K, int L, int P, int Q, int s, int t, int top, int left,
                               int d, int e, int group, int groups, int share) {
    __shared__ REAL shared_a[DEPTH][TILE + 1], shared_b[DEPTH][TILE];
    int taps = K * L, inner = C * taps, places = N * P * Q, first = blockIdx.z * share;
    auto slope = [=](int o, int place) {
        return dy[(((size_t)(place / (P * Q)) * groups + group) * O + o) * P * Q + place % (P * Q)];
    };
    auto pixel = [=](int place, int j) {
        int n = place / (P * Q), p = place / Q % P, q = place % Q, c = j / taps, k = j / L % K, l = j % L;
        int i = p * s + k * d - top, h = q * t + l * e - left;
        return i >= 0 && i < H && h >= 0 && h < W ? x[(((size_t)n * groups + group) * C + c) * H * W + (size_t)i * W + h] : REAL(0);
    };
    auto keep = [=](int o, int j, REAL value) { parts[((size_t)blockIdx.z * O + o) * inner + j] = value; };
    tiled_product(shared_a, shared_b, O, inner, first, min(places, first + share), slope, pixel, keep);
}

// total[i] = Σ_z parts[z,i], always in the same order
extern "C" __global__
void add_parts(const REAL* __restrict__ parts, REAL* __restrict__ total, int n, int count) {
    FOR_EACH(i, n) {
        REAL sum = 0;
        for (int z = 0; z < count; z++) sum += parts[(size_t)z * n + i];
        total[i] = sum;
    }
}

// The formula and nothing else: one thread an output. Every thread fetches all its pixels and weights from memory by itself.
extern "C" __global__
void correlate_plain(const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ b, REAL* __restrict__ y,
                     int N, int C, int O, int H, int W, int K, int L, int P, int Q, int s, int t, int top, int left, int d, int e,
                     int has_bias, int groups) {
    FOR_EACH(index, (long long)N * groups * O * P * Q) {
        int q = index % Q, p = index / Q % P, o = index / Q / P % (groups * O), n = index / Q / P / (groups * O), group = o / O;
        REAL sum = has_bias ? b[o] : REAL(0);
        for (int c = 0; c < C; c++)
            for (int k = 0; k < K; k++)
                for (int l = 0; l < L; l++) {
                    int i = p * s + k * d - top, h = q * t + l * e - left;
                    if (i >= 0 && i < H && h >= 0 && h < W)
                        sum += w[(((size_t)o * C + c) * K + k) * L + l] * x[(((size_t)n * groups + group) * C + c) * H * W + (size_t)i * W + h];
                }
        y[index] = sum;
    }
}
