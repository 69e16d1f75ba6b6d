// Index, weight and border arithmetic: the one header that g++, nvcc and NVRTC compile.
//
// It states in scalar code what medframe/kernels/reference.py states in torch. No standard header is included, because
// NVRTC has none. Places are double, indices are 64-bit, weights are of the type `Real` the voxels are computed in.
#ifndef MEDFRAME_SAMPLING_H
#define MEDFRAME_SAMPLING_H

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define MF_HD __host__ __device__ __forceinline__
#elif defined(__GNUC__)
// always: a helper that is left out of line would be compiled for the oldest machine, whoever calls it
#define MF_HD inline __attribute__((always_inline))
#else
#define MF_HD inline
#endif

namespace medframe {

using Index = long long;

// The two types of 16 bits as their bits. They are only read here, as floats, and float arithmetic is used throughout.
struct Half {
    unsigned short bits;
};
struct Bfloat {
    unsigned short bits;
};

MF_HD float float_of_bits(unsigned bits) {
#if defined(__CUDA_ARCH__)
    return __uint_as_float(bits);
#else
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

MF_HD unsigned bits_of_float(float value) {
#if defined(__CUDA_ARCH__)
    return __float_as_uint(value);
#else
    unsigned bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}

// Voxels as numbers. The exponent of a Half is moved by a multiplication, which also makes its subnormals right.
template <class T>
MF_HD T number(T v) {
    return v;
}
MF_HD float number(Bfloat v) { return float_of_bits(unsigned(v.bits) << 16); }
MF_HD float number(Half v) {
    const unsigned h = v.bits, size = h & 0x7fffu;
    const float scaled = float_of_bits(size << 13) * 5192296858534827628530496329220096.0f;  // 2^112
    const unsigned finite = bits_of_float(scaled), other = 0x7f800000u | size << 13;
    return float_of_bits((size < 0x7c00u ? finite : other) | (h & 0x8000u) << 16);
}

// Floats rounded to the nearest value of 16 bits, ties to even.
MF_HD Bfloat bfloat_of(float v) {
    const unsigned u = bits_of_float(v);
    const unsigned rounded_bits = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    Bfloat out;
    out.bits = static_cast<unsigned short>(v == v ? rounded_bits : (u >> 16 | 0x40u));
    return out;
}
MF_HD Half half_of(float v) {
    const unsigned u = bits_of_float(v), sign = u >> 16 & 0x8000u, size = u & 0x7fffffffu;
    const unsigned normal = (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13;
    // below 2^-14 the sum with 0.5 leaves the multiples of 2^-24 in the lowest bits, rounded by the FPU
    const unsigned tiny = bits_of_float(float_of_bits(size) + 0.5f) - 0x3f000000u;
    unsigned h = size < 0x38800000u ? tiny : normal;
    h = size < 0x477ff000u ? h : 0x7c00u;
    h = size > 0x7f800000u ? 0x7e00u : h;
    Half out;
    out.bits = static_cast<unsigned short>(h | sign);
    return out;
}

// the order of BORDERS in medframe/kernels/stages.py
enum Border : int { ZERO = 0, EDGE = 1, REFLECT = 2, WRAP = 3 };

// places further out than this (2^40) are held here: still outside, but safe to convert to an index
constexpr double FAR_OUT = 1099511627776.0;

// The floor of |x| < 2^51. Adding 1.5 * 2^52 rounds to a whole number; compilers turn this into vector code on every
// machine, which they do not with the library's floor.
MF_HD double floor_of(double x) {
#if defined(__CUDA_ARCH__)
    return floor(x);
#else
    const double whole = (x + 6755399441055744.0) - 6755399441055744.0;
    return whole - (whole > x ? 1.0 : 0.0);
#endif
}

// x within [lo, hi]; NaN becomes lo
MF_HD double held(double x, double lo, double hi) {
    x = x > lo ? x : lo;
    return x < hi ? x : hi;
}

MF_HD bool inside(Index i, Index n) { return i >= 0 && i < n; }

// An index brought back into [0, n) by the border rule.
MF_HD Index fold(Index i, Index n, Border border) {
    if (inside(i, n)) return i;
    if (border == ZERO || border == EDGE) return i < 0 ? 0 : n - 1;
    const Index period = border == WRAP ? n : (n > 1 ? 2 * (n - 1) : 1);
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

// The same for a whole number held in a double, without integer division; the borders with ends only clamp.
MF_HD double fold_whole(double i, double n, Border border) {
    if (border == WRAP) {
        i -= n * floor_of(i / n);
    } else if (border == REFLECT) {
        const double period = n > 1 ? 2 * (n - 1) : 1;
        i -= period * floor_of(i / period);
        i = i < period - i ? i : period - i;
    }
    return held(i, 0, n - 1);
}

// A place brought back by the border rule where an interpolation of odd order reads the same there: into [0, n - 1],
// for WRAP into [0, n). A place is left alone for ZERO.
MF_HD double fold_place(double x, double n, Border border) {
    if (border == ZERO) return x;
    if (border == EDGE) return held(x, 0, n - 1);
    if (border == WRAP) {
        x -= n * floor_of(x / n);
        return n > 1 && x >= 0 && x < n ? x : 0;
    }
    const double period = n > 1 ? 2 * (n - 1) : 1;
    x -= period * floor_of(x / period);
    return held(x < period - x ? x : period - x, 0, n - 1);
}

// The cell [base, base + 1] that holds x in [0, n - 1], and the fraction t in [0, 1] within it. The last place belongs
// to the last cell with t = 1. A single voxel is a cell of its own.
MF_HD int cell(double x, int n, double &t) {
    const int last = n > 2 ? n - 2 : 0;
    int base = static_cast<int>(x);  // x is not negative: truncation is floor
    base = base < last ? base : last;
    t = x - base;
    return base;
}

// The cubic B-spline's weights at a fraction t in [0, 1] between taps 1 and 2 of four.
template <class Real>
MF_HD void spline_weights(double t, Real *w) {
    const double s = 1 - t;
    w[0] = static_cast<Real>(s * s * s / 6);
    w[1] = static_cast<Real>((4 - 6 * t * t + 3 * t * t * t) / 6);
    w[2] = static_cast<Real>((4 - 6 * s * s + 3 * s * s * s) / 6);
    w[3] = static_cast<Real>(t * t * t / 6);
}

// Their derivatives by t.
template <class Real>
MF_HD void spline_slopes(double t, Real *w) {
    const double s = 1 - t;
    w[0] = static_cast<Real>(-s * s / 2);
    w[1] = static_cast<Real>((3 * t * t - 4 * t) / 2);
    w[2] = static_cast<Real>((4 * s - 3 * s * s) / 2);
    w[3] = static_cast<Real>(t * t / 2);
}

// What one axis contributes to a value: the voxels to read and their weights. Taps outside a ZERO border have weight 0
// and an index that is safe to read; `cover` is the share of the axis that lies inside, exactly 1 where all of it does.
// The value is sum(weights * voxels) + fill * (1 - product of covers).
template <int ORDER, class Real>
struct Taps {
    static constexpr int N = ORDER + 1;  // 1, 2 or 4
    Index at[N];
    Real weight[N];
    Real cover;
};

template <int ORDER, class Real>
MF_HD Taps<ORDER, Real> taps(double x, Index n, Border border) {
    Taps<ORDER, Real> out;
    out.cover = 1;
    x = held(x, -FAR_OUT, FAR_OUT);
    if (ORDER == 3 && (border == ZERO || border == EDGE)) {
        // the spline ends at the outermost voxels' centres; beyond them it goes on, or fades over one voxel
        const double on = held(x, 0, static_cast<double>(n - 1));
        const double off = x < on ? on - x : x - on;
        if (border == ZERO) out.cover = off < 1 ? static_cast<Real>(1 - off) : Real(0);
        x = on;
    }
    const double base = floor_of(ORDER == 0 ? x + 0.5 : x);
    if (ORDER == 0) {
        out.weight[0] = 1;
    } else if (ORDER == 1) {
        out.weight[0] = static_cast<Real>(1 - (x - base));
        out.weight[ORDER > 0 ? 1 : 0] = static_cast<Real>(x - base);
    } else {
        Real w[4];
        spline_weights(x - base, w);
        for (int k = 0; k < Taps<ORDER, Real>::N; ++k) out.weight[k] = w[k] * out.cover;
    }
    const Index first = static_cast<Index>(base) - (ORDER == 3 ? 1 : 0);
    const Border rule = ORDER == 3 && border != WRAP ? REFLECT : border;
    Real covered = 0;
    bool whole = true;
    for (int k = 0; k < Taps<ORDER, Real>::N; ++k) {
        const bool counts = rule != ZERO || inside(first + k, n);
        out.at[k] = fold(first + k, n, rule);
        if (!counts) out.weight[k] = 0;
        covered += out.weight[k];
        whole = whole && counts;
    }
    if (!whole) out.cover = covered;
    return out;
}

// The derivatives by x of the weights and the cover of `taps`. At a kink, which order 1 has at whole places, they are
// those towards higher x; at the ends of a spline, those of the inside.
template <int ORDER, class Real>
struct Slopes {
    static constexpr int N = ORDER + 1;
    Real weight[N];
    Real cover;
};

template <int ORDER, class Real>
MF_HD Slopes<ORDER, Real> slopes(double x, Index n, Border border) {
    Slopes<ORDER, Real> out;
    out.cover = 0;
    for (int k = 0; k < Slopes<ORDER, Real>::N; ++k) out.weight[k] = 0;
    if (ORDER == 0) return out;
    x = held(x, -FAR_OUT, FAR_OUT);
    if (ORDER == 1) {
        const Index first = static_cast<Index>(floor_of(x));
        for (int k = 0; k < 2; ++k) {
            if (border == ZERO && !inside(first + k, n)) continue;
            out.weight[ORDER == 1 ? k : 0] = k == 0 ? Real(-1) : Real(1);
            out.cover += k == 0 ? Real(-1) : Real(1);
        }
        return out;
    }
    Real w[4];
    if (border == ZERO || border == EDGE) {
        const double on = held(x, 0, static_cast<double>(n - 1)), off = x < on ? on - x : x - on;
        if (off > 0) {
            if (border == EDGE || off >= 1) return out;
            out.cover = x < on ? Real(1) : Real(-1);
            spline_weights(on - floor_of(on), w);
            for (int k = 0; k < Slopes<ORDER, Real>::N; ++k) out.weight[k] = w[k] * out.cover;
            return out;
        }
    }
    spline_slopes(x - floor_of(x), w);
    for (int k = 0; k < Slopes<ORDER, Real>::N; ++k) out.weight[k] = w[k];
    return out;
}

// Shares of classes that differ by no more than this are equal.
constexpr double SAME_SHARE = 1e-6;

// The class that wins a vote of n >= 1 taps, which are (label, share); both arrays are used up. Equal labels are added
// up. Classes are asked in rising order, and one takes the lead when its share passes the leader's by more than
// SAME_SHARE: of equal shares the lowest class wins.
template <class T>
MF_HD T winner(T *label, double *share, int n) {
    int classes = 0;
    for (int k = 0; k < n; ++k) {
        const T own = label[k];
        const double w = share[k];
        if (w == 0) continue;
        int at = classes;  // insertion into the classes found so far, which stand in rising order
        while (at > 0 && own < label[at - 1]) --at;
        if (at > 0 && label[at - 1] == own) {
            share[at - 1] += w;
            continue;
        }
        for (int r = classes; r > at; --r) {
            label[r] = label[r - 1];
            share[r] = share[r - 1];
        }
        label[at] = own;
        share[at] = w;
        ++classes;
    }
    int lead = 0;
    for (int k = 1; k < classes; ++k)
        if (share[k] > share[lead] + SAME_SHARE) lead = k;
    return label[lead];
}

// A value rounded half to even and saturated, for an integer type with limits lo and hi; NaN becomes 0. The sum with
// `magic` (1.5 * 2^23 for float, 1.5 * 2^52 for double) drops the fraction by the FPU's own rounding, on every machine.
template <class Out, class Real>
MF_HD Out rounded(Real v, Real lo, Real hi, Real magic) {
    v = v == v ? v : Real(0);
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return static_cast<Out>((v + magic) - magic);
}

}  // namespace medframe

#endif
