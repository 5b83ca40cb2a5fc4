// Bilinear interpolation to another size; one thread an output, and backwards one thread an input.

// Position of output i along an axis of n inputs and m outputs, within 0 … n − 1.
__device__ inline REAL position(int i, int n, int m, int corners) {
    REAL at = corners ? i * (REAL(n - 1) / max(1, m - 1)) : (i + REAL(0.5)) * n / m - REAL(0.5);
    return min(max(at, REAL(0)), REAL(n - 1));
}

// How much of input h is in an output that lies at `at`.
__device__ inline REAL share(REAL at, int h) { return max(REAL(0), REAL(1 - fabs(at - h))); }

extern "C" __global__
void upsample_bilinear(const REAL* __restrict__ x, REAL* __restrict__ y, long long M, int H, int W, int P, int Q, int corners) {
    FOR_EACH(index, M * P * Q) {
        REAL u = position(index / Q % P, H, P, corners), v = position(index % Q, W, Q, corners);
        int i = (int)u, j = (int)v, below = min(i + 1, H - 1), right = min(j + 1, W - 1);
        const REAL* map = x + index / Q / P * H * W;
        REAL a = u - i, b = v - j;
        y[index] = (1 - a) * ((1 - b) * map[(size_t)i * W + j] + b * map[(size_t)i * W + right])
                 + a * ((1 - b) * map[(size_t)below * W + j] + b * map[(size_t)below * W + right]);
    }
}

// The outputs within one input of h: first … last − 1. At the borders all that were moved there belong to it.
__device__ inline void reach(int h, int n, int m, int corners, int* first, int* last) {
    REAL step = corners ? (n > 1 ? REAL(m - 1) / (n - 1) : REAL(m)) : REAL(m) / n, shift = corners ? REAL(0) : REAL(0.5);
    *first = h == 0 ? 0 : max(0, (int)((h - 1 + shift) * step - shift) - 1);
    *last = h == n - 1 ? m : min(m, (int)((h + 1 + shift) * step - shift) + 2);
}

extern "C" __global__
void upsample_bilinear_gradient(const REAL* __restrict__ dy, REAL* __restrict__ dx, long long M, int H, int W, int P, int Q, int corners) {
    FOR_EACH(index, M * H * W) {
        int h = index / W % H, w = index % W, p0, p1, q0, q1;
        reach(h, H, P, corners, &p0, &p1);
        reach(w, W, Q, corners, &q0, &q1);
        const REAL* slope = dy + index / W / H * P * Q;
        REAL sum = 0;
        for (int p = p0; p < p1; p++) {
            REAL a = share(position(p, H, P, corners), h);
            for (int q = q0; q < q1; q++) sum += a * share(position(q, W, Q, corners), w) * slope[(size_t)p * Q + q];
        }
        dx[index] = sum;
    }
}
