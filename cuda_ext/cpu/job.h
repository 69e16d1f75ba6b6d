// What the extension is told: one Job, and the small types the files of this folder share.
#ifndef MEDFRAME_JOB_H
#define MEDFRAME_JOB_H

#include <cmath>
#include <cstdint>
#include <vector>

#include "sampling.h"

// Hot functions are compiled for several generations of x86-64; the loader picks one (ifunc, hence glibc). The body of
// an OpenMP region is outlined and never cloned, so the work on a row stands in cloned free functions called from
// there.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(MF_ONE_CLONE)
#define MF_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MF_CLONES
#endif

namespace medframe {

enum class Kind { U8, I8, U16, I16, I32, F32, F64, F16, BF16, BOOL, BITS8, BITS16, BITS32, BITS64 };

// An affine map of (z, y, x): rows are output axes, the last column is the offset.
struct Affine {
    double m[3][4];

    // this map after `first`
    Affine after(const Affine &first) const {
        Affine out;
        for (int r = 0; r < 3; ++r)
            for (int c = 0; c < 4; ++c) {
                out.m[r][c] = c == 3 ? m[r][3] : 0;
                for (int k = 0; k < 3; ++k) out.m[r][c] += m[r][k] * first.m[k][c];
            }
        return out;
    }
};

// A straight line of places: start + k * step for voxel k of a row.
struct Line {
    double start[3], step[3];
    Line(const Affine &map, double i, double j) {
        for (int a = 0; a < 3; ++a) {
            start[a] = map.m[a][0] * i + map.m[a][1] * j + map.m[a][3];
            step[a] = map.m[a][2];
        }
    }
};

// A displacement p -> onward(p + f(to_knots(p))), f given at knots (3, n0, n1, n2).
struct Knots {
    const float *values;
    int n[3];
    int order;  // 1 or 3
    Affine to_knots, onward;
};

struct Job {
    const void *in;
    void *out;
    Kind in_kind, out_kind;
    Index channels;
    int in_size[3], out_size[3];
    Affine lead;  // output index -> place in front of the first knots, or in the input
    std::vector<Knots> knots;
    int order;
    Border border;
    double fill;
    std::uint64_t fill_bits;  // the fill as the input's own bytes, for order 0
    int threads;

    Index in_voxels() const { return Index(in_size[0]) * in_size[1] * in_size[2]; }
    Index out_voxels() const { return Index(out_size[0]) * out_size[1] * out_size[2]; }
};

// For each output axis the axis of `map`'s result that follows it, if no result axis follows two; else false. An entry
// is nothing when it moves a result by less than 1e-9 over the whole output; axes that follow nothing are paired in
// order.
inline bool aligned(const Affine &map, const int *size, int *follows) {
    int follower[3] = {-1, -1, -1};
    for (int o = 0; o < 3; ++o) follows[o] = -1;
    for (int a = 0; a < 3; ++a)
        for (int o = 0; o < 3; ++o) {
            if (!(std::abs(map.m[a][o]) * (size[o] - 1) > 1e-9)) continue;
            if (follows[o] >= 0 || follower[a] >= 0) return false;
            follows[o] = a;
            follower[a] = o;
        }
    for (int o = 0; o < 3; ++o)
        for (int a = 0; a < 3 && follows[o] < 0; ++a)
            if (follower[a] < 0) {
                follows[o] = a;
                follower[a] = o;
            }
    return true;
}

// Converts a row of computed values (float or double), or of voxels, to the output's kind.
using Store = void (*)(const void *from, void *to, Index n);
Store store_for(Kind from, Kind to);
int bytes_of(Kind kind);

void pull_separable(const Job &job, const int *follows);
void pull_rows(const Job &job);

// The label vote of order 1 over integers of type T: in and out of `job` are T.
template <class T>
void vote_rows(const Job &job, T fill);

// A displacement whose gradient may be wanted: x -> x + f(to_knots(x)) for the places x = lead(o) of a job, with `Real`
// values (3, n0, n1, n2) that are not rounded to float.
struct FieldJob {
    const void *values = nullptr;
    int n[3] = {1, 1, 1};
    int order = 1;
    Affine to_knots;
};

// A sampling at last(x): x the places of the job's route, or of its lead and a field. The pointers are null for
// gradients that are not wanted; `grad_volume`, `grad_field` and `grad_last` (3 x 4) are added to.
struct SampleJob {
    Job job;
    FieldJob field;
    Affine last;
    const void *grad_out = nullptr;
    void *grad_volume = nullptr, *grad_field = nullptr;
    double *grad_last = nullptr;
};

template <class Real>
void sample_rows(const SampleJob &job);
template <class Real>
void sample_gradients(const SampleJob &job);

// Decides between the channels of `job.in`, which are classes of floats, at order 1: labels (1, *out) of U8 or I16, or
// F32 probabilities of the `chosen` classes. `fill` is one number a class.
void decide_rows(const Job &job, const std::vector<float> &fill, const std::vector<int> &chosen);

// Turns voxels (channels, *size) into cubic B-spline coefficients, in place.
template <class Real>
void prefilter(Real *data, Index channels, const int *size, bool periodic, int threads);

// Calls `f` with a value of the type that `kind` is computed from: f(T voxel, Real work). BOOL is read as bytes.
template <class F>
void with_voxels(Kind kind, F &&f) {
    switch (kind) {
        case Kind::U8:
        case Kind::BOOL: return f(std::uint8_t(), float());
        case Kind::I8: return f(std::int8_t(), float());
        case Kind::U16: return f(std::uint16_t(), float());
        case Kind::I16: return f(std::int16_t(), float());
        case Kind::I32: return f(std::int32_t(), float());
        case Kind::F64: return f(double(), double());
        case Kind::F16: return f(Half(), float());
        case Kind::BF16: return f(Bfloat(), float());
        default: return f(float(), float());
    }
}

// The same for order 0, which only moves bytes.
template <class F>
void with_bytes(Kind kind, F &&f) {
    switch (bytes_of(kind)) {
        case 1: return f(std::uint8_t());
        case 2: return f(std::uint16_t());
        case 4: return f(std::uint32_t());
        default: return f(std::uint64_t());
    }
}

}  // namespace medframe

#endif
