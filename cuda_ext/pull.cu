// Resampling. One launch reads a batch of volumes (samples, channels, *in), each through a chain of its own, and writes
// (samples, channels, *out). The meaning is that of medframe/kernels/reference/sampling.py.
#include "device.h"

namespace medframe {

// Any place, tap by tap: right everywhere. Taps of weight 0 are not read.
template <int ORDER, class T, class Out>
MF_RARE void each_tap(const T *in, Out *out, Index channels, Index step, Index stride, int n0, int n1, int n2, Place p0,
                      Place p1, Place p2, Border border, float fill) {
    const Shape shape(n0, n1, n2);
    const auto z = side_at<ORDER>(p0, n0, border), y = side_at<ORDER>(p1, n1, border), x = side_at<ORDER>(p2, n2, border);
    const float cover = z.cover * y.cover * x.cover;
    for (Index c = 0; c < channels; ++c, in += step, out += stride) {
        float sum = 0;
        if (cover != 0) {
#pragma unroll(ORDER == 3 ? 1 : 2)
            for (int i = 0; i <= ORDER; ++i)
#pragma unroll(ORDER == 3 ? 1 : 2)
                for (int j = 0; j <= ORDER; ++j)
#pragma unroll
                    for (int k = 0; k <= ORDER; ++k) {
                        const float w = z.weight[i] * y.weight[j] * x.weight[k];
                        if (w != 0) sum += w * as_float(in[shape.at(z.at[i], y.at[j], x.at[k])]);
                    }
        }
        *out = Store<Out>::from(cover == 1 ? sum : cover == 0 ? fill : sum + fill * (1 - cover));
    }
}

// Order 3 with all taps inside; an axis of size 1 has one tap.
template <class T>
MF_DEVICE float cubic_inside(const T *p, const Shape &shape, const float *wz, const float *wy, const float *wx) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if (i > 0 && shape.n[0] == 1) break;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            if (j > 0 && shape.n[1] == 1) break;
            const T *q = p + shape.plane * i + shape.row * j;
            const float line = as_float(q[0]) * wx[0] + as_float(q[1]) * wx[1] + as_float(q[2]) * wx[2] +
                               as_float(q[3]) * wx[3];
            sum += line * (wz[i] * wy[j]);
        }
    }
    return sum;
}

// One voxel of the output whose taps all lie inside, in every channel.
template <int ORDER, class T, class Out>
MF_DEVICE void pull_inside(const T *src, Out *dst, Index channels, Index step, Index stride, const Shape &from,
                           const Place *p) {
    if (ORDER == 1) {
        src += from.at(p[0].base, p[1].base, p[2].base);
#pragma unroll 1
        for (Index c = 0; c < channels; ++c, src += step, dst += stride)
            *dst = Store<Out>::from(linear_inside(src, from.plane, from.row, p[0].t, p[1].t, p[2].t));
        return;
    }
    float wz[4], wy[4], wx[4];
    weights_at<3>(p[0].t, wz);
    weights_at<3>(p[1].t, wy);
    weights_at<3>(p[2].t, wx);
    if (from.n[0] == 1) wz[0] = 1;
    if (from.n[1] == 1) wy[0] = 1;
    src += from.at(from.n[0] == 1 ? 0 : p[0].base - 1, from.n[1] == 1 ? 0 : p[1].base - 1, p[2].base - 1);
    for (Index c = 0; c < channels; ++c, src += step, dst += stride)
        *dst = Store<Out>::from(cubic_inside(src, from, wz, wy, wx));
}

