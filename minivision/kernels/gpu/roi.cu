// RoI Align and RoI pooling: one thread an output. boxes (R,4) on the map, image (R,) which of the N maps.

// A sampling point along one axis: pixels `low` and `high` and their shares, 0 beyond the map by more than a pixel.
struct Point { int low, high; REAL low_share, high_share; };

__device__ inline Point point(double start, double length, int n, int i, int number) {
    double at = start + length * ((i + 0.5) / number);
    bool inside = at >= -1 && at <= n;
    at = at < 0 ? 0 : at > n - 1 ? n - 1 : at;
    int low = (int)at;
    REAL high_share = inside ? REAL(at - low) : REAL(0);
    return {low, low + 1 < n ? low + 1 : n - 1, inside ? 1 - high_share : REAL(0), high_share};
}

// y[r,c,p,q]: the mean of samples² points of bin (p, q), each interpolated between four pixels
extern "C" __global__
void roi_align(const REAL* __restrict__ x, const double* __restrict__ boxes, const int* __restrict__ image, REAL* __restrict__ y,
               int R, int C, int H, int W, int P, int Q, int samples) {
    FOR_EACH(index, (long long)R * C * P * Q) {
        int q = index % Q, p = index / Q % P, c = index / Q / P % C, r = index / Q / P / C;
        const double* box = boxes + 4 * r;
        const REAL* map = x + ((size_t)image[r] * C + c) * H * W;
        REAL sum = 0;
        for (int i = 0; i < samples; i++) {
            Point a = point(box[1], box[3] - box[1], H, p * samples + i, P * samples);
            for (int j = 0; j < samples; j++) {
                Point b = point(box[0], box[2] - box[0], W, q * samples + j, Q * samples);
                sum += a.low_share * (b.low_share * map[(size_t)a.low * W + b.low] + b.high_share * map[(size_t)a.low * W + b.high])
                     + a.high_share * (b.low_share * map[(size_t)a.high * W + b.low] + b.high_share * map[(size_t)a.high * W + b.high]);
            }
        }
        y[index] = sum / (samples * samples);
    }
}

// dx += each output's dy, to the pixels that it was interpolated from. Boxes overlap, so threads add atomically: the order, and with
// it the last bits, may differ from run to run.
extern "C" __global__
void roi_align_gradient(const REAL* __restrict__ dy, const double* __restrict__ boxes, const int* __restrict__ image,
                        REAL* __restrict__ dx, int R, int C, int H, int W, int P, int Q, int samples) {
    FOR_EACH(index, (long long)R * C * P * Q) {
        int q = index % Q, p = index / Q % P, c = index / Q / P % C, r = index / Q / P / C;
        const double* box = boxes + 4 * r;
        REAL* map = dx + ((size_t)image[r] * C + c) * H * W;
        REAL slope = dy[index] / (samples * samples);
        for (int i = 0; i < samples; i++) {
            Point a = point(box[1], box[3] - box[1], H, p * samples + i, P * samples);
            for (int j = 0; j < samples; j++) {
                Point b = point(box[0], box[2] - box[0], W, q * samples + j, Q * samples);
                atomicAdd(&map[(size_t)a.low * W + b.low], slope * a.low_share * b.low_share);
                atomicAdd(&map[(size_t)a.low * W + b.high], slope * a.low_share * b.high_share);
                atomicAdd(&map[(size_t)a.high * W + b.low], slope * a.high_share * b.low_share);
                atomicAdd(&map[(size_t)a.high * W + b.high], slope * a.high_share * b.high_share);
            }
        }
    }
}

// Largest pixel of bin (p, q): rows h0 … h1, columns w0 … w1; 0 and −1 of an empty one.
extern "C" __global__
void roi_pool(const REAL* __restrict__ x, const int* __restrict__ h0, const int* __restrict__ h1, const int* __restrict__ w0,
              const int* __restrict__ w1, const int* __restrict__ image, REAL* __restrict__ y, int* __restrict__ winner,
              int R, int C, int H, int W, int P, int Q) {
    FOR_EACH(index, (long long)R * C * P * Q) {
        int q = index % Q, p = index / Q % P, c = index / Q / P % C, r = index / Q / P / C, at = -1;
        const REAL* map = x + ((size_t)image[r] * C + c) * H * W;
        REAL best = 0;
        for (int i = h0[r * P + p]; i < h1[r * P + p]; i++)
            for (int j = w0[r * Q + q]; j < w1[r * Q + q]; j++) {
                REAL v = map[(size_t)i * W + j];
                if (at < 0 || v > best || (v != v && best == best)) best = v, at = i * W + j;
            }
        y[index] = best;
        winner[index] = at;
    }
}

extern "C" __global__
void roi_pool_gradient(const REAL* __restrict__ dy, const int* __restrict__ winner, const int* __restrict__ image,
                       REAL* __restrict__ dx, int R, int C, int HW, int PQ) {
    FOR_EACH(index, (long long)R * C * PQ) {
        int c = index / PQ % C, r = index / PQ / C;
        if (winner[index] >= 0) atomicAdd(&dx[((size_t)image[r] * C + c) * HW + winner[index]], dy[index]);
    }
}
