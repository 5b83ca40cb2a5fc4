// Pooling. Forwards one thread an output; backwards one thread a pixel, which collects from the windows that saw it: no two
// threads write to the same place, so nothing depends on their order.

// Largest pixel of every window and the tap that saw it. x (M,H,W) → y, winner (M,P,Q); padding never wins, NaN always does.
extern "C" __global__
void max_pool(const REAL* __restrict__ x, REAL* __restrict__ y, unsigned char* __restrict__ winner,
              int M, int H, int W, int P, int Q, int K, int L, int s, int t, int top, int left) {
    FOR_EACH(index, (long long)M * P * Q) {
        int q = index % Q, p = index / Q % P;
        const REAL* image = x + index / Q / P * H * W;
        REAL best = 0;
        int at = -1;
        for (int k = 0; k < K; k++)
            for (int l = 0; l < L; l++) {
                int i = p * s + k - top, j = q * t + l - left;
                if (i < 0 || i >= H || j < 0 || j >= W) continue;
                REAL v = image[(size_t)i * W + j];
                if (at < 0 || v > best || (v != v && best == best)) best = v, at = k * L + l;
            }
        y[index] = best;
        winner[index] = at;
    }
}

// dx[m,i,j] = Σ dy of the windows that (i, j) won.
extern "C" __global__
void max_pool_gradient(const REAL* __restrict__ dy, const unsigned char* __restrict__ winner, REAL* __restrict__ dx,
                       int M, int H, int W, int P, int Q, int K, int L, int s, int t, int top, int left) {
    FOR_EACH(index, (long long)M * H * W) {
        int j = index % W, i = index / W % H;
        size_t image = index / W / H * P * Q;
        REAL sum = 0;
        for (int k = 0; k < K; k++)
            for (int l = 0; l < L; l++) {
                int p = i + top - k, q = j + left - l;                  // s and t times the place whose tap (k, l) sees us
                if (p < 0 || q < 0 || p % s || q % t || p / s >= P || q / t >= Q) continue;
                size_t place = image + (size_t)(p / s) * Q + q / t;
                if (winner[place] == k * L + l) sum += dy[place];
            }
        dx[index] = sum;
    }
}

extern "C" __global__
void sum_pool(const REAL* __restrict__ x, REAL* __restrict__ y,
              int M, int H, int W, int P, int Q, int K, int L, int s, int t, int top, int left) {
    FOR_EACH(index, (long long)M * P * Q) {
        int q = index % Q, p = index / Q % P;
        const REAL* image = x + index / Q / P * H * W;
        REAL sum = 0;
        for (int i = max(0, p * s - top); i < min(H, p * s - top + K); i++)
            for (int j = max(0, q * t - left); j < min(W, q * t - left + L); j++) sum += image[(size_t)i * W + j];
        y[index] = sum;
    }
}

extern "C" __global__
void sum_pool_gradient(const REAL* __restrict__ dy, REAL* __restrict__ dx,
                       int M, int H, int W, int P, int Q, int K, int L, int s, int t, int top, int left) {
    FOR_EACH(index, (long long)M * H * W) {
        int j = index % W, i = index / W % H;
        size_t image = index / W / H * P * Q;
        REAL sum = 0;
        for (int k = 0; k < K; k++)
            for (int l = 0; l < L; l++) {
                int p = i + top - k, q = j + left - l;
                if (p < 0 || q < 0 || p % s || q % t || p / s >= P || q / t >= Q) continue;
                sum += dy[image + (size_t)(p / s) * Q + q / t];
            }
        dx[index] = sum;
    }
}