template <int ORDER>
MF_DEVICE bool all_inside(const Shape &from, Place *p) {
    if (ORDER == 1) {  // most voxels need no more than three comparisons
        const bool within = (static_cast<unsigned>(p[0].base) < static_cast<unsigned>(from.n[0] - 1)) &
                            (static_cast<unsigned>(p[1].base) < static_cast<unsigned>(from.n[1] - 1)) &
                            (static_cast<unsigned>(p[2].base) < static_cast<unsigned>(from.n[2] - 1));
        if (within) return true;
    }
    const bool inside = interior<ORDER>(p[0], from.n[0]) & interior<ORDER>(p[1], from.n[1]) & interior<ORDER>(p[2], from.n[2]);
    return inside && from.n[2] > 1;
}

// The voxels of a column that `left` marks, by the long way.
template <int ORDER, class T, class Out, bool BENT>
MF_DEVICE void pull_left(Column<BENT> &column, unsigned left, const T *src, Out *dst, Index channels, Index step,
                         Index stride, const Shape &from, Index plane, Border rule, float fill, int first, int j, int k) {
#pragma unroll 1
    for (int i = first; left != 0; ++i, left >>= 1, dst += plane) {
        if (!(left & 1)) continue;
        Place p[3];
        column.start(i, j, k);
        column.places(i, j, k, p);
        if (ORDER == 1 && !BENT && all_inside<ORDER>(from, p))
            pull_inside<ORDER>(src, dst, channels, step, stride, from, p);
        else
            each_tap<ORDER>(src, dst, channels, step, stride, from.n[0], from.n[1], from.n[2], p[0], p[1], p[2], rule, fill);
    }
}

// Linear without displacements has to be quick enough for the memory: two voxels of a column at once, sixteen loads in
// flight, and per voxel little more than those, the arithmetic between them and three comparisons. What is not inside by
// that measure is left: the mask of it is returned.
template <class T, class Out>
MF_DEVICE unsigned pull_pairs(const Route &route, const T *src, Out *dst, Index channels, Index step, Index stride,
                              const Shape &from, Index plane, int first, int last, int j, int k) {
    long long at[3];
    for (int a = 0; a < 3; ++a)
        at[a] = route.row[a][0] * first + route.row[a][1] * j + route.row[a][2] * k + route.row[a][3];
    unsigned left = (1u << (last - first)) - 1, pair = 3;
    for (int a = 0; a < 2; ++a)  // an axis of size 1 has one place that is inside
        if (from.n[a] == 1 && (at[a] != 0 || route.row[a][0] != 0)) return left;
    const unsigned deep = from.n[0] > 1 ? from.n[0] - 1 : 1, tall = from.n[1] > 1 ? from.n[1] - 1 : 1, wide = from.n[2] - 1;
#pragma unroll 1
    for (int count = last - first; count > 1; count -= 2, dst += 2 * plane, pair <<= 2) {
        Place p[3], q[3];
        for (int a = 0; a < 3; ++a) p[a] = place_of(at[a]);
        for (int a = 0; a < 3; ++a) at[a] += route.row[a][0];
        for (int a = 0; a < 3; ++a) q[a] = place_of(at[a]);
        for (int a = 0; a < 3; ++a) at[a] += route.row[a][0];
        const bool inside = (static_cast<unsigned>(p[0].base) < deep) & (static_cast<unsigned>(q[0].base) < deep) &
                            (static_cast<unsigned>(p[1].base) < tall) & (static_cast<unsigned>(q[1].base) < tall) &
                            (static_cast<unsigned>(p[2].base) < wide) & (static_cast<unsigned>(q[2].base) < wide);
        if (!inside) continue;
        left ^= pair;
        const T *u = src + from.at(p[0].base, p[1].base, p[2].base), *v = src + from.at(q[0].base, q[1].base, q[2].base);
        Out *here = dst;
#pragma unroll 1
        for (Index c = channels;;) {
            const Corners at_p = corners_at(u, from.plane, from.row), at_q = corners_at(v, from.plane, from.row);
            here[0] = Store<Out>::from(blended(at_p, p[0].t, p[1].t, p[2].t));
            here[plane] = Store<Out>::from(blended(at_q, q[0].t, q[1].t, q[2].t));
            if (--c == 0) break;
            u += step;
            v += step;
            here += stride;
        }
    }
    return left;
}

