// Cubic B-spline coefficients of a volume, in place: one recursive filter per axis (Unser, Aldroubi, Eden, "B-spline
// signal processing: part II", IEEE Trans. Signal Process. 1993, doi:10.1109/78.193221), sixteen lines at a time in
// double.
#include <omp.h>

#include <algorithm>

#include "job.h"

namespace medframe {
namespace {

constexpr int LANES = 16;
constexpr double POLE = -0.26794919243112270647;  // sqrt(3) - 2
constexpr int REACH = 32;                         // |POLE|^32 is below the precision of double

// Lines of n > 1 numbers, element e of lane l at b[e * LANES + l]; mirrored at the ends' centres, or periodic.
MF_CLONES void filter(double *__restrict b, int n, bool periodic) {
    const auto at = [&](int e) { return b + Index(e) * LANES; };
    double power[REACH], sum[LANES];
    power[0] = 1;
    for (int i = 1; i < REACH; ++i) power[i] = power[i - 1] * POLE;
    const int period = periodic ? n : 2 * (n - 1);
    // a geometric series over the extended line, of which each element returns after a period
    const auto series = [&](int start, int step) {
        for (int l = 0; l < LANES; ++l) sum[l] = 0;
        double again = 1;
        for (int i = 0; i < std::min(period, int(REACH)); ++i) {
            int e = (start + step * i) % period;
            if (e < 0) e += period;
            const double *p = at(e < n ? e : period - e);
            for (int l = 0; l < LANES; ++l) sum[l] += power[i] * p[l];
        }
        if (period < REACH) again = 1 / (1 - power[period]);
        for (int l = 0; l < LANES; ++l) sum[l] *= again;
    };
    series(0, -1);
    for (int l = 0; l < LANES; ++l) b[l] = 6 * sum[l];
    for (int e = 1; e < n; ++e) {
        double *p = at(e);
        const double *before = at(e - 1);
        for (int l = 0; l < LANES; ++l) p[l] = 6 * p[l] + POLE * before[l];
    }
    double *last = at(n - 1);
    if (periodic) {
        series(n - 1, 1);
        for (int l = 0; l < LANES; ++l) last[l] = -POLE * sum[l];
    } else {
        const double *before = at(n - 2);
        for (int l = 0; l < LANES; ++l) last[l] = POLE / (POLE * POLE - 1) * (POLE * before[l] + last[l]);
    }
    for (int e = n - 2; e >= 0; --e) {
        double *p = at(e);
        const double *after = at(e + 1);
        for (int l = 0; l < LANES; ++l) p[l] = POLE * (after[l] - p[l]);
    }
}

template <class Real>
MF_CLONES void gather(const Real *__restrict from, Index step, Index lane_step, int n, int lanes,
                      double *__restrict b) {
    if (lanes < LANES) std::fill(b, b + Index(n) * LANES, 0.0);
    for (int e = 0; e < n; ++e)
        for (int l = 0; l < lanes; ++l) b[Index(e) * LANES + l] = from[e * step + l * lane_step];
}

template <class Real>
MF_CLONES void scatter(const double *__restrict b, Index step, Index lane_step, int n, int lanes, Real *__restrict to) {
    for (int e = 0; e < n; ++e)
        for (int l = 0; l < lanes; ++l) to[e * step + l * lane_step] = static_cast<Real>(b[Index(e) * LANES + l]);
}

template <class Real>
void along(Real *data, Index channels, const int *size, int axis, bool periodic, int threads) {
    const int n = size[axis];
    if (n == 1) return;
    const Index row = size[2], plane = Index(size[1]) * row, volume = plane * size[0];
    const Index step = axis == 0 ? plane : axis == 1 ? row : 1, lane_step = axis == 2 ? row : 1;
    const Index group_step = axis == 1 ? plane : volume, groups = channels * (axis == 1 ? size[0] : 1);
    const Index lanes = axis == 0 ? plane : axis == 1 ? row : volume / row, blocks = (lanes + LANES - 1) / LANES;
    std::vector<std::vector<double>> buffers(threads, std::vector<double>(Index(n) * LANES));
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads) if (threads > 1)
    for (Index t = 0; t < groups * blocks; ++t) {
        const Index first = t % blocks * LANES;
        const int width = static_cast<int>(std::min<Index>(LANES, lanes - first));
        Real *p = data + t / blocks * group_step + first * lane_step;
        double *b = buffers[omp_get_thread_num()].data();
        gather(p, step, lane_step, n, width, b);
        filter(b, n, periodic);
        scatter(b, step, lane_step, n, width, p);
    }
}

}  // namespace

template <class Real>
void prefilter(Real *data, Index channels, const int *size, bool periodic, int threads) {
    for (int axis = 0; axis < 3; ++axis) along(data, channels, size, axis, periodic, threads);
}

template void prefilter(float *, Index, const int *, bool, int);
template void prefilter(double *, Index, const int *, bool, int);

}  // namespace medframe
