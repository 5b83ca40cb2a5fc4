// What every kernel file begins with. REAL is float, or double where the arrays are (for gradient checks).
#ifndef REAL
#define REAL float
#endif

// Each thread takes element i, and the one a whole grid further on, until all n are done.
#define FOR_EACH(i, n) \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); i += (long long)blockDim.x * gridDim.x)

// Threads of a block that sums or searches together.
#define THREADS 256

// The sum of every thread's `value`, known to all of them. `shared` has THREADS places. In halves: after the first round
// 128 threads hold sums of two, after the second 64 hold sums of four …; the order never changes, so neither do the bits.
__device__ inline REAL block_sum(REAL value, REAL* shared) {
    int i = threadIdx.x;
    shared[i] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (i < half) shared[i] += shared[i + half];
        __syncthreads();
    }
    REAL total = shared[0];
    __syncthreads();                        // nobody may overwrite it before all have read it
    return total;
}

__device__ inline REAL block_max(REAL value, REAL* shared) {
    int i = threadIdx.x;
    shared[i] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (i < half && shared[i + half] > shared[i]) shared[i] = shared[i + half];
        __syncthreads();
    }
    REAL largest = shared[0];
    __syncthreads();
    return largest;
}
