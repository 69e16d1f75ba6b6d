// Labels resampled by a vote: the classes of the eight taps of linear interpolation share its weights, and the largest
// share wins. One pass, whatever the number of classes.
#include "device.h"

namespace medframe {

constexpr int VOTES = 9;  // eight taps, and what lies outside
constexpr float SAME = 1e-6f;

// Of (label, share) pairs the label with the largest sum. Classes are asked in rising order, and one takes the lead
// when its share passes the leader's by more than SAME. Pairs of share 0 have no say.
template <class T>
MF_DEVICE T elected(const T *label, const float *share) {
    T lead = label[0], last = label[0];
    float best = 0;
    for (bool begun = false;; begun = true) {
        bool found = false;
        T next = label[0];
#pragma unroll
        for (int k = 0; k < VOTES; ++k)
            if (share[k] > 0 && (!begun || label[k] > last) && (!found || label[k] < next)) {
                next = label[k];
                found = true;
            }
        if (!found) return lead;
        float sum = 0;
#pragma unroll
        for (int k = 0; k < VOTES; ++k) sum += label[k] == next ? share[k] : 0;
        if (!begun || sum > best + SAME) {
            lead = next;
            best = sum;
        }
        last = next;
    }
}

template <class T, bool BENT>
__global__ void __launch_bounds__(256, 2)
    label_vote(const T *__restrict__ in, T *__restrict__ out, const __grid_constant__ Chains<BENT> chains, int samples,
               Index channels, int n0, int n1, int n2, int m0, int m1, int m2, int border, long long fill) {
    const Shape from(n0, n1, n2), to(m0, m1, m2);
    const Index step = from.voxels(), stride = to.voxels();
    const Border rule = static_cast<Border>(border);
    for_each_voxel<BENT>(chains, samples, from, to, rule, [&](int sample, Index at, Place *p) {
        const auto z = side_at<1>(p[0], n0, rule), y = side_at<1>(p[1], n1, rule), x = side_at<1>(p[2], n2, rule);
        const float cover = z.cover * y.cover * x.cover;
        const T *src = in + sample * channels * step;
        T *dst = out + sample * channels * stride + at;
        for (Index c = 0; c < channels; ++c, src += step, dst += stride) {
            T label[VOTES];
            float share[VOTES];
            label[VOTES - 1] = static_cast<T>(fill);
            share[VOTES - 1] = 1 - cover;
            bool same = cover == 1;
#pragma unroll
            for (int k = 0; k < VOTES - 1; ++k) {
                share[k] = z.weight[k >> 2] * y.weight[k >> 1 & 1] * x.weight[k & 1];
                label[k] = cover == 0 ? label[VOTES - 1] : src[from.at(z.at[k >> 2], y.at[k >> 1 & 1], x.at[k & 1])];
                same = same && label[k] == label[0];
            }
            *dst = same || cover == 0 ? label[0] : elected(label, share);
        }
    });
}

}  // namespace medframe
