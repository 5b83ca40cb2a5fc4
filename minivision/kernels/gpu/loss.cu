// Softmax and cross-entropy of one row of scores: one block a row.
//
//     loss[n] = −Σ_k target[n,k]·ln p[n,k]      slope[n,k] = p[n,k]·Σ_j target[n,j] − target[n,k]      p = softmax(scores[n])
//
// ln p = score − largest − ln Σ e^(score − largest): e of nothing larger than 0, and no logarithm of a rounded-off 0.
extern "C" __global__ __launch_bounds__(THREADS)
void cross_entropy_rows(const REAL* __restrict__ scores, const REAL* __restrict__ target, REAL* __restrict__ loss,
                        REAL* __restrict__ slope, int K) {
    __shared__ REAL shared[THREADS];
    const REAL *s = scores + (size_t)blockIdx.x * K, *t = target + (size_t)blockIdx.x * K;
    REAL largest = s[0], sum = 0, weight = 0, total = 0;
    for (int k = threadIdx.x; k < K; k += THREADS) if (s[k] > largest) largest = s[k];
    largest = block_max(largest, shared);
    for (int k = threadIdx.x; k < K; k += THREADS) {
        sum += exp(s[k] - largest);
        weight += t[k];
    }
    sum = block_sum(sum, shared);
    weight = block_sum(weight, shared);
    REAL log_sum = log(sum);
    for (int k = threadIdx.x; k < K; k += THREADS) {
        if (t[k] > 0) total -= t[k] * (s[k] - largest - log_sum);       // a class that is masked by −∞ has target 0
        slope[(size_t)blockIdx.x * K + k] = weight > 0 ? weight * exp(s[k] - largest) / sum - t[k] : REAL(0);
    }
    total = block_sum(total, shared);
    if (threadIdx.x == 0) loss[blockIdx.x] = total;
}
