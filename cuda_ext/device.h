// What the CUDA kernels share: voxel types, places in fixed point, and the taps of one axis in 32-bit arithmetic.
//
// A place is linear in the output index, so it is walked in integers: 32 bits before and 32 after the point. That is
// exact to 2^-33 of a voxel a step, costs two additions a voxel, and leaves double precision, which is slow on most
// GPUs, to places more than 2^30 voxels out. No standard header is included, because NVRTC has none.
#ifndef MEDFRAME_DEVICE_H
#define MEDFRAME_DEVICE_H

#include "sampling.h"

#define MF_DEVICE __device__ __forceinline__
#define MF_RARE __device__ __noinline__  // called seldom: kept out of line, and out of the registers of what is common

namespace medframe {

// The same number, but for the compiler a new one each time: what is found by it is read where it is used, and not kept
// in registers across a loop.
MF_DEVICE int again(int i) {
#if defined(__CUDACC__)
    asm volatile("" : "+r"(i));
#endif
    return i;
}

// voxel types

using BFloat16 = Bfloat;

template <class T>
MF_DEVICE float as_float(T v) {
    return static_cast<float>(v);
}

template <>
MF_DEVICE float as_float(Half v) {
#if defined(__CUDACC__)
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(v.bits));
    return out;
#else
    const unsigned sign = (v.bits & 0x8000u) << 16, exponent = v.bits >> 10 & 31, fraction = v.bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    if (exponent > 0) return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    const float small = static_cast<float>(fraction) * 5.9604644775390625e-8f;  // 2^-24
    return sign ? -small : small;
#endif
}

template <>
MF_DEVICE float as_float(BFloat16 v) {
    return __uint_as_float(static_cast<unsigned>(v.bits) << 16);
}

// A value rounded half to even, for |v| of any size: above 2^23 every float is whole.
MF_DEVICE float whole(float v) {
    const float size = v < 0 ? -v : v;
    if (!(size < 8388608.0f)) return v;
    const float near = (size + 8388608.0f) - 8388608.0f;
    return v < 0 ? -near : near;
}

// Store: round half to even and saturate for integers (NaN becomes 0), the usual conversion otherwise.
template <class Out>
struct Store;

template <>
struct Store<float> {
    static MF_DEVICE float from(float v) { return v; }
};

template <>
struct Store<unsigned char> {
    static MF_DEVICE unsigned char from(float v) { return rounded<unsigned char, float>(v, 0, 255, 12582912.0f); }
};

template <>
struct Store<short> {
    static MF_DEVICE short from(float v) { return rounded<short, float>(v, -32768, 32767, 12582912.0f); }
};

template <>
struct Store<int> {
    static MF_DEVICE int from(float v) {
        if (!(v == v)) return 0;
        if (v >= 2147483648.0f) return 2147483647;
        if (v <= -2147483648.0f) return -2147483647 - 1;
        return static_cast<int>(whole(v));
    }
};

template <>
struct Store<Half> {
    static MF_DEVICE Half from(float v) {
        Half out;
#if defined(__CUDACC__)
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(v));
#else
        const unsigned word = __float_as_uint(v), sign = word >> 16 & 0x8000u, size = word & 0x7fffffffu;
        unsigned bits;
        if (size > 0x7f800000u) {
            bits = 0x7fffu;
        } else if (size >= 0x477ff000u) {  // 65520 and above
            bits = 0x7c00u;
        } else if (size < 0x38800000u) {  // below 2^-14: a multiple of 2^-24
            bits = static_cast<unsigned>(whole(__uint_as_float(size) * 16777216.0f));
        } else {
            bits = (size + 0xfffu + (size >> 13 & 1) - 0x38000000u) >> 13;
        }
        out.bits = static_cast<unsigned short>(sign | bits);
#endif
        return out;
    }
};

template <>
struct Store<BFloat16> {
    static MF_DEVICE BFloat16 from(float v) {
        const unsigned word = __float_as_uint(v);
        BFloat16 out;
        out.bits = static_cast<unsigned short>(v == v ? (word + 0x7fffu + (word >> 16 & 1)) >> 16 : 0x7fffu);
        return out;
    }
};

// places

constexpr float FRACTION = 2.3283064365386963e-10f;  // 2^-32
constexpr double AFAR = 1073741824.0;                // 2^30: places further out are held here

