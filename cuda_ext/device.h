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

// An affine map from output indices (i, j, k): rows are the axes of the result, the last column is the offset.
struct Route {
    long long fixed[12];  // in units of 2^-32; not used where `far`
    double exact[12];
    int far;  // over the output lattice the map passes 2^30, or is not finite
};

// A place in units of 2^-32, from double precision: brought near by the borders that repeat, held at 2^30 by the others.
MF_RARE long long far_place(const double *row, int i, int j, int k, int n, Border border) {
    double x = row[0] * i + row[1] * j + row[2] * k + row[3];
    const double period = border == WRAP ? n : border == REFLECT && n > 1 ? 2.0 * (n - 1) : 1;
    if (border == WRAP || border == REFLECT) x -= period * floor(x / period);
    return static_cast<long long>(held(x, -AFAR, AFAR) * 4294967296.0);
}

// The places of a column of output voxels (i, j, k), (i + 1, j, k), ...
struct Walk {
    long long at[3];

    MF_DEVICE void start(const Route &r, int i, int j, int k, const int *n, Border border) {
        if (r.far) return far(r, i, j, k, n, border);
        for (int a = 0; a < 3; ++a)
            at[a] = r.fixed[4 * a] * i + r.fixed[4 * a + 1] * j + r.fixed[4 * a + 2] * k + r.fixed[4 * a + 3];
    }

    MF_DEVICE void next(const Route &r, int i, int j, int k, const int *n, Border border) {
        if (r.far) return far(r, i, j, k, n, border);
        for (int a = 0; a < 3; ++a) at[a] += r.fixed[4 * a];
    }

