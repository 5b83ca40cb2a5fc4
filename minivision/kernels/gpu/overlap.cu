// Intersection over union of every box of a (R,4) with every box of b (S,4): one thread an entry of out (R,S).

extern "C" __global__
void iou_matrix(const REAL* __restrict__ a, const REAL* __restrict__ b, REAL* __restrict__ out, int S, long long n) {
    FOR_EACH(i, n) {
        const REAL *p = a + 4 * (i / S), *q = b + 4 * (i % S);
        REAL width = min(p[2], q[2]) - max(p[0], q[0]), height = min(p[3], q[3]) - max(p[1], q[1]);
        REAL shared = max(width, REAL(0)) * max(height, REAL(0));
        REAL all = (p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - shared;
        out[i] = all > 0 ? shared / all : REAL(0);
    }
}