// base + t with t in [0, 1]; t = 1 is what rounding makes of a fraction just below it
struct Place {
    int base;
    float t;
};

MF_DEVICE Place place_of(long long fixed) {
    Place p;
    p.base = static_cast<int>(fixed >> 32);
    p.t = static_cast<float>(static_cast<unsigned>(fixed)) * FRACTION;
    return p;
}

// A place moved by d voxels; what is no number goes far out to the left.
MF_DEVICE Place moved(Place p, float d) {
    d = d > -536870912.0f ? d : -536870912.0f;
    d = d < 536870912.0f ? d : 536870912.0f;
    const float sum = p.t + d, down = floorf(sum);
    p.base += static_cast<int>(down);
    p.t = sum - down;
    return p;
}

// An affine map from output indices (i, j, k): rows are the axes of the result, the last column is the offset. In units
// of 2^-32; of a chain marked as far, where the map passes 2^30 or is not finite, the bits of the double instead.
struct Route {
    long long row[3][4];
};

// A place in units of 2^-32, from double precision: brought near by the borders that repeat, held at 2^30 by the others.
MF_RARE long long far_place(double a, double b, double c, double d, int i, int j, int k, int n, Border border) {
    double x = a * i + b * j + c * k + d;
    const double period = border == WRAP ? n : border == REFLECT && n > 1 ? 2.0 * (n - 1) : 1;
    if (border == WRAP || border == REFLECT) x -= period * floor(x / period);
    return static_cast<long long>(held(x, -AFAR, AFAR) * 4294967296.0);
}

// The places of a column of output voxels (i, j, k), (i + 1, j, k), ...
struct Walk {
    long long at[3];

    MF_DEVICE void start(const Route &r, bool is_far, int i, int j, int k, const int *n, Border border) {
        if (is_far) return far(r, i, j, k, n, border);
        for (int a = 0; a < 3; ++a) at[a] = r.row[a][0] * i + r.row[a][1] * j + r.row[a][2] * k + r.row[a][3];
    }

    MF_DEVICE void next(const Route &r, bool is_far, int i, int j, int k, const int *n, Border border) {
        if (is_far) return far(r, i, j, k, n, border);
        for (int a = 0; a < 3; ++a) at[a] += r.row[a][0];
    }

  private:
    MF_DEVICE void far(const Route &r, int i, int j, int k, const int *n, Border border) {
        for (int a = 0; a < 3; ++a)
            at[a] = far_place(__longlong_as_double(r.row[a][0]), __longlong_as_double(r.row[a][1]),
                              __longlong_as_double(r.row[a][2]), __longlong_as_double(r.row[a][3]), i, j, k, n[a], border);
    }
};

// taps

