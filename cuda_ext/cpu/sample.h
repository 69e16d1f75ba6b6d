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

// the same for voxels k0, k0 + 1, ... of a straight row, all of whose nearest voxels lie inside
MF_CLONES inline void nearest_line(const Line &line, int k0, int n, const Grid &g, Index *__restrict at) {
    const double z0 = line.start[0] + 0.5, y0 = line.start[1] + 0.5, x0 = line.start[2] + 0.5;
    const double dz = line.step[0], dy = line.step[1], dx = line.step[2];
    const int z1 = g.n[0] - 1, y1 = g.n[1] - 1, x1 = g.n[2] - 1;
    for (int q = 0; q < n; ++q) {
        const double k = k0 + q;  // not negative but for rounding: truncation is floor
        const int z = static_cast<int>(z0 + k * dz), y = static_cast<int>(y0 + k * dy),
                  x = static_cast<int>(x0 + k * dx);
        at[q] = g.at(z < z1 ? z : z1, y < y1 ? y : y1, x < x1 ? x : x1);
    }
}

template <class T>
MF_CLONES void copy_taps(const T *__restrict in, const Index *__restrict at, int n, T *__restrict out) {
    for (int q = 0; q < n; ++q) out[q] = in[at[q]];
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

// the same for voxels k0, k0 + 1, ... of a straight row, all of whose taps lie inside
MF_CLONES inline void line_spots(const Line &line, int k0, int n, const Grid &g, Spots<double> &s) {
    Index *__restrict at = s.at;
    double *__restrict wz = s.weight[0], *__restrict wy = s.weight[1], *__restrict wx = s.weight[2];
    const double z0 = line.start[0], y0 = line.start[1], x0 = line.start[2];
    const double dz = line.step[0], dy = line.step[1], dx = line.step[2];
    for (int q = 0; q < n; ++q) {
        const double k = k0 + q;
        const int z = cell(z0 + k * dz, g.n[0], wz[q]), y = cell(y0 + k * dy, g.n[1], wy[q]),
                  x = cell(x0 + k * dx, g.n[2], wx[q]);
        at[q] = g.at(z, y, x);
    }
}

// A place as a whole number of 2^-32 voxels, for the steps of one block: off by less than the weights' float rounding.
constexpr double FIXED = 4294967296.0;
inline std::uint64_t fixed(double x) {
    // a step longer than any volume belongs to a block of one voxel, which takes none
    return std::abs(x) < 2147483648.0 ? static_cast<std::uint64_t>(std::llrint(x * FIXED)) : 0;
}

// The cell of a fixed place that may have been rounded across the volume's rim, and the fraction within it.
MF_HD int fixed_cell(std::uint64_t place, int last, float &t) {
    const int whole = static_cast<int>(place >> 32), up = whole > 0 ? whole : 0, base = up < last ? up : last;
    t = static_cast<float>(static_cast<int>(static_cast<std::uint32_t>(place) >> 1)) * 4.656612873077393e-10f +  // 2^-31
        static_cast<float>(whole - base);
    return base;
}

// Whole numbers step from voxel to voxel: a linear pull takes a tenth less time than with places in double precision.
MF_CLONES inline void line_spots(const Line &line, int k0, int n, const Grid &g, Spots<float> &s) {
    Index *__restrict at = s.at;
    float *__restrict wz = s.weight[0], *__restrict wy = s.weight[1], *__restrict wx = s.weight[2];
    std::uint64_t z = fixed(line.start[0] + k0 * line.step[0]), y = fixed(line.start[1] + k0 * line.step[1]),
                  x = fixed(line.start[2] + k0 * line.step[2]);
    const std::uint64_t dz = fixed(line.step[0]), dy = fixed(line.step[1]), dx = fixed(line.step[2]);
    const int last_z = g.n[0] > 2 ? g.n[0] - 2 : 0, last_y = g.n[1] > 2 ? g.n[1] - 2 : 0,
              last_x = g.n[2] > 2 ? g.n[2] - 2 : 0;
    for (int q = 0; q < n; ++q) {
        const int i = fixed_cell(z, last_z, wz[q]), j = fixed_cell(y, last_y, wy[q]), k = fixed_cell(x, last_x, wx[q]);
        at[q] = g.at(i, j, k);
        z += dz, y += dy, x += dx;
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
    for (; q + 4 <= n; q += 4) {  // the taps along x of two voxels stand side by side until the end
        const V z = load4(wz + q), y = load4(wy + q), tx = load4(wx + q);
        V two[2];
        for (int r = 0; r < 2; ++r) {
            const V tz = r ? high_twice<Real>(z) : low_twice<Real>(z);
            const V ty = r ? high_twice<Real>(y) : low_twice<Real>(y);
            const V sz = 1 - tz, sy = 1 - ty;
            const T *a = in + s.at[q + 2 * r], *b = in + s.at[q + 2 * r + 1];
            const V near = mix<V>(pairs(a, b), pairs(a + plane, b + plane), tz, sz);
            const V far = mix<V>(pairs(a + row, b + row), pairs(a + plane + row, b + plane + row), tz, sz);
            two[r] = mix<V>(near, far, ty, sy);
        }
        store4(out + q, mix<V>(firsts<Real>(two[0], two[1]), seconds<Real>(two[0], two[1]), tx, 1 - tx));
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

// One axis of a place in (-1, n) between two voxels, of which one may lie outside: that one has weight 0, and the index
// of the other, whose bad values then spoil nothing more.
struct Rim {
    int near, far;
    double near_weight, far_weight;
};
MF_HD Rim rim_of(double x, int n) {
    const double base = floor_of(x);
    const int i = static_cast<int>(base);
    Rim r;
    r.near = i < 0 ? 0 : i;
    r.far = i + 1 < n ? i + 1 : n - 1;
    r.near_weight = i < 0 ? 0 : 1 - (x - base);
    r.far_weight = i + 1 < n ? x - base : 0;
    return r;
}

// Voxels k0, k0 + 1, ... of a straight row that lie less than a voxel outside, with a ZERO border.
template <class T, class Real>
MF_CLONES void linear_rim(const T *__restrict in, const Grid &g, const Line &line, int k0, int n, Real fill,
                          Real *__restrict out) {
    for (int q = 0; q < n; ++q) {
        const double k = k0 + q;
        const Rim z = rim_of(line.start[0] + k * line.step[0], g.n[0]);
        const Rim y = rim_of(line.start[1] + k * line.step[1], g.n[1]);
        const Rim x = rim_of(line.start[2] + k * line.step[2], g.n[2]);
        const T *rows[4] = {in + g.at(z.near, y.near, 0), in + g.at(z.near, y.far, 0), in + g.at(z.far, y.near, 0),
                            in + g.at(z.far, y.far, 0)};
        const Real near = static_cast<Real>(x.near_weight), far = static_cast<Real>(x.far_weight);
        Real line_of[4];
        for (int r = 0; r < 4; ++r)
            line_of[r] = Real(number(rows[r][x.near])) * near + Real(number(rows[r][x.far])) * far;
        const Real zn = static_cast<Real>(z.near_weight), zf = static_cast<Real>(z.far_weight),
                   yn = static_cast<Real>(y.near_weight), yf = static_cast<Real>(y.far_weight);
        const Real sum = (line_of[0] * yn + line_of[1] * yf) * zn + (line_of[2] * yn + line_of[3] * yf) * zf;
        const Real lost = 1 - (zn + zf) * (yn + yf) * (near + far);
        out[q] = lost == 0 ? sum : sum + fill * lost;
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
