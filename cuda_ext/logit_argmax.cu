// The class with the largest logit at every output voxel: logits (samples, classes, *in) are interpolated one class
// after the other and only the leader is kept, so that no resampled logit is ever stored.
#include "device.h"

namespace medframe {

// Of equal logits the lowest class wins, and one that is not a number never takes the lead.
struct Leader {
    float best;
    int at;
    MF_DEVICE void ask(float v, int c) {
        if (v > best || c == 0) {
            best = v;
            at = c;
        }
    }
};

template <class T, class Out, bool BENT>
__global__ void __launch_bounds__(256, BENT ? 2 : 3)
    logit_argmax(const T *__restrict__ in, Out *__restrict__ out, const __grid_constant__ Chains<BENT> chains,
                 int samples, Index classes, int n0, int n1, int n2, int m0, int m1, int m2, int border) {
    const Shape from(n0, n1, n2), to(m0, m1, m2);
    const Index step = from.voxels(), stride = to.voxels();
    const Border rule = static_cast<Border>(border);
    const int count = static_cast<int>(classes);  // its type has room for 2^15 at most
    for_each_voxel<BENT>(chains, samples, from, to, rule, [&](int sample, Index at, Place *p) {
        const T *src = in + sample * classes * step;
        Leader leader = {0, 0};
        if ((interior<1>(p[0], n0) & interior<1>(p[1], n1) & interior<1>(p[2], n2)) && n2 > 1) {
            src += from.at(p[0].base, p[1].base, p[2].base);
#pragma unroll 2
            for (int c = 0; c < count; ++c, src += step)
                leader.ask(linear_inside(src, from.plane, from.row, p[0].t, p[1].t, p[2].t), c);
        } else {
            const auto z = side_at<1>(p[0], n0, rule), y = side_at<1>(p[1], n1, rule), x = side_at<1>(p[2], n2, rule);
            if (z.cover * y.cover * x.cover != 0)
                for (int c = 0; c < count; ++c, src += step) {
                    float sum = 0;
#pragma unroll
                    for (int k = 0; k < 8; ++k) {
                        const float w = z.weight[k >> 2] * y.weight[k >> 1 & 1] * x.weight[k & 1];
                        if (w != 0) sum += w * as_float(src[from.at(z.at[k >> 2], y.at[k >> 1 & 1], x.at[k & 1])]);
                    }
                    leader.ask(sum, c);
                }
        }
        out[sample * stride + at] = static_cast<Out>(leader.at);
    });
}

}  // namespace medframe