// Voxels whose taps do not all lie inside are left for a second walk, so that the calls it makes cost the first no
// registers.
template <int ORDER, class T, class Out, bool BENT>
__global__ void __launch_bounds__(256, ORDER == 3 || BENT ? 2 : 4)
    pull(const T *__restrict__ in, Out *__restrict__ out, const __grid_constant__ Chains<BENT> chains, int samples,
         Index channels, int n0, int n1, int n2, int m0, int m1, int m2, int border, float fill) {
    const Shape from(n0, n1, n2), to(m0, m1, m2);
    const Border rule = static_cast<Border>(border);
    const Index step = from.voxels(), stride = to.voxels(), plane = static_cast<Index>(m1) * m2;
    for_each_column<BENT>(chains, samples, to, [&](int sample, int first, int last, int j, int k) {
        const T *src = in + sample * channels * step;
        Out *dst = out + sample * channels * stride + to.at(first, j, k);
        unsigned left = 0;
        if constexpr (ORDER == 1 && !BENT) {
            left = (1u << (last - first)) - 1;
            if (!chains.at[sample].far)
                left = pull_pairs(chains.at[sample].to_input, src, dst, channels, step, stride, from, plane, first, last, j, k);
        } else {
            Column<BENT> column(chains, sample, from.n, rule);
            column.start(first, j, k);
            Out *here = dst;
#pragma unroll 1
            for (int i = first; i < last; ++i, here += plane) {
                Place p[3];
                if (i > first) column.next(i, j, k);
                column.places(i, j, k, p);
                if (all_inside<ORDER>(from, p))
                    pull_inside<ORDER>(src, here, channels, step, stride, from, p);
                else
                    left |= 1u << (i - first);
            }
        }
        if (left == 0) return;
        Column<BENT> again(chains, sample, from.n, rule);
        pull_left<ORDER>(again, left, src, dst, channels, step, stride, from, plane, rule, fill, first, j, k);
    });
}

// Order 0 moves voxels, whatever they mean: T is then an unsigned integer of their size. `fill` holds the bytes of the
// voxel outside.
template <class T, class Out>
struct Move {
    static MF_DEVICE Out from(T v) { return Store<Out>::from(as_float(v)); }
};

template <class T>
struct Move<T, T> {
    static MF_DEVICE T from(T v) { return v; }
};

template <class T, class Out, bool BENT>
__global__ void __launch_bounds__(256, BENT ? 2 : 4)
    pull_nearest(const T *__restrict__ in, Out *__restrict__ out, const __grid_constant__ Chains<BENT> chains,
                 int samples, Index channels, int n0, int n1, int n2, int m0, int m1, int m2, int border, unsigned long long fill) {
    const Shape from(n0, n1, n2), to(m0, m1, m2);
    const Index step = from.voxels(), stride = to.voxels();
    const Border rule = static_cast<Border>(border);
    T outside;
    for (unsigned b = 0; b < sizeof(T); ++b) reinterpret_cast<unsigned char *>(&outside)[b] = (fill >> 8 * b) & 255;
    for_each_voxel<BENT>(chains, samples, from, to, rule, [&](int sample, Index at, Place *p) {
        bool all = true;
        int i[3];
        for (int a = 0; a < 3; ++a) {
            const int near = p[a].base + (p[a].t >= 0.5f);
            all = all && static_cast<unsigned>(near) < static_cast<unsigned>(from.n[a]);
            i[a] = folded(near, from.n[a], rule);
        }
        const T *src = in + sample * channels * step + from.at(i[0], i[1], i[2]);
        Out *dst = out + sample * channels * stride + at;
        for (Index c = 0; c < channels; ++c, src += step, dst += stride)
            *dst = Move<T, Out>::from(all || rule != ZERO ? *src : outside);
    });
}

}  // namespace medframe