// `fold` in 32 bits; n is at most 2^30.
MF_DEVICE int folded(int i, int n, Border border) {
    if (static_cast<unsigned>(i) < static_cast<unsigned>(n)) return i;
    if (border == ZERO || border == EDGE) return i < 0 ? 0 : n - 1;
    const int period = border == WRAP ? n : (n > 1 ? 2 * (n - 1) : 1);
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

// The cubic B-spline's weights, and the two of linear interpolation.
template <int ORDER>
MF_DEVICE void weights_at(float t, float *w) {
    const float s = 1 - t;
    if (ORDER == 0) {
        w[0] = 1;
    } else if (ORDER == 1) {
        w[0] = s;
        w[ORDER > 0 ? 1 : 0] = t;
    } else {
        constexpr float sixth = 1.0f / 6, third2 = 2.0f / 3;
        w[0] = s * s * s * sixth;
        w[ORDER > 1 ? 1 : 0] = third2 - t * t * (1 - 0.5f * t);
        w[ORDER > 1 ? 2 : 0] = third2 - s * s * (1 - 0.5f * s);
        w[ORDER > 1 ? 3 : 0] = t * t * t * sixth;
    }
}

// `taps` of sampling.h for a Place: the same rules, in 32 bits and single precision.
template <int ORDER>
struct Side {
    static constexpr int N = ORDER + 1;
    int at[N];
    float weight[N];
    float cover;
};

template <int ORDER>
MF_DEVICE Side<ORDER> side_at(Place p, int n, Border border) {
    Side<ORDER> out;
    out.cover = 1;
    if (ORDER == 3 && (border == ZERO || border == EDGE)) {
        float off = 0;
        if (p.base < 0) {
            off = -(static_cast<float>(p.base) + p.t);
            p.base = 0;
            p.t = 0;
        } else if (p.base >= n - 1) {
            off = static_cast<float>(p.base - (n - 1)) + p.t;
            p.base = n - 1;
            p.t = 0;
        }
        if (border == ZERO) out.cover = off < 1 ? 1 - off : 0;
    }
    if (ORDER == 0) {
        p.base += p.t >= 0.5f;
        p.t = 0;
    }
    weights_at<ORDER>(p.t, out.weight);
    const int first = p.base - (ORDER == 3 ? 1 : 0);
    const Border rule = ORDER == 3 && border != WRAP ? REFLECT : border;
    float covered = 0;
    bool all = true;
    for (int k = 0; k < Side<ORDER>::N; ++k) {
        const int i = first + k;
        const bool counts = rule != ZERO || static_cast<unsigned>(i) < static_cast<unsigned>(n);
        out.at[k] = folded(i, n, rule);
        out.weight[k] = counts ? out.weight[k] * out.cover : 0;
        covered += out.weight[k];
        all = all && counts;
    }
    if (!all) out.cover = covered;
    return out;
}

// The size of a volume and how far apart its neighbours lie; an axis of size 1 has step 0. There are fewer than 2^31
// rows, so that a voxel is found by two multiplications.
struct Shape {
    int n[3];
    Index plane, row;

    MF_DEVICE Shape(int n0, int n1, int n2) {
        n[0] = n0;
        n[1] = n1;
        n[2] = n2;
        row = n1 > 1 ? n2 : 0;
        plane = n0 > 1 ? static_cast<Index>(n1) * n2 : 0;
    }
    MF_DEVICE Index voxels() const { return static_cast<Index>(n[0]) * n[1] * n[2]; }
    MF_DEVICE Index at(int z, int y, int x) const {
        const unsigned long long line = static_cast<unsigned>(z * n[1] + y);
        return static_cast<Index>(line * static_cast<unsigned>(n[2]) + static_cast<unsigned>(x));
    }
};

// Whether all taps of an interpolation of odd order lie inside. The last voxel of an axis is reached from the cell
// before it, with t = 1.
template <int ORDER>
MF_DEVICE bool interior(Place &p, int n) {
    if (ORDER == 1 && p.base == n - 1 && p.t == 0 && n > 1) {
        p.base = n - 2;
        p.t = 1;
    }
    if (n == 1) return p.base == 0 && p.t == 0;
    const int first = p.base - (ORDER == 3 ? 1 : 0);
    return first >= 0 && first + ORDER < n;
}

// a * s + b * t is exact at t = 0 and at t = 1, which a + t * (b - a) is not
MF_DEVICE float blend(float a, float b, float s, float t) { return a * s + b * t; }

// The eight voxels around a place, [z][y][x].
struct Corners {
    float at[2][2][2];
};

template <class T>
MF_DEVICE Corners corners_at(const T *p, Index plane, Index row) {
    const T *q = p + row, *r = p + plane, *s = r + row;
    return {{{{as_float(p[0]), as_float(p[1])}, {as_float(q[0]), as_float(q[1])}},
             {{as_float(r[0]), as_float(r[1])}, {as_float(s[0]), as_float(s[1])}}}};
}

MF_DEVICE float blended(const Corners &c, float tz, float ty, float tx) {
    const float sz = 1 - tz, sy = 1 - ty, sx = 1 - tx;
    const float near = blend(blend(c.at[0][0][0], c.at[1][0][0], sz, tz), blend(c.at[0][1][0], c.at[1][1][0], sz, tz), sy, ty);
    const float far = blend(blend(c.at[0][0][1], c.at[1][0][1], sz, tz), blend(c.at[0][1][1], c.at[1][1][1], sz, tz), sy, ty);
    return blend(near, far, sx, tx);
}

template <class T>
MF_DEVICE float linear_inside(const T *p, Index plane, Index row, float tz, float ty, float tx) {
    return blended(corners_at(p, plane, row), tz, ty, tx);
}

// displacements

// d -> turn (d + f(q)), where q is where the undisplaced place lies among the knots, plus enter * d. Order 3: knots
// (n0 + 3, n1 + 3, n2 + 3, 4), padded by repetition, one vector a knot; order 1: (3, n0, n1, n2).
struct Bend {
    Route to_knots;
    const float *values;
    float enter[9], turn[9];
    int n[3];
    int order;
};

constexpr int BENDS = 2;
constexpr int BATCH = 8;  // samples a launch; their chains travel as an argument of the kernel, of 4 KiB in all

// One sample's way from output indices to places in the input. Bit 0 of `far` speaks of to_input, bit b + 1 of bend b.
template <bool BENT>
struct Chain {
    Route to_input;
    int far;
};

template <>
struct Chain<true> {
    Route to_input;
    int far;
    int bends;
    Bend bend[BENDS];
};

template <bool BENT>
struct Chains {
    Chain<BENT> at[BATCH];
};

static_assert(sizeof(Chains<true>) <= 3904, "with the other arguments a kernel's have to stay below 4 KiB");

struct Vector {
    float z, y, x;
};

struct alignas(16) Knot {
    float z, y, x, unused;
};

MF_DEVICE Vector times(const float *m, Vector v) {
    Vector out;
    out.z = m[0] * v.z + m[1] * v.y + m[2] * v.x;
    out.y = m[3] * v.z + m[4] * v.y + m[5] * v.x;
    out.x = m[6] * v.z + m[7] * v.y + m[8] * v.x;
    return out;
}

// The cell [base, base + 1] of knots that holds a place, which is first brought into [0, n - 1].
MF_DEVICE Place cell_of(Place p, int n) {
    const int last = n > 2 ? n - 2 : 0;
    if (p.base < 0) {
        p.base = 0;
        p.t = 0;
    } else if (p.base > last) {
        p.base = last;
        p.t = n > 1 ? 1 : 0;
    }
    return p;
}

MF_RARE Vector field_at(const float *values, int order, int n0, int n1, int n2, Place q0, Place q1, Place q2) {
    Vector f = {0, 0, 0};
    const Place z = cell_of(q0, n0), y = cell_of(q1, n1), x = cell_of(q2, n2);
    if (order == 3) {
        float wz[4], wy[4], wx[4];
        weights_at<3>(z.t, wz);
        weights_at<3>(y.t, wy);
        weights_at<3>(x.t, wx);
        const int row = n2 + 3;
        const Index plane = static_cast<Index>(n1 + 3) * row;
        const Knot *knots =
            reinterpret_cast<const Knot *>(values) + plane * z.base + static_cast<Index>(row) * y.base + x.base;
#pragma unroll 1
        for (int i = 0; i < 4; ++i) {
            const float u = i == 0 ? wz[0] : i == 1 ? wz[1] : i == 2 ? wz[2] : wz[3];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const Knot *p = knots + plane * i + static_cast<Index>(row) * j;
                const float w = u * wy[j];
#pragma unroll
                for (int k = 0; k < 4; ++k) {
                    const Knot v = p[k];
                    f.z += w * wx[k] * v.z;
                    f.y += w * wx[k] * v.y;
                    f.x += w * wx[k] * v.x;
                }
            }
        }
        return f;
    }
    const Shape shape(n0, n1, n2);
    const Index all = shape.voxels(), far = n2 > 1 ? 1 : 0;
    const float *p = values + shape.at(z.base, y.base, x.base);
    float out[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const float *v = p + a * all;
        float line[2];
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const float *w = v + k * far;
            line[k] = blend(blend(w[0], w[shape.plane], 1 - z.t, z.t),
                            blend(w[shape.row], w[shape.plane + shape.row], 1 - z.t, z.t), 1 - y.t, y.t);
        }
        out[a] = blend(line[0], line[1], 1 - x.t, x.t);
    }
    f.z = out[0];
    f.y = out[1];
    f.x = out[2];
    return f;
}

