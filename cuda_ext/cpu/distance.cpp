// The exact Euclidean distance transform, an axis at a time: the squared distance along the first axis by two sweeps, then
// for each further axis the lower envelope of parabolas (Felzenszwalb, Huttenlocher, "Distance transforms of sampled
// functions", Theory of Computing 2012, doi:10.4086/toc.2012.v008a019).
//
// Near targets the envelope is found by looking at neighbours in growing distance, sixteen lines side by side, until no
// farther one can matter. Lines that would have to look far go through the envelope itself, so that time stays linear.
#include <algorithm>
#include <limits>

#include "regions.h"

namespace medframe {
namespace {

constexpr int LANES = 16;
constexpr int NEAR = 24;  // neighbours looked at one by one
template <class Real>
constexpr Real FAR = std::numeric_limits<Real>::infinity();

// f: (n + 2 * NEAR) x LANES with infinite rows at both ends. False if a place needs farther neighbours.
template <class Real>
MF_CLONES bool by_neighbours(const Real *__restrict f, Real *__restrict out, int n, Real step) {
    const auto far = [step](int e) { return (e * step) * (e * step); };
    for (int j = 0; j < n; ++j) {
        const Real *at = f + Index(j + NEAR) * LANES;
        Real best[LANES];
        for (int l = 0; l < LANES; ++l) best[l] = at[l];
        int d = 1;
        for (; d < NEAR - 2; d += 4) {
            Real worst = 0;
            for (int l = 0; l < LANES; ++l) worst = std::max(worst, best[l]);
            if (far(d) >= worst) break;
            for (int e = d; e < d + 4; ++e) {
                const Real cost = far(e);
                const Real *up = at - Index(e) * LANES, *down = at + Index(e) * LANES;
                for (int l = 0; l < LANES; ++l) best[l] = std::min(best[l], std::min(up[l], down[l]) + cost);
            }
            if (d >= n) break;
        }
        if (d >= NEAR - 2 && n > d) {
            Real worst = 0;
            for (int l = 0; l < LANES; ++l) worst = std::max(worst, best[l]);
            if (worst > far(d)) return false;
        }
        for (int l = 0; l < LANES; ++l) out[Index(j) * LANES + l] = best[l];
    }
    return true;
}

struct Envelope {
    std::vector<int> at;
    std::vector<double> from;
    explicit Envelope(int n) : at(n), from(n + 1) {}
};

template <class Real>
void by_envelope(const Real *f, Real *out, int n, double step, Envelope &e) {
    const double square = step * step;
    int top = -1;
    for (int q = 0; q < n; ++q) {
        const double height = f[Index(q) * LANES];
        if (!(height < FAR<Real>)) continue;
        double start = -std::numeric_limits<double>::infinity();
        while (top >= 0) {
            const int p = e.at[top];
            start = 0.5 * ((height - f[Index(p) * LANES]) / (square * (q - p)) + q + p);
            if (start > e.from[top]) break;
            --top;
        }
        if (top < 0) start = -std::numeric_limits<double>::infinity();
        e.at[++top] = q;
        e.from[top] = start;
    }
    if (top < 0) {
        for (int j = 0; j < n; ++j) out[Index(j) * LANES] = FAR<Real>;
        return;
    }
    for (int j = 0, k = 0; j < n; ++j) {
        while (k < top && e.from[k + 1] < j) ++k;
        const double apart = j - e.at[k];
        out[Index(j) * LANES] = static_cast<Real>(f[Index(e.at[k]) * LANES] + (apart * step) * (apart * step));
    }
}

template <class Real>
struct Lines {
    std::vector<Real> in, out;
    Envelope envelope;
    explicit Lines(int n) : in(Index(n + 2 * NEAR) * LANES, FAR<Real>), out(Index(n) * LANES), envelope(n) {}
    Real *first() { return in.data() + Index(NEAR) * LANES; }
    void solve(int n, Real step) {
        if (by_neighbours(in.data(), out.data(), n, step)) return;
        for (int l = 0; l < LANES; ++l) by_envelope(first() + l, out.data() + l, n, step, envelope);
    }
};

// distances along the first axis, squared: a row of w voxels at a time
template <class Real>
MF_CLONES void sweep(const std::uint8_t *__restrict target, Real *__restrict out, int d, Index plane, int w, Real step) {
    for (int k = 0; k < w; ++k) out[k] = target[k] ? Real(0) : FAR<Real>;
    for (int z = 1; z < d; ++z) {
        const std::uint8_t *t = target + z * plane;
        const Real *before = out + (z - 1) * plane;
        Real *row = out + z * plane;
        for (int k = 0; k < w; ++k) row[k] = t[k] ? Real(0) : before[k] + Real(1);
    }
    for (int z = d - 2; z >= 0; --z) {
        const Real *after = out + (z + 1) * plane;
        Real *row = out + z * plane;
        for (int k = 0; k < w; ++k) row[k] = std::min(row[k], after[k] + Real(1));
    }
    for (int z = 0; z < d; ++z) {
        Real *row = out + z * plane;
        for (int k = 0; k < w; ++k) row[k] = (row[k] * step) * (row[k] * step);
    }
}

template <class Real>
MF_CLONES void columns_in(const Real *__restrict from, Real *__restrict to, int n, Index stride, int lanes) {
    if (lanes == LANES)
        for (int j = 0; j < n; ++j)
            for (int l = 0; l < LANES; ++l) to[Index(j) * LANES + l] = from[j * stride + l];
    else
        for (int j = 0; j < n; ++j)
            for (int l = 0; l < LANES; ++l) to[Index(j) * LANES + l] = l < lanes ? from[j * stride + l] : Real(0);
}

template <class Real>
MF_CLONES void columns_out(const Real *__restrict from, Real *__restrict to, int n, Index stride, int lanes) {
    for (int j = 0; j < n; ++j)
        for (int l = 0; l < lanes; ++l) to[j * stride + l] = from[Index(j) * LANES + l];
}

template <class Real>
MF_CLONES void rows_in(const Real *__restrict from, Real *__restrict to, int n, int lanes) {
    for (int l = 0; l < LANES; ++l)
        for (int j = 0; j < n; ++j) to[Index(j) * LANES + l] = l < lanes ? from[Index(l) * n + j] : Real(0);
}

template <class Real>
MF_CLONES void rows_out(const Real *__restrict from, Real *__restrict to, int n, int lanes) {
    for (int l = 0; l < lanes; ++l)
        for (int j = 0; j < n; ++j) to[Index(l) * n + j] = std::sqrt(from[Index(j) * LANES + l]);
}

}  // namespace

template <class Real>
void distance_transform(const std::uint8_t *target, Real *out, Index channels, const int *size, const Real *spacing,
                        int threads) {
    const int d = size[0], h = size[1], w = size[2];
    const Index plane = Index(h) * w, volume = d * plane;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index i = 0; i < channels * h; ++i) {
        const Index at = i / h * volume + i % h * w;
        sweep(target + at, out + at, d, plane, w, spacing[0]);
    }
    if (h > 1) {
        const int blocks = (w + LANES - 1) / LANES;
#pragma omp parallel num_threads(threads)
        {
            Lines<Real> lines(h);
#pragma omp for schedule(dynamic, 16)
            for (Index i = 0; i < channels * d * blocks; ++i) {
                const int k = static_cast<int>(i % blocks) * LANES, lanes = std::min(LANES, w - k);
                Real *at = out + i / blocks * plane + k;
                columns_in(at, lines.first(), h, w, lanes);
                lines.solve(h, spacing[1]);
                columns_out(lines.out.data(), at, h, w, lanes);
            }
        }
    }
    const Index rows = channels * d * h, blocks = (rows + LANES - 1) / LANES;
#pragma omp parallel num_threads(threads)
    {
        Lines<Real> lines(w);
#pragma omp for schedule(dynamic, 16)
        for (Index i = 0; i < blocks; ++i) {
            const int lanes = static_cast<int>(std::min<Index>(LANES, rows - i * LANES));
            Real *at = out + i * LANES * w;
            rows_in(at, lines.first(), w, lanes);
            lines.solve(w, spacing[2]);
            rows_out(lines.out.data(), at, w, lanes);
        }
    }
}

template void distance_transform(const std::uint8_t *, float *, Index, const int *, const float *, int);
template void distance_transform(const std::uint8_t *, double *, Index, const int *, const double *, int);

}  // namespace medframe
