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

// p[0], p[1], p[step], p[step + 1] as Reals, by two loads of a pair each
MF_HD four<float> quad(const float *p, Index step) {
    typedef double Pairs __attribute__((vector_size(16)));
    double lo, hi;  // two floats each; only moved, never computed with
    std::memcpy(&lo, p, 8);
    std::memcpy(&hi, p + step, 8);
    return reinterpret_cast<four<float>>(Pairs{lo, hi});
}

MF_HD four<double> quad(const double *p, Index step) { return four<double>{p[0], p[1], p[step], p[step + 1]}; }

MF_HD four<float> quad(const std::int32_t *p, Index step) {
    typedef long long Pairs __attribute__((vector_size(16)));
    typedef int Ints __attribute__((vector_size(16)));
    long long lo, hi;
    std::memcpy(&lo, p, 8);
    std::memcpy(&hi, p + step, 8);
    return __builtin_convertvector(reinterpret_cast<Ints>(Pairs{lo, hi}), four<float>);
}

template <class T>
MF_HD four<float> quad_of_small(const T *p, Index step) {
    typedef int Ints __attribute__((vector_size(16)));
    return __builtin_convertvector((Ints{p[0], p[1], p[step], p[step + 1]}), four<float>);
}
MF_HD four<float> quad(const std::uint8_t *p, Index step) { return quad_of_small(p, step); }
MF_HD four<float> quad(const std::int8_t *p, Index step) { return quad_of_small(p, step); }
MF_HD four<float> quad(const std::uint16_t *p, Index step) { return quad_of_small(p, step); }
MF_HD four<float> quad(const std::int16_t *p, Index step) { return quad_of_small(p, step); }

template <class T>
MF_HD four<float> quad_of_half(const T *p, Index step) {
    return four<float>{number(p[0]), number(p[1]), number(p[step]), number(p[step + 1])};
}
MF_HD four<float> quad(const Half *p, Index step) { return quad_of_half(p, step); }
MF_HD four<float> quad(const Bfloat *p, Index step) { return quad_of_half(p, step); }

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