// The places of a column of output voxels, carried through every displacement.
template <bool BENT>
struct Column;

template <>
struct Column<false> {
    const Chains<false> &chains;
    int sample;
    const int *n;  // of the input
    Border border;
    Walk walk;

    MF_DEVICE Column(const Chains<false> &c, int s, const int *size, Border b) : chains(c), sample(s), n(size), border(b) {}
    MF_DEVICE void start(int i, int j, int k) {
        const Chain<false> &chain = chains.at[again(sample)];
        walk.start(chain.to_input, chain.far, i, j, k, n, border);
    }
    MF_DEVICE void next(int i, int j, int k) {
        const Chain<false> &chain = chains.at[again(sample)];
        walk.next(chain.to_input, chain.far, i, j, k, n, border);
    }
    MF_DEVICE void places(int, int, int, Place *p) const {
        for (int a = 0; a < 3; ++a) p[a] = place_of(walk.at[a]);
    }
};

template <>
struct Column<true> {
    const Chains<true> &chains;
    int sample;
    const int *n;
    Border border;
    Walk walk;

    MF_DEVICE Column(const Chains<true> &c, int s, const int *size, Border b) : chains(c), sample(s), n(size), border(b) {}
    MF_DEVICE void start(int i, int j, int k) {
        const Chain<true> &chain = chains.at[again(sample)];
        walk.start(chain.to_input, chain.far & 1, i, j, k, n, border);
    }
    MF_DEVICE void next(int i, int j, int k) {
        const Chain<true> &chain = chains.at[again(sample)];
        walk.next(chain.to_input, chain.far & 1, i, j, k, n, border);
    }
    MF_DEVICE void places(int i, int j, int k, Place *p) const {
        Vector d = {0, 0, 0};
        const Chain<true> &chain = chains.at[again(sample)];
#pragma unroll 1
        for (int b = 0; b < chain.bends; ++b) {
            const Bend &bend = chain.bend[b];
            Walk to_knots;  // not kept along the column: that would take six registers for each displacement
            to_knots.start(bend.to_knots, chain.far >> b & 2, i, j, k, n, ZERO);
            Place q[3];
            for (int a = 0; a < 3; ++a) q[a] = place_of(to_knots.at[a]);
            if (b > 0) {
                const Vector e = times(bend.enter, d);
                q[0] = moved(q[0], e.z);
                q[1] = moved(q[1], e.y);
                q[2] = moved(q[2], e.x);
            }
            const Vector f = field_at(bend.values, bend.order, bend.n[0], bend.n[1], bend.n[2], q[0], q[1], q[2]);
            d.z += f.z;
            d.y += f.y;
            d.x += f.x;
            d = times(bend.turn, d);
        }
        for (int a = 0; a < 3; ++a) p[a] = place_of(walk.at[a]);
        p[0] = moved(p[0], d.z);
        p[1] = moved(p[1], d.y);
        p[2] = moved(p[2], d.x);
    }
};

