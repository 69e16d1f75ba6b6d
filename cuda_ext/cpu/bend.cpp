#include "bend.h"

#include <algorithm>

namespace medframe {
namespace {

MF_CLONES void apply(const Affine &map, int n, Places &p) {
    const auto &m = map.m;
    for (int q = 0; q < n; ++q) {
        const double z = p[0][q], y = p[1][q], x = p[2][q];
        p[0][q] = m[0][0] * z + m[0][1] * y + m[0][2] * x + m[0][3];
        p[1][q] = m[1][0] * z + m[1][1] * y + m[1][2] * x + m[1][3];
        p[2][q] = m[2][0] * z + m[2][1] * y + m[2][2] * x + m[2][3];
    }
}

MF_CLONES void add_turned(const Affine &map, const float (*f)[BLOCK], int n, Places &p) {
    const auto &m = map.m;
    for (int q = 0; q < n; ++q) {
        const double z = f[0][q], y = f[1][q], x = f[2][q];
        p[0][q] += m[0][0] * z + m[0][1] * y + m[0][2] * x;
        p[1][q] += m[1][0] * z + m[1][1] * y + m[1][2] * x;
        p[2][q] += m[2][0] * z + m[2][1] * y + m[2][2] * x;
    }
}

MF_CLONES void add(const float (*f)[BLOCK], int n, Places &p) {
    for (int a = 0; a < 3; ++a)
        for (int q = 0; q < n; ++q) p[a][q] += f[a][q];
}

// where the 4 x 4 x 4 knots around each place begin, and their weights
MF_CLONES void knot_spots(const Places &p, int n, const int *size, const int *dims, Spots<float> &s) {
    for (int q = 0; q < n; ++q) s.at[q] = 0;
    for (int a = 0; a < 3; ++a) {
        const double last = size[a] - 1;
        const Index step = 4 * (a == 0 ? Index(dims[1]) * dims[2] : a == 1 ? dims[2] : 1);
        float *__restrict w0 = s.weight[4 * a], *__restrict w1 = s.weight[4 * a + 1],
                          *__restrict w2 = s.weight[4 * a + 2], *__restrict w3 = s.weight[4 * a + 3];
        for (int q = 0; q < n; ++q) {
            double t;
            float w[4];
            const int base = cell(held(p[a][q], 0, last), size[a], t);
            spline_weights(t, w);
            w0[q] = w[0], w1[q] = w[1], w2[q] = w[2], w3[q] = w[3];
            s.at[q] += step * base;
        }
    }
}

MF_CLONES void knot_taps(const float *__restrict woven, const int *dims, const Spots<float> &s, int n,
                         float (*__restrict f)[BLOCK]) {
    const Index row = 4 * Index(dims[2]), plane = row * dims[1];
    for (int q = 0; q < n; ++q) {
        four<float> sum[4] = {};
        for (int a = 0; a < 4; ++a)
            for (int b = 0; b < 4; ++b) {
                const float *p = woven + s.at[q] + a * plane + b * row;
                const float w = s.weight[a][q] * s.weight[4 + b][q];
                for (int c = 0; c < 4; ++c) sum[c] += load4(p + 4 * c) * w;
            }
        const four<float> v =
            sum[0] * s.weight[8][q] + sum[1] * s.weight[9][q] + sum[2] * s.weight[10][q] + sum[3] * s.weight[11][q];
        for (int a = 0; a < 3; ++a) f[a][q] = v[a];
    }
}

MF_HD four<float> four_knots(const float *p, const float *w) {
    return load4(p) * w[0] + load4(p + 4) * w[1] + load4(p + 8) * w[2] + load4(p + 12) * w[3];
}

MF_CLONES void table_taps(const float *__restrict line, const int *__restrict base, const float *__restrict weight,
                          int n, float (*__restrict f)[BLOCK]) {
    int q = 0;
    for (; q + 4 <= n; q += 4) {
        four<float> a = four_knots(line + 4 * Index(base[q]), weight + 4 * q),
                    b = four_knots(line + 4 * Index(base[q + 1]), weight + 4 * q + 4);
        four<float> c = four_knots(line + 4 * Index(base[q + 2]), weight + 4 * q + 8),
                    d = four_knots(line + 4 * Index(base[q + 3]), weight + 4 * q + 12);
        transpose4<float>(a, b, c, d);
        store4(f[0] + q, a);
        store4(f[1] + q, b);
        store4(f[2] + q, c);
    }
    for (; q < n; ++q) {
        const four<float> v = four_knots(line + 4 * Index(base[q]), weight + 4 * q);
        for (int a = 0; a < 3; ++a) f[a][q] = v[a];
    }
}

// to[x] = sum over four rows, `step` apart, of weight * from[x]
template <class From, class To>
MF_CLONES void sum_rows(const From *__restrict from, Index step, const float *__restrict w, Index n,
                        To *__restrict to) {
    for (Index x = 0; x < n; ++x)
        to[x] = static_cast<To>(double(w[0]) * from[x] + double(w[1]) * from[x + step] +
                                double(w[2]) * from[x + 2 * step] + double(w[3]) * from[x + 3 * step]);
}

}  // namespace

Bend::Bend(const Knots &knots, const Affine *lead, const int *out_size) : knots_(knots), first_(lead != nullptr) {
    std::copy(out_size, out_size + 3, out_size_);
    int axis[3] = {0, 1, 2};
    if (first_) {
        index_to_knots_ = knots.to_knots.after(*lead);
        index_onward_ = knots.onward.after(*lead);
        int follows[3];
        if (knots.order == 3 && aligned(index_to_knots_, out_size, follows)) {
            tabled_ = true;
            std::copy(follows, follows + 3, axis);
        }
    }
    if (knots.order == 3) weave(axis);
    if (!tabled_) return;
    for (int o = 0; o < 3; ++o) {
        const int n = knots.n[axis[o]];
        const double *m = index_to_knots_.m[axis[o]];
        base_[o].resize(out_size[o]);
        weight_[o].resize(4 * Index(out_size[o]));
        for (int k = 0; k < out_size[o]; ++k) {
            double t;
            base_[o][k] = cell(held(m[o] * k + m[3], 0, n - 1), n, t);
            spline_weights(t, weight_[o].data() + 4 * Index(k));
        }
        const auto ends = std::minmax_element(base_[o].begin(), base_[o].end());
        lo_[o] = *ends.first;
        hi_[o] = *ends.second + 4;
    }
}

// Dimension o of the woven array is knot axis axis[o]. The four numbers of a knot lie together, the fourth is unused.
void Bend::weave(const int *axis) {
    for (int o = 0; o < 3; ++o) dims_[o] = knots_.n[axis[o]] + 3;
    const Index n0 = knots_.n[0], n1 = knots_.n[1], n2 = knots_.n[2], all = n0 * n1 * n2;
    const Index step[3] = {n1 * n2, n2, 1};
    woven_.assign(4 * Index(dims_[0]) * dims_[1] * dims_[2], 0.0f);
    const auto held_knot = [&](int o, int i) {
        return step[axis[o]] * std::min(std::max(i - 1, 0), knots_.n[axis[o]] - 1);
    };
    const auto &m = knots_.onward.m;
    float *to = woven_.data();
    for (int a = 0; a < dims_[0]; ++a)
        for (int b = 0; b < dims_[1]; ++b)
            for (int c = 0; c < dims_[2]; ++c, to += 4) {
                const float *v = knots_.values + held_knot(0, a) + held_knot(1, b) + held_knot(2, c);
                for (int r = 0; r < 3; ++r)
                    to[r] = static_cast<float>(m[r][0] * v[0] + m[r][1] * v[all] + m[r][2] * v[2 * all]);
            }
}

BendScratch Bend::scratch() const {
    BendScratch s;
    if (tabled_) {
        s.slab.resize(4 * Index(dims_[1]) * dims_[2]);
        s.line.resize(4 * Index(dims_[2]));
    }
    return s;
}

void Bend::reduce(int i, int j, BendScratch &s) const {
    const Index row = 4 * Index(dims_[2]), plane = row * dims_[1];
    const Index from = 4 * Index(lo_[2]), n = 4 * Index(hi_[2] - lo_[2]);
    if (s.slab_of != i) {
        for (Index b = lo_[1]; b < hi_[1]; ++b)
            sum_rows(woven_.data() + base_[0][i] * plane + b * row + from, plane, weight_[0].data() + 4 * Index(i), n,
                     s.slab.data() + b * row + from);
        s.slab_of = i;
        s.line_of = -1;
    }
    if (s.line_of != j) {
        sum_rows(s.slab.data() + base_[1][j] * row + from, row, weight_[1].data() + 4 * Index(j), n,
                 s.line.data() + from);
        s.line_of = j;
    }
}

void Bend::carry(int i, int j, int k0, int n, Places &p, BendScratch &s) const {
    if (first_) {
        fill_places(Line(index_onward_, i, j), k0, n, p);
        if (!tabled_) fill_places(Line(index_to_knots_, i, j), k0, n, s.q);
    } else {
        std::memcpy(s.q, p, sizeof p);
        apply(knots_.to_knots, n, s.q);
        apply(knots_.onward, n, p);
    }
    if (tabled_) {
        reduce(i, j, s);
        table_taps(s.line.data(), base_[2].data() + k0, weight_[2].data() + 4 * Index(k0), n, s.f);
        return add(s.f, n, p);
    }
    if (knots_.order == 3) {
        knot_spots(s.q, n, knots_.n, dims_, s.spots);
        knot_taps(woven_.data(), dims_, s.spots, n, s.f);
        return add(s.f, n, p);
    }
    const Grid grid(knots_.n);
    const Index all = Index(knots_.n[0]) * knots_.n[1] * knots_.n[2];
    fold_places(s.q, n, knots_.n, EDGE);
    if (knots_.n[2] > 1) linear_spots(s.q, 0, n, grid, s.spots);
    for (int a = 0; a < 3; ++a) {
        if (knots_.n[2] > 1) {
            linear_taps(knots_.values + a * all, grid, s.spots, n, s.f[a]);
        } else {  // a row of one knot has no second tap to load
            for (int q = 0; q < n; ++q)
                s.f[a][q] = value_at<1>(knots_.values + a * all, grid, s.q[0][q], s.q[1][q], s.q[2][q], EDGE, 0.0f);
        }
    }
    add_turned(knots_.onward, s.f, n, p);
}

}  // namespace medframe
