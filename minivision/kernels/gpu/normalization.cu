// Batch normalisation: one block a channel where sums are formed, one thread a number where they are used.
// x, y, r, dy (N,C,M) with M = H·W pixels.      x̂ = (x − mean)·inverse

// Mean and variance of every channel, in two passes: sums of squares about zero would cancel.
extern "C" __global__ __launch_bounds__(THREADS)
void moments(const REAL* __restrict__ x, REAL* __restrict__ mean, REAL* __restrict__ variance, REAL* __restrict__ inverse,
             int N, int C, int M, REAL eps) {
    __shared__ REAL shared[THREADS];
    int c = blockIdx.x;
    long long m = (long long)N * M;
    REAL sum = 0;
    for (long long i = threadIdx.x; i < m; i += THREADS) sum += x[(i / M * C + c) * M + i % M];
    REAL centre = block_sum(sum, shared) / m, squares = 0;
    for (long long i = threadIdx.x; i < m; i += THREADS) {
        REAL d = x[(i / M * C + c) * M + i % M] - centre;
        squares += d * d;
    }
    squares = block_sum(squares, shared) / m;
    if (threadIdx.x == 0) {
        mean[c] = centre;
        variance[c] = squares;
        inverse[c] = 1 / sqrt(squares + eps);
    }
}

// y = γ·x̂ + β, plus r where has_r, no less than 0 where rectified.
extern "C" __global__
void normalize(const REAL* __restrict__ x, const REAL* __restrict__ mean, const REAL* __restrict__ inverse,
               const REAL* __restrict__ gamma, const REAL* __restrict__ beta, const REAL* __restrict__ r, REAL* __restrict__ y,
               int N, int C, int M, int has_r, int rectified) {
    FOR_EACH(i, (long long)N * C * M) {
        int c = i / M % C;
        REAL v = gamma[c] * inverse[c] * (x[i] - mean[c]) + beta[c];
        if (has_r) v += r[i];
        y[i] = rectified && v < 0 ? REAL(0) : v;
    }
}

// dβ = Σ dy and dγ = Σ dy·x̂ of every channel; where rectified, dy counts only where y > 0, and what counts is kept in dz.
extern "C" __global__ __launch_bounds__(THREADS)
void normalize_sums(const REAL* __restrict__ dy, const REAL* __restrict__ y, const REAL* __restrict__ x,
                    const REAL* __restrict__ mean, const REAL* __restrict__ inverse, REAL* __restrict__ dz,
                    REAL* __restrict__ dgamma, REAL* __restrict__ dbeta, int N, int C, int M, int rectified) {
    __shared__ REAL shared[THREADS];
    int c = blockIdx.x;
    REAL sum = 0, product = 0, centre = mean[c];
    for (long long i = threadIdx.x; i < (long long)N * M; i += THREADS) {
        long long at = (i / M * C + c) * M + i % M;
        REAL slope = rectified && !(y[at] > 0) ? REAL(0) : dy[at];
        if (rectified) dz[at] = slope;
        sum += slope;
        product += slope * (x[at] - centre);
    }
    sum = block_sum(sum, shared);
    product = block_sum(product, shared);
    if (threadIdx.x == 0) {
        dbeta[c] = sum;
        dgamma[c] = product * inverse[c];
    }
}

// dx = γ/σ·(dz − dβ/m − x̂·dγ/m), m = N·M
extern "C" __global__
void normalize_gradient(const REAL* __restrict__ dz, const REAL* __restrict__ x, const REAL* __restrict__ gamma,
                        const REAL* __restrict__ mean, const REAL* __restrict__ inverse, const REAL* __restrict__ dgamma,
                        const REAL* __restrict__ dbeta, REAL* __restrict__ dx, int N, int C, int M) {
    REAL m = (REAL)N * M;
    FOR_EACH(i, (long long)N * C * M) {
        int c = i / M % C;
        dx[i] = gamma[c] * inverse[c] * (dz[i] - dbeta[c] / m - (x[i] - mean[c]) * inverse[c] * dgamma[c] / m);
    }
}
