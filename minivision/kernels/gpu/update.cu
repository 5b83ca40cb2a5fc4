// The update rules over all parameters of a network in one launch.
//
// The arrays lie anywhere; a table holds their addresses, and `ends` where each one's entries end when all are counted through.
// A thread finds the array of its entry by halving.

__device__ inline int array_of(const long long* ends, int count, long long i) {
    int lo = 0, hi = count - 1;
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (i < ends[middle]) hi = middle; else lo = middle + 1;
    }
    return lo;
}

// d = g + decay·w      v ← momentum·v + d      w ← w − lr·(v, or d + momentum·v with Nesterov's step ahead)
extern "C" __global__
void sgd(const unsigned long long* __restrict__ w, const unsigned long long* __restrict__ g, const unsigned long long* __restrict__ v,
         const long long* __restrict__ ends, int count, REAL lr, REAL momentum, int nesterov, REAL decay) {
    FOR_EACH(i, ends[count - 1]) {
        int a = array_of(ends, count, i);
        long long at = a ? i - ends[a - 1] : i;
        REAL* weight = (REAL*)w[a] + at;
        REAL d = ((const REAL*)g[a])[at] + decay * *weight;
        if (momentum != 0) {
            REAL* speed = (REAL*)v[a] + at;
            REAL s = *speed = momentum * *speed + d;
            d = nesterov ? d + momentum * s : s;
        }
        *weight -= lr * d;
    }
}

// m ← m + (1−β₁)(d − m)      v ← v + (1−β₂)(d² − v)      w ← shrink·w − step·m / (√(v·correction) + eps)
extern "C" __global__
void adam(const unsigned long long* __restrict__ w, const unsigned long long* __restrict__ g, const unsigned long long* __restrict__ m,
          const unsigned long long* __restrict__ v, const long long* __restrict__ ends, int count, REAL step, REAL rest1, REAL rest2,
          REAL correction, REAL eps, REAL shrink, REAL decay) {
    FOR_EACH(i, ends[count - 1]) {
        int a = array_of(ends, count, i);
        long long at = a ? i - ends[a - 1] : i;
        REAL *weight = (REAL*)w[a] + at, *mean = (REAL*)m[a] + at, *square = (REAL*)v[a] + at;
        REAL d = ((const REAL*)g[a])[at] + decay * *weight;
        *mean += rest1 * (d - *mean);
        *square += rest2 * (d * d - *square);
        *weight = shrink * *weight - step * *mean / (sqrt(*square * correction) + eps);
    }
}
