// The adjoint of pull: every output voxel's value is added to the input voxels it would have been read from, with the
// same weights. Sums are made by atomic additions, so that their last bits depend on the order of threads.
#include "device.h"

namespace medframe {

template <int ORDER, class T, bool BENT>
__global__ void __launch_bounds__(256, 2)
    push(const T *__restrict__ values, float *__restrict__ sums, const __grid_constant__ Chains<BENT> chains, int samples,
         Index channels, int n0, int n1, int n2, int m0, int m1, int m2, int border) {
    const Shape to(n0, n1, n2), from(m0, m1, m2);
    const Index step = to.voxels(), stride = from.voxels();
    const Border rule = static_cast<Border>(border);
    for_each_voxel<BENT>(chains, samples, to, from, rule, [&](int sample, Index at, Place *p) {
        const auto z = side_at<ORDER>(p[0], n0, rule), y = side_at<ORDER>(p[1], n1, rule),
                   x = side_at<ORDER>(p[2], n2, rule);
        if (z.cover * y.cover * x.cover == 0) return;
        float *dst = sums + sample * channels * step;
        const T *src = values + sample * channels * stride + at;
        for (Index c = 0; c < channels; ++c, src += stride, dst += step) {
            const float v = as_float(*src);
#pragma unroll(ORDER == 3 ? 1 : 2)
            for (int i = 0; i <= ORDER; ++i)
#pragma unroll(ORDER == 3 ? 1 : 2)
                for (int j = 0; j <= ORDER; ++j)
#pragma unroll
                    for (int k = 0; k <= ORDER; ++k) {
                        const float w = z.weight[i] * y.weight[j] * x.weight[k];
                        if (w != 0) atomicAdd(dst + to.at(z.at[i], y.at[j], x.at[k]), w * v);
                    }
        }
    });
}

}  // namespace medframe
