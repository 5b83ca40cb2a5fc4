// ReLU and its relatives, entry by entry.

extern "C" __global__
void relu(const REAL* __restrict__ x, REAL* __restrict__ y, long long n) {
    FOR_EACH(i, n) y[i] = x[i] < 0 ? REAL(0) : x[i];            // NaN is not less than 0, and stays
}

extern "C" __global__
void relu_gradient(const REAL* __restrict__ dy, const REAL* __restrict__ y, REAL* __restrict__ dx, long long n) {
    FOR_EACH(i, n) dx[i] = y[i] > 0 ? dy[i] : REAL(0);
}

extern "C" __global__
void bend(const REAL* __restrict__ x, REAL* __restrict__ y, REAL slope, REAL most, long long n) {
    FOR_EACH(i, n) {
        const REAL v = x[i] > 0 ? x[i] : slope == 0 && x[i] < 0 ? REAL(0) : slope * x[i];       // 0·∞ would be NaN
        y[i] = v > most ? most : v;                             // NaN is not greater, and stays
    }
}

extern "C" __global__
void bend_gradient(const REAL* __restrict__ dy, const REAL* __restrict__ y, REAL* __restrict__ dx, REAL slope, REAL most, long long n) {
    FOR_EACH(i, n) dx[i] = y[i] > 0 ? (y[i] < most ? dy[i] : REAL(0)) : slope * dy[i];
}