// Each output voxel of a batch in turn, for blocks (x, y) of threads in a grid (x, y, z) of any size: `each` gets the
// sample, the voxel's index and its places. Threads walk down columns of RUN voxels.
constexpr int RUN = 8;

// Each column in turn: `each` gets the sample, the column's ends and its indices along the other axes.
template <bool BENT, class F>
MF_DEVICE void for_each_column(const Chains<BENT> &chains, int samples, const Shape &out, F &&each) {
    const unsigned runs = (out.n[0] - 1) / RUN + 1, slabs = samples * runs;  // BATCH times 2^27 fit
    for (unsigned s = blockIdx.z; s < slabs; s += gridDim.z) {
        const int sample = static_cast<int>(s / runs), first = static_cast<int>(s % runs) * RUN;
        const int last = first + RUN < out.n[0] ? first + RUN : out.n[0];
        for (int j = blockIdx.y * blockDim.y + threadIdx.y; j < out.n[1]; j += gridDim.y * blockDim.y)
            for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < out.n[2]; k += gridDim.x * blockDim.x)
                each(sample, first, last, j, k);
    }
}

template <bool BENT, class F>
MF_DEVICE void for_each_voxel(const Chains<BENT> &chains, int samples, const Shape &in, const Shape &out, Border border,
                              F &&each) {
    const Index plane = static_cast<Index>(out.n[1]) * out.n[2];
    for_each_column<BENT>(chains, samples, out, [&](int sample, int first, int last, int j, int k) {
        Column<BENT> column(chains, sample, in.n, border);
        column.start(first, j, k);
        Index at = out.at(first, j, k);
#pragma unroll 1
        for (int i = first;;) {
            Place p[3];
            column.places(i, j, k, p);
            each(sample, at, p);
            if (++i >= last) break;
            at += plane;
            column.next(i, j, k);
        }
    });
}

}  // namespace medframe

#endif
