// Exact Euclidean distances by lower envelopes of parabolas, one axis after the other, one thread a line (Felzenszwalb,
// Huttenlocher, "Distance transforms of sampled functions", Theory Comput. 2012, doi:10.4086/toc.2012.v008a019).
#include "device.h"

namespace medframe {

constexpr float NOWHERE = 3.4028234e38f;  // squared distance where there is nothing to be distant from

// 0 at targets, NOWHERE elsewhere.
__global__ void __launch_bounds__(256)
    distance_seed(const unsigned char *__restrict__ target, float *__restrict__ squares, Index voxels) {
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < voxels;
         i += static_cast<Index>(gridDim.x) * blockDim.x)
        squares[i] = target[i] ? 0 : NOWHERE;
}

// Squared distances along one axis of (outer, n, inner) with voxels `spacing` apart, in place; the last axis takes the
// root. The stacks of all threads of the grid, n entries each, are interleaved: neighbours write to neighbours.
__global__ void __launch_bounds__(256)
    distance_axis(float *__restrict__ squares, int *__restrict__ stack_at, float *__restrict__ stack_height,
                  float *__restrict__ stack_from, Index outer, int n, Index inner, float spacing, int root) {
    const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
    const Index me = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
    const float unit = spacing * spacing;
    for (Index l = me; l < outer * inner; l += threads) {
        float *line = squares + l / inner * n * inner + l % inner;
        int top = -1;
        for (int q = 0; q < n; ++q) {
            const float f = line[q * inner];
            if (f >= NOWHERE) continue;
            float from = -1;
            while (top >= 0) {
                const int v = stack_at[top * threads + me];
                // where the parabola over q passes below the one over v; as a mean and a correction, which loses least
                from = 0.5f * (static_cast<float>(q) + static_cast<float>(v)) +
                       (f - stack_height[top * threads + me]) / (2 * unit * static_cast<float>(q - v));
                if (from > stack_from[top * threads + me]) break;
                --top;
            }
            if (top < 0) from = -1;
            if (from >= static_cast<float>(n)) continue;  // lowest only beyond the line
            ++top;
            stack_at[top * threads + me] = q;
            stack_height[top * threads + me] = f;
            stack_from[top * threads + me] = from;
        }
        if (top < 0) {
            if (root)
                for (int q = 0; q < n; ++q) line[q * inner] = __uint_as_float(0x7f800000u);
            continue;
        }
        int k = 0, v = stack_at[me];
        float height = stack_height[me];
        float until = top > 0 ? stack_from[threads + me] : static_cast<float>(n);
        for (int q = 0; q < n; ++q) {
            while (k < top && until < static_cast<float>(q)) {
                ++k;
                v = stack_at[k * threads + me];
                height = stack_height[k * threads + me];
                until = k < top ? stack_from[(k + 1) * threads + me] : static_cast<float>(n);
            }
            const float d = static_cast<float>(q - v), square = unit * d * d + height;
            line[q * inner] = root ? sqrtf(square) : square;
        }
    }
}

}  // namespace medframe
