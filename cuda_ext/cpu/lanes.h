// Four voxels at a time, in the compiler's own vector types: they compile for every machine and for each clone.
#ifndef MEDFRAME_LANES_H
#define MEDFRAME_LANES_H

#include <cstring>

#include "job.h"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // 32-byte vectors are never passed between functions: all helpers are inlined
#endif

namespace medframe {

template <class Real>
struct Four;
template <>
struct Four<float> {
    typedef float Type __attribute__((vector_size(16)));
    typedef int Mask __attribute__((vector_size(16)));
};
template <>
struct Four<double> {
    typedef double Type __attribute__((vector_size(32)));
    typedef long long Mask __attribute__((vector_size(32)));
};
template <class Real>
using four = typename Four<Real>::Type;

template <class Real>
MF_HD four<Real> load4(const Real *p) {
    four<Real> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class Real>
MF_HD void store4(Real *p, const four<Real> &v) {
    std::memcpy(p, &v, sizeof v);
}

// p[0], p[1], q[0], q[1] as Reals: two voxels and their neighbours, by a load each
MF_HD four<float> pairs(const float *p, const float *q) {
    typedef double Pairs __attribute__((vector_size(16)));
    double a, b;  // two floats each; only moved, never computed with
    std::memcpy(&a, p, 8);
    std::memcpy(&b, q, 8);
    return reinterpret_cast<four<float>>(Pairs{a, b});
}

MF_HD four<double> pairs(const double *p, const double *q) { return four<double>{p[0], p[1], q[0], q[1]}; }

MF_HD four<float> pairs(const std::int32_t *p, const std::int32_t *q) {
    typedef long long Pairs __attribute__((vector_size(16)));
    typedef int Ints __attribute__((vector_size(16)));
    long long a, b;
    std::memcpy(&a, p, 8);
    std::memcpy(&b, q, 8);
    return __builtin_convertvector(reinterpret_cast<Ints>(Pairs{a, b}), four<float>);
}

template <class T>
MF_HD four<float> pairs_of_small(const T *p, const T *q) {
    typedef int Ints __attribute__((vector_size(16)));
    return __builtin_convertvector((Ints{p[0], p[1], q[0], q[1]}), four<float>);
}
MF_HD four<float> pairs(const std::uint8_t *p, const std::uint8_t *q) { return pairs_of_small(p, q); }
MF_HD four<float> pairs(const std::int8_t *p, const std::int8_t *q) { return pairs_of_small(p, q); }
MF_HD four<float> pairs(const std::uint16_t *p, const std::uint16_t *q) { return pairs_of_small(p, q); }
MF_HD four<float> pairs(const std::int16_t *p, const std::int16_t *q) { return pairs_of_small(p, q); }

template <class T>
MF_HD four<float> pairs_of_half(const T *p, const T *q) {
    return four<float>{number(p[0]), number(p[1]), number(q[0]), number(q[1])};
}
MF_HD four<float> pairs(const Half *p, const Half *q) { return pairs_of_half(p, q); }
MF_HD four<float> pairs(const Bfloat *p, const Bfloat *q) { return pairs_of_half(p, q); }

// a0 a0 a1 a1 and a2 a2 a3 a3
template <class Real>
MF_HD four<Real> low_twice(const four<Real> &a) {
    return __builtin_shuffle(a, typename Four<Real>::Mask{0, 0, 1, 1});
}
template <class Real>
MF_HD four<Real> high_twice(const four<Real> &a) {
    return __builtin_shuffle(a, typename Four<Real>::Mask{2, 2, 3, 3});
}

// the first and the second of each pair of a and b
template <class Real>
MF_HD four<Real> firsts(const four<Real> &a, const four<Real> &b) {
    return __builtin_shuffle(a, b, typename Four<Real>::Mask{0, 2, 4, 6});
}
template <class Real>
MF_HD four<Real> seconds(const four<Real> &a, const four<Real> &b) {
    return __builtin_shuffle(a, b, typename Four<Real>::Mask{1, 3, 5, 7});
}

template <class Real>
MF_HD void transpose4(four<Real> &a, four<Real> &b, four<Real> &c, four<Real> &d) {
    using M = typename Four<Real>::Mask;
    const four<Real> ab_lo = __builtin_shuffle(a, b, M{0, 4, 1, 5}), ab_hi = __builtin_shuffle(a, b, M{2, 6, 3, 7});
    const four<Real> cd_lo = __builtin_shuffle(c, d, M{0, 4, 1, 5}), cd_hi = __builtin_shuffle(c, d, M{2, 6, 3, 7});
    a = __builtin_shuffle(ab_lo, cd_lo, M{0, 1, 4, 5});
    b = __builtin_shuffle(ab_lo, cd_lo, M{2, 3, 6, 7});
    c = __builtin_shuffle(ab_hi, cd_hi, M{0, 1, 4, 5});
    d = __builtin_shuffle(ab_hi, cd_hi, M{2, 3, 6, 7});
}

}  // namespace medframe

#endif
