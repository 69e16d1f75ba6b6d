// Cubic B-spline coefficients, in place: one recursive filter along each axis, one thread a line (Unser, Aldroubi,
// Eden, "B-spline signal processing: part II", IEEE Trans. Signal Process. 1993, doi:10.1109/78.193221). The filter's
// poles are small, so that single precision loses no more than the last bits.
#include "device.h"

namespace medframe {

constexpr float POLE = -0.26794919243112270647f;  // sqrt(3) - 2
constexpr int REACH = 20;                         // |POLE|^20 is far below the precision of single

// The series sum POLE^i * line[start + i * sign] over the line extended by mirroring at its ends, or periodically.
MF_DEVICE float series(const float *line, Index step, int n, int start, int sign, bool periodic) {
    const Index period = periodic ? n : 2 * static_cast<Index>(n - 1);
    float sum = 0, power = 1;
    Index e = start;
    for (int i = 0; i < REACH && i < period; ++i) {
        sum += power * line[(e < n ? e : period - e) * step];
        power *= POLE;
        e += sign;
        if (e < 0) e += period;
        if (e >= period) e -= period;
    }
    return period < REACH ? sum / (1 - power) : sum;
}

// The last coefficient. `last` and `before` are the filtered line's last two numbers.
MF_DEVICE float mirrored_end(float last, float before) {
    return POLE / (POLE * POLE - 1) * (POLE * before + last);
}

// Lines with elements `inner` apart, next to each other: (outer, n, inner).
__global__ void __launch_bounds__(256) prefilter_across(float *__restrict__ data, Index outer, int n, Index inner, int periodic) {
    for (Index l = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; l < outer * inner;
         l += static_cast<Index>(gridDim.x) * blockDim.x) {
        float *line = data + l / inner * n * inner + l % inner;
        float c = 6 * series(line, inner, n, 0, -1, periodic), before = 0;
        line[0] = c;
        for (int e = 1; e < n; ++e) {
            before = c;
            c = 6 * line[e * inner] + POLE * before;
            line[e * inner] = c;
        }
        c = periodic ? -POLE * series(line, inner, n, n - 1, 1, true) : mirrored_end(c, before);
        line[(n - 1) * inner] = c;
        for (int e = n - 2; e >= 0; --e) {
            c = POLE * (c - line[e * inner]);
            line[e * inner] = c;
        }
    }
}

// Rows (rows, n): a warp takes 32 rows, and moves them through shared memory in tiles of 32 columns, so that its reads
// and writes are of neighbours. Blocks of 32 x WARPS threads.
constexpr int WARPS = 4;

__global__ void __launch_bounds__(32 * WARPS) prefilter_along(float *__restrict__ data, Index rows, int n, int periodic) {
    __shared__ float tiles[WARPS][32][33];
    float(*tile)[33] = tiles[threadIdx.y];
    const int lane = threadIdx.x;
    for (Index g = (static_cast<Index>(blockIdx.x) * WARPS + threadIdx.y) * 32; g < rows;
         g += static_cast<Index>(gridDim.x) * WARPS * 32) {
        const int count = rows - g < 32 ? static_cast<int>(rows - g) : 32;
        float *base = data + g * n;
        const bool mine = lane < count;
        float *line = base + static_cast<Index>(mine ? lane : 0) * n;
        float c = 0, before = 0;
        if (mine) c = 6 * series(line, 1, n, 0, -1, periodic);
        __syncwarp();
        for (int e0 = 0; e0 < n; e0 += 32) {
            const int width = n - e0 < 32 ? n - e0 : 32;
            for (int r = 0; r < count; ++r)
                if (lane < width) tile[r][lane] = base[static_cast<Index>(r) * n + e0 + lane];
            __syncwarp();
            if (mine)
                for (int e = 0; e < width; ++e) {
                    if (e0 + e > 0) {
                        before = c;
                        c = 6 * tile[lane][e] + POLE * before;
                    }
                    tile[lane][e] = c;
                }
            __syncwarp();
            for (int r = 0; r < count; ++r)
                if (lane < width) base[static_cast<Index>(r) * n + e0 + lane] = tile[r][lane];
            __syncwarp();
        }
        if (mine) c = periodic ? -POLE * series(line, 1, n, n - 1, 1, true) : mirrored_end(c, before);
        __syncwarp();
        for (int e0 = (n - 1) / 32 * 32; e0 >= 0; e0 -= 32) {
            const int width = n - e0 < 32 ? n - e0 : 32;
            for (int r = 0; r < count; ++r)
                if (lane < width) tile[r][lane] = base[static_cast<Index>(r) * n + e0 + lane];
            __syncwarp();
            if (mine)
                for (int e = width - 1; e >= 0; --e) {
                    if (e0 + e < n - 1) c = POLE * (c - tile[lane][e]);
                    tile[lane][e] = c;
                }
            __syncwarp();
            for (int r = 0; r < count; ++r)
                if (lane < width) base[static_cast<Index>(r) * n + e0 + lane] = tile[r][lane];
            __syncwarp();
        }
    }
}

}  // namespace medframe
