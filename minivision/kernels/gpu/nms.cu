// Greedy suppression in two steps: all pairs at once, as bits; then one pass over the bits.

#define WORD 64                         // boxes to a word of bits, and threads to a block

// Bit j of mask[i, word] = whether box i and box word·64 + j overlap by more than the threshold. One block compares 64 boxes with 64.
extern "C" __global__ __launch_bounds__(WORD)
void overlaps(const REAL* __restrict__ boxes, unsigned long long* __restrict__ mask, int R, int words, REAL threshold) {
    __shared__ REAL x1[WORD], y1[WORD], x2[WORD], y2[WORD];
    int me = threadIdx.x, i = blockIdx.y * WORD + me, first = blockIdx.x * WORD;
    if (first + me < R) {
        const REAL* box = boxes + 4 * (first + me);
        x1[me] = box[0], y1[me] = box[1], x2[me] = box[2], y2[me] = box[3];
    }
    __syncthreads();
    if (i >= R) return;
    REAL a1 = boxes[4 * i], b1 = boxes[4 * i + 1], a2 = boxes[4 * i + 2], b2 = boxes[4 * i + 3], area = (a2 - a1) * (b2 - b1);
    unsigned long long bits = 0;
    for (int j = 0; j < WORD && first + j < R; j++) {
        REAL width = min(a2, x2[j]) - max(a1, x1[j]), height = min(b2, y2[j]) - max(b1, y1[j]);
        REAL shared = max(width, REAL(0)) * max(height, REAL(0));
        if (shared / (area + (x2[j] - x1[j]) * (y2[j] - y1[j]) - shared) > threshold) bits |= 1ULL << j;
    }
    mask[(size_t)i * words + blockIdx.x] = bits;
}

// One block. Word after word: the first thread goes through its 64 boxes in order, then all threads strike out, in the words that
// follow, what the standing ones overlap. fallen (words,) starts at 0.
extern "C" __global__ __launch_bounds__(THREADS)
void sweep(const unsigned long long* __restrict__ mask, unsigned long long* __restrict__ fallen, int R, int words) {
    __shared__ unsigned long long standing;
    for (int word = 0; word < words; word++) {
        int first = word * WORD, boxes = min(WORD, R - first);
        if (threadIdx.x == 0) {
            unsigned long long down = fallen[word];
            for (int j = 0; j < boxes; j++)
                if (!(down >> j & 1)) {
                    unsigned long long later = j < WORD - 1 ? ~0ULL << (j + 1) : 0;
                    down |= mask[(size_t)(first + j) * words + word] & later;
                }
            fallen[word] = down;
            standing = ~down;
        }
        __syncthreads();
        for (int other = word + 1 + threadIdx.x; other < words; other += THREADS)
            for (int j = 0; j < boxes; j++)
                if (standing >> j & 1) fallen[other] |= mask[(size_t)(first + j) * words + other];
        __syncthreads();
    }
}
