// Reading a volume at a row of places, in three steps: fold the places by the border rule, turn them into offsets and
// weights ("spots"), and sum the taps. Spots are found once and serve every channel.
#ifndef MEDFRAME_SAMPLE_H
#define MEDFRAME_SAMPLE_H

#include "lanes.h"

namespace medframe {

constexpr int BLOCK = 256;  // voxels of a row handled at once: the scratch stays in the first-level cache

// A volume's sizes and steps; an axis of size 1 has step 0, so that a cell's far tap is the near one again.
struct Grid {
    int n[3];
    Index plane;
    int row;
    explicit Grid(const int *size) {
        for (int a = 0; a < 3; ++a) n[a] = size[a];
        plane = size[0] > 1 ? Index(size[1]) * size[2] : 0;
        row = size[1] > 1 ? size[2] : 0;
    }
    // 32-bit factors: a multiplication that widens is far quicker in vectors than one of 64 bits
    MF_HD Index at(int z, int y, int x) const { return Index(z * n[1] + y) * n[2] + x; }
};

template <class Real>
struct Spots {
    alignas(64) Index at[BLOCK];
    alignas(64) Real weight[12][BLOCK];
};

using Places = double[3][BLOCK];

// start + k * step for voxels k0, k0 + 1, ... of a row
MF_CLONES inline void fill_places(const Line &line, int k0, int n, Places &p) {
    for (int a = 0; a < 3; ++a) {
        const double start = line.start[a], step = line.step[a];
        double *__restrict out = p[a];
        for (int q = 0; q < n; ++q) out[q] = start + (k0 + q) * step;
    }
}

MF_CLONES inline void fold_places(Places &p, int n, const int *size, Border border) {
    for (int a = 0; a < 3; ++a) {
        const double m = size[a];
        double *__restrict x = p[a];
        switch (border) {
            case ZERO: break;
            case EDGE:
                for (int q = 0; q < n; ++q) x[q] = fold_place(x[q], m, EDGE);
                break;
            case REFLECT:
                for (int q = 0; q < n; ++q) x[q] = fold_place(x[q], m, REFLECT);
                break;
            case WRAP:
                for (int q = 0; q < n; ++q) x[q] = fold_place(x[q], m, WRAP);
                break;
        }
    }
}

// How a place is read: not at all, tap by tap, or by the fast sums, which need all of its taps inside.
enum How : unsigned char { NOTHING = 0, EACH_TAP = 1, FAST = 2 };

// Places within [lo, hi] on all axes are FAST, others that touch the volume EACH_TAP; NaN touches nothing.
MF_CLONES inline void classify(const Places &p, int n, const double *lo, const double *hi, const double *touch_lo,
                               const double *touch_hi, unsigned char *__restrict how) {
    const double *__restrict z = p[0], *__restrict y = p[1], *__restrict x = p[2];
    for (int q = 0; q < n; ++q) {
        const bool fast =
            (z[q] >= lo[0]) & (z[q] <= hi[0]) & (y[q] >= lo[1]) & (y[q] <= hi[1]) & (x[q] >= lo[2]) & (x[q] <= hi[2]);
        const bool touch = (z[q] > touch_lo[0]) & (z[q] < touch_hi[0]) & (y[q] > touch_lo[1]) & (y[q] < touch_hi[1]) &
                           (x[q] > touch_lo[2]) & (x[q] < touch_hi[2]);
        how[q] = static_cast<unsigned char>(int(fast) + int(touch));
    }
}

// order 0: offsets of the nearest voxels, -1 outside a ZERO border

template <Border BORDER>
MF_HD void nearest_row(const Places &p, int n, const Grid &g, Index *__restrict at) {
    const double *__restrict z = p[0], *__restrict y = p[1], *__restrict x = p[2];
    const double nz = g.n[0], ny = g.n[1], nx = g.n[2];
    for (int q = 0; q < n; ++q) {
        const double i = floor_of(z[q] + 0.5), j = floor_of(y[q] + 0.5), k = floor_of(x[q] + 0.5);
        at[q] = g.at(int(fold_whole(i, nz, BORDER)), int(fold_whole(j, ny, BORDER)), int(fold_whole(k, nx, BORDER)));
    }
    if (BORDER != ZERO) return;
    for (int q = 0; q < n; ++q) {  // apart from the loop above, which then has no branch
        const double i = z[q] + 0.5, j = y[q] + 0.5, k = x[q] + 0.5;
        const bool in = (i >= 0) & (i < nz) & (j >= 0) & (j < ny) & (k >= 0) & (k < nx);
        at[q] = in ? at[q] : -1;
    }
}

MF_CLONES inline void nearest_spots(const Places &p, int n, const Grid &g, Border border, Index *at) {
    switch (border) {
        case ZERO: return nearest_row<ZERO>(p, n, g, at);
        case EDGE: return nearest_row<EDGE>(p, n, g, at);
        case REFLECT: return nearest_row<REFLECT>(p, n, g, at);
        case WRAP: return nearest_row<WRAP>(p, n, g, at);
    }
}

template <class T>
MF_CLONES void nearest_taps(const T *__restrict in, const Index *__restrict at, int n, T fill, T *__restrict out) {
    for (int q = 0; q < n; ++q) out[q] = at[q] < 0 ? fill : in[at[q]];
}

// order 1

template <class Real>
MF_CLONES void linear_spots(const Places &p, int q0, int n, const Grid &g, Spots<Real> &s) {
    const double *__restrict z = p[0] + q0, *__restrict y = p[1] + q0, *__restrict x = p[2] + q0;
    Index *__restrict at = s.at;
    Real *__restrict wz = s.weight[0], *__restrict wy = s.weight[1], *__restrict wx = s.weight[2];
    for (int q = 0; q < n; ++q) {
        double tz, ty, tx;
        const int i = cell(z[q], g.n[0], tz), j = cell(y[q], g.n[1], ty), k = cell(x[q], g.n[2], tx);
        at[q] = g.at(i, j, k);
        wz[q] = static_cast<Real>(tz);
        wy[q] = static_cast<Real>(ty);
        wx[q] = static_cast<Real>(tx);
    }
}

// a * (1 - t) + b * t is exact at t = 0 and at t = 1, which a + t * (b - a) is not
template <class V>
MF_HD V mix(const V &a, const V &b, const V &t, const V &s) {
    return a * s + b * t;
}

template <class T, class Real>
MF_CLONES void linear_taps(const T *__restrict in, const Grid &g, const Spots<Real> &s, int n, Real *__restrict out) {
    using V = four<Real>;
    const Index row = g.row, plane = g.plane;
    const Real *__restrict wz = s.weight[0], *__restrict wy = s.weight[1], *__restrict wx = s.weight[2];
    int q = 0;
    for (; q + 4 <= n; q += 4) {
        V v[4];
        for (int r = 0; r < 4; ++r) {
            const T *p = in + s.at[q + r];
            const Real t = wz[q + r];
            const V near = quad(p, row), far = quad(p + plane, row);
            v[r] = near * (1 - t) + far * t;
        }
        transpose4<Real>(v[0], v[1], v[2], v[3]);
        const V ty = load4(wy + q), tx = load4(wx + q), sy = 1 - ty, sx = 1 - tx;
        store4(out + q, mix<V>(mix<V>(v[0], v[2], ty, sy), mix<V>(v[1], v[3], ty, sy), tx, sx));
    }
    for (; q < n; ++q) {
        Real line[2];
        const Real tz = wz[q], ty = wy[q], tx = wx[q];
        for (int k = 0; k < 2; ++k) {
            const T *p = in + s.at[q] + k;
            const Real near = mix<Real>(number(p[0]), number(p[plane]), tz, 1 - tz),
                       far = mix<Real>(number(p[row]), number(p[plane + row]), tz, 1 - tz);
            line[k] = mix<Real>(near, far, ty, 1 - ty);
        }
        out[q] = mix<Real>(line[0], line[1], tx, 1 - tx);
    }
}

// order 3: weights 0-3 are z's, 4-7 y's, 8-11 x's; an axis of size 1 has one tap

template <class Real>
MF_CLONES void cubic_spots(const Places &p, int q0, int n, const Grid &g, Spots<Real> &s) {
    for (int q = 0; q < n; ++q) s.at[q] = 0;
    for (int a = 0; a < 3; ++a) {
        const double *__restrict x = p[a] + q0;
        const Index step = a == 0 ? g.plane : a == 1 ? g.row : 1;
        Real *__restrict w0 = s.weight[4 * a], *__restrict w1 = s.weight[4 * a + 1],
                         *__restrict w2 = s.weight[4 * a + 2], *__restrict w3 = s.weight[4 * a + 3];
        if (g.n[a] == 1) {
            for (int q = 0; q < n; ++q) w0[q] = 1;
            continue;
        }
        const int last = g.n[a] - 3;
        for (int q = 0; q < n; ++q) {
            // a place at the rim of what is FAST may have been rounded across it: the taps stay inside all the same
            const int floor = static_cast<int>(x[q]), base = floor < 1 ? 1 : floor > last ? last : floor;
            Real w[4];
            spline_weights(x[q] - base, w);
            w0[q] = w[0], w1[q] = w[1], w2[q] = w[2], w3[q] = w[3];
            s.at[q] += step * (base - 1);
        }
    }
}

template <class Real>
MF_CLONES void cubic_taps(const Real *__restrict in, const Grid &g, const Spots<Real> &s, int n, Real *__restrict out) {
    const int nz = g.n[0] > 1 ? 4 : 1, ny = g.n[1] > 1 ? 4 : 1;
    for (int q = 0; q < n; ++q) {
        four<Real> sum = {};
        for (int i = 0; i < nz; ++i)
            for (int j = 0; j < ny; ++j)
                sum += load4(in + s.at[q] + i * g.plane + Index(j) * g.row) * (s.weight[i][q] * s.weight[4 + j][q]);
        out[q] =
            sum[0] * s.weight[8][q] + sum[1] * s.weight[9][q] + sum[2] * s.weight[10][q] + sum[3] * s.weight[11][q];
    }
}

// any place, tap by tap: slow and right everywhere
template <int ORDER, class T, class Real>
Real value_at(const T *in, const Grid &g, double z, double y, double x, Border border, Real fill) {
    const auto tz = taps<ORDER, Real>(z, g.n[0], border), ty = taps<ORDER, Real>(y, g.n[1], border),
               tx = taps<ORDER, Real>(x, g.n[2], border);
    const Real cover = tz.cover * ty.cover * tx.cover;
    if (cover == 0) return fill;
    Real sum = 0;
    for (int i = 0; i <= ORDER; ++i)
        for (int j = 0; j <= ORDER; ++j)
            for (int k = 0; k <= ORDER; ++k) {
                const Real w = tz.weight[i] * ty.weight[j] * tx.weight[k];
                if (w != 0) sum += w * static_cast<Real>(number(in[g.at(int(tz.at[i]), int(ty.at[j]), int(tx.at[k]))]));
            }
    return cover == 1 ? sum : sum + fill * (1 - cover);
}

}  // namespace medframe

#endif