  private:
    MF_DEVICE void far(const Route &r, int i, int j, int k, const int *n, Border border) {
        for (int a = 0; a < 3; ++a) at[a] = far_place(r.exact + 4 * a, i, j, k, n[a], border);
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

// The size of a volume and how far apart its neighbours lie; an axis of size 1 has step 0.
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
    MF_DEVICE Index at(int z, int y, int x) const { return plane * z + row * y + x; }
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

template <class T>
MF_DEVICE float linear_inside(const T *p, Index plane, Index row, float tz, float ty, float tx) {
    const float sz = 1 - tz, sy = 1 - ty, sx = 1 - tx;
    const T *q = p + row, *r = p + plane, *s = r + row;
    const float near = blend(blend(as_float(p[0]), as_float(r[0]), sz, tz), blend(as_float(q[0]), as_float(s[0]), sz, tz), sy, ty);
    const float far = blend(blend(as_float(p[1]), as_float(r[1]), sz, tz), blend(as_float(q[1]), as_float(s[1]), sz, tz), sy, ty);
    return blend(near, far, sx, tx);
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

// One sample's way from output indices to places in the input.
struct Chain {
    Route to_input;
    Bend bend[BENDS];
    int bends;
};

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

MF_RARE Vector field_at(const Bend &b, Place q0, Place q1, Place q2) {
    Vector f = {0, 0, 0};
    const Place z = cell_of(q0, b.n[0]), y = cell_of(q1, b.n[1]), x = cell_of(q2, b.n[2]);
    if (b.order == 3) {
        float wz[4], wy[4], wx[4];
        weights_at<3>(z.t, wz);
        weights_at<3>(y.t, wy);
        weights_at<3>(x.t, wx);
        const int row = b.n[2] + 3;
        const Index plane = static_cast<Index>(b.n[1] + 3) * row;
        const Knot *knots =
            reinterpret_cast<const Knot *>(b.values) + plane * z.base + static_cast<Index>(row) * y.base + x.base;
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
    const Shape shape(b.n[0], b.n[1], b.n[2]);
    const Index all = shape.voxels(), far = b.n[2] > 1 ? 1 : 0;
    const float *p = b.values + shape.at(z.base, y.base, x.base);
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
struct Column {
    const Chain &chain;
    const int *n;  // of the input
    Border border;
    Walk to_input, to_knots[BENT ? BENDS : 1];

    MF_DEVICE Column(const Chain &c, const int *size, Border b) : chain(c), n(size), border(b) {}

    MF_DEVICE void start(int i, int j, int k) {
        to_input.start(chain.to_input, i, j, k, n, border);
        if (BENT)
#pragma unroll
            for (int b = 0; b < BENDS; ++b)
                if (b < chain.bends) to_knots[BENT ? b : 0].start(chain.bend[b].to_knots, i, j, k, n, ZERO);
    }

    MF_DEVICE void next(int i, int j, int k) {
        to_input.next(chain.to_input, i, j, k, n, border);
        if (BENT)
#pragma unroll
            for (int b = 0; b < BENDS; ++b)
                if (b < chain.bends) to_knots[BENT ? b : 0].next(chain.bend[b].to_knots, i, j, k, n, ZERO);
    }

    MF_DEVICE void places(Place *p) const {
        for (int a = 0; a < 3; ++a) p[a] = place_of(to_input.at[a]);
        if (!BENT) return;
        Vector d = {0, 0, 0};
#pragma unroll
        for (int b = 0; b < BENDS; ++b) {
            if (b >= chain.bends) continue;
            const Bend &bend = chain.bend[b];
            Place q[3];
            for (int a = 0; a < 3; ++a) q[a] = place_of(to_knots[BENT ? b : 0].at[a]);
            if (b > 0) {
                const Vector e = times(bend.enter, d);
                q[0] = moved(q[0], e.z);
                q[1] = moved(q[1], e.y);
                q[2] = moved(q[2], e.x);
            }
            const Vector f = field_at(bend, q[0], q[1], q[2]);
            d.z += f.z;
            d.y += f.y;
            d.x += f.x;
            d = times(bend.turn, d);
        }
        p[0] = moved(p[0], d.z);
        p[1] = moved(p[1], d.y);
        p[2] = moved(p[2], d.x);
    }
};

// Each output voxel of a batch in turn, for blocks (x, y) of threads in a grid (x, y, z) of any size: `each` gets the
// sample, the voxel's index and its places. Threads walk down columns of RUN voxels.
constexpr int RUN = 4;

template <bool BENT, class F>
MF_DEVICE void for_each_voxel(const Chain *chains, int samples, const Shape &in, const Shape &out, Border border,
                              F &&each) {
    const int runs = (out.n[0] - 1) / RUN + 1;
    const Index slabs = static_cast<Index>(samples) * runs;
    for (Index s = blockIdx.z; s < slabs; s += gridDim.z) {
        const int sample = static_cast<int>(slabs <= 4294967295LL  // 32-bit division is several times quicker
                                                ? static_cast<unsigned>(s) / static_cast<unsigned>(runs)
                                                : s / runs);
        const int first = static_cast<int>(s - static_cast<Index>(sample) * runs) * RUN;
        const int last = first + RUN < out.n[0] ? first + RUN : out.n[0];
        Column<BENT> column(chains[sample], in.n, border);
        for (Index j = static_cast<Index>(blockIdx.y) * blockDim.y + threadIdx.y; j < out.n[1];
             j += static_cast<Index>(gridDim.y) * blockDim.y)
            for (Index k = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; k < out.n[2];
                 k += static_cast<Index>(gridDim.x) * blockDim.x) {
                Index at = (static_cast<Index>(first) * out.n[1] + j) * out.n[2] + k;
                column.start(first, static_cast<int>(j), static_cast<int>(k));
#pragma unroll 1
                for (int i = first;;) {
                    Place p[3];
                    column.places(p);
                    each(sample, at, p);
                    if (++i >= last) break;
                    at += static_cast<Index>(out.n[1]) * out.n[2];
                    column.next(i, static_cast<int>(j), static_cast<int>(k));
                }
            }
    }
}

}  // namespace medframe

#endif
