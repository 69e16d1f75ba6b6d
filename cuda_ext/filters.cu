// Symmetric separable filters along one axis of (outer, n, inner), edges repeated.
#include "device.h"

namespace medframe {

// at[k] is the weight of both taps k voxels away. An argument of the kernel: it is copied nowhere.
struct Weights {
    float at[512];
};

template <class T, class Out>
__global__ void __launch_bounds__(256, 4)
    filter_axis(const T *__restrict__ in, Out *__restrict__ out, const __grid_constant__ Weights weights, int radius,
                Index outer, int n, Index inner) {
    const Index plane = n * inner;
    for (Index o = blockIdx.y; o < outer; o += gridDim.y)
        for (Index p = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; p < plane;
             p += static_cast<Index>(gridDim.x) * blockDim.x) {
            // 32-bit division is several times quicker
            const int e = plane <= 4294967295LL ? static_cast<int>(static_cast<unsigned>(p) / static_cast<unsigned>(inner))
                                                : static_cast<int>(p / inner);
            const T *line = in + o * plane + (p - e * inner);
            float sum = as_float(line[e * inner]) * weights.at[0];
            for (int k = 1; k <= radius; ++k) {
                const int lo = e > k ? e - k : 0, hi = e < n - k ? e + k : n - 1;
                sum += as_float(line[lo * inner]) * weights.at[k];
                sum += as_float(line[hi * inner]) * weights.at[k];
            }
            out[o * plane + p] = Store<Out>::from(sum);
        }
}

}  // namespace medframe
