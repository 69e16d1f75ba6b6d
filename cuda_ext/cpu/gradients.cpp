// Sampling through a displacement that is trained, and the gradients of sampling: with respect to the voxels (the exact
// adjoint), the matrix and the displacement.
//
// Gradients are summed by chunks of rows, each in memory of its own, and the chunks in their order: the number of
// chunks depends on the lattices only, so the number of threads changes no bit.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "bend.h"

namespace medframe {
namespace {

struct Released {
    void operator()(void *p) const { std::free(p); }
};
template <class T>
using Zeros = std::unique_ptr<T[], Released>;

// untouched pages of it take no memory
template <class T>
Zeros<T> zeros(Index n) {
    T *p = static_cast<T *>(std::calloc(static_cast<std::size_t>(n), sizeof(T)));
    if (p == nullptr) throw std::bad_alloc();
    return Zeros<T>(p);
}

// The knots around a place, and their weights.
struct KnotTaps {
    int count;
    int at[3][4];
    double weight[3][4];
};

template <class Real>
class Field {
  public:
    Field(const FieldJob &field, const Affine &lead, const int *out_size)
        : field_(field), values_(static_cast<const Real *>(field.values)), to_knots_(field.to_knots.after(lead)) {
        all_ = Index(field.n[0]) * field.n[1] * field.n[2];
        dense_ = values_ != nullptr && field.order == 1;
        for (int a = 0; a < 3 && dense_; ++a) {
            dense_ = field.n[a] == out_size[a];
            for (int c = 0; c < 4 && out_size[a] > 1; ++c)
                if (c == 3 || out_size[c] > 1) dense_ = dense_ && to_knots_.m[a][c] == (a == c ? 1 : 0);
        }
    }

    bool there() const { return values_ != nullptr; }
    bool dense() const { return dense_; }  // one knot a voxel: nothing is interpolated
    Index knots() const { return all_; }

    KnotTaps taps(const double *o) const {
        KnotTaps out;
        out.count = field_.order + 1;
        for (int a = 0; a < 3; ++a) {
            const auto &m = to_knots_.m[a];
            const int n = field_.n[a], first = field_.order == 3 ? -1 : 0;
            double t;
            const int base = cell(held(m[0] * o[0] + m[1] * o[1] + m[2] * o[2] + m[3], 0, n - 1), n, t);
            if (field_.order == 3) {
                spline_weights(t, out.weight[a]);
            } else {
                out.weight[a][0] = 1 - t;
                out.weight[a][1] = t;
            }
            for (int k = 0; k < out.count; ++k) out.at[a][k] = std::min(std::max(base + first + k, 0), n - 1);
        }
        return out;
    }

    // f(knot, weight) for each of the knots around
    template <class F>
    void each(const KnotTaps &t, F &&f) const {
        for (int i = 0; i < t.count; ++i)
            for (int j = 0; j < t.count; ++j)
                for (int k = 0; k < t.count; ++k)
                    f((Index(t.at[0][i]) * field_.n[1] + t.at[1][j]) * field_.n[2] + t.at[2][k],
                      t.weight[0][i] * t.weight[1][j] * t.weight[2][k]);
    }

    // adds the displacement of voxels k0 ... k0 + n - 1 of row (i, j), which begin at flat index `at`, to x
    void add(int i, int j, int k0, int n, Index at, Places &x) const {
        if (dense_) {
            for (int a = 0; a < 3; ++a)
                for (int q = 0; q < n; ++q) x[a][q] += values_[a * all_ + at + q];
            return;
        }
        for (int q = 0; q < n; ++q) {
            const double o[3] = {double(i), double(j), double(k0 + q)};
            double f[3] = {0, 0, 0};
            each(taps(o), [&](Index knot, double w) {
                for (int a = 0; a < 3; ++a) f[a] += w * values_[a * all_ + knot];
            });
            for (int a = 0; a < 3; ++a) x[a][q] += f[a];
        }
    }

  private:
    const FieldJob &field_;
    const Real *values_;
    const Affine to_knots_;
    Index all_;
    bool dense_;
};

// x through `map`, into p
MF_CLONES void carry(const Affine &map, const Places &x, int n, Places &p) {
    const auto &m = map.m;
    for (int a = 0; a < 3; ++a)
        for (int q = 0; q < n; ++q) p[a][q] = m[a][0] * x[0][q] + m[a][1] * x[1][q] + m[a][2] * x[2][q] + m[a][3];
}

template <class Real>
struct SampleScratch {
    Places x, p;
    Spots<Real> spots;
    unsigned char how[BLOCK];
    std::vector<BendScratch> bends;
};

template <int ORDER, class Real>
class Forward {
  public:
    Forward(const SampleJob &all, const Route &route)
        : all_(all),
          job_(all.job),
          route_(route),
          field_(all.field, all.job.lead, all.job.out_size),
          grid_(all.job.in_size),
          in_(static_cast<const Real *>(all.job.in)),
          fill_(static_cast<Real>(all.job.fill)) {
        for (int a = 0; a < 3; ++a) {
            lo_[a] = 0;
            hi_[a] = ORDER == 1 ? job_.in_size[a] - 1 : -1;
            touch_lo_[a] = -1;
            touch_hi_[a] = job_.in_size[a];
        }
        if (grid_.n[2] < 2) hi_[2] = -1;  // no room for a row of taps
    }

    void prepare(SampleScratch<Real> &) const {}

    void row(int i, int j, SampleScratch<Real> &s) const {
        const int w = job_.out_size[2];
        const Index start = (Index(i) * job_.out_size[1] + j) * w;
        for (int k = 0; k < w; k += BLOCK) {
            const int n = std::min(BLOCK, w - k);
            route_.places(i, j, k, n, s.x, s.bends);
            if (field_.there()) field_.add(i, j, k, n, start + k, s.x);
            carry(all_.last, s.x, n, s.p);
            if (ORDER == 1) fold_places(s.p, n, grid_.n, job_.border);
            classify(s.p, n, lo_, hi_, touch_lo_, touch_hi_, s.how);
            for (int q = 0, end; q < n; q = end) {
                for (end = q + 1; end < n && s.how[end] == s.how[q];) ++end;
                if (ORDER == 1 && s.how[q] == FAST) linear_spots(s.p, q, end - q, grid_, s.spots);
                for (Index c = 0; c < job_.channels; ++c) {
                    const Real *in = in_ + c * job_.in_voxels();
                    Real *to = static_cast<Real *>(job_.out) + c * job_.out_voxels() + start + k;
                    if (ORDER == 1 && s.how[q] == FAST)
                        linear_taps(in, grid_, s.spots, end - q, to + q);
                    else
                        for (int r = q; r < end; ++r)
                            to[r] = value_at<ORDER>(in, grid_, s.p[0][r], s.p[1][r], s.p[2][r], job_.border, fill_);
                }
            }
        }
    }

  private:
    const SampleJob &all_;
    const Job &job_;
    const Route &route_;
    const Field<Real> field_;
    const Grid grid_;
    const Real *in_;
    const Real fill_;
    double lo_[3], hi_[3], touch_lo_[3], touch_hi_[3];
};

// Where one chunk of rows leaves what it finds.
template <class Real>
struct Sums {
    Real *volume = nullptr;
    double *field = nullptr;
    double last[3][4] = {};
};

template <int ORDER, class Real>
class Backward {
  public:
    Backward(const SampleJob &all, const Route &route)
        : all_(all),
          job_(all.job),
          route_(route),
          field_(all.field, all.job.lead, all.job.out_size),
          grid_(all.job.in_size),
          in_(static_cast<const Real *>(all.job.in)),
          grad_(static_cast<const Real *>(all.grad_out)),
          fill_(static_cast<Real>(all.job.fill)),
          turned_(ORDER > 0 && (all.grad_last != nullptr || all.grad_field != nullptr)) {}

    void run() const {
        const Index rows = Index(job_.out_size[0]) * job_.out_size[1], voxels = job_.channels * job_.in_voxels();
        const bool scatters = all_.grad_volume != nullptr || (all_.grad_field != nullptr && !field_.dense());
        const int chunks = static_cast<int>(std::min<Index>(rows, scatters ? 4 : 64));
        std::vector<Sums<Real>> sums(chunks);
        std::vector<Zeros<Real>> volumes;
        std::vector<Zeros<double>> fields;
        for (int t = 0; t < chunks; ++t) {
            if (all_.grad_volume != nullptr) {
                if (t > 0) volumes.push_back(zeros<Real>(voxels));
                sums[t].volume = t > 0 ? volumes.back().get() : static_cast<Real *>(all_.grad_volume);
            }
            if (all_.grad_field != nullptr && !field_.dense()) {
                fields.push_back(zeros<double>(3 * field_.knots()));
                sums[t].field = fields.back().get();
            }
        }
        std::vector<SampleScratch<Real>> scratch(job_.threads);  // an exception must not leave a parallel region
        for (auto &s : scratch) s.bends = route_.scratch();
#pragma omp parallel for schedule(dynamic, 1) num_threads(job_.threads) if (job_.threads > 1)
        for (int t = 0; t < chunks; ++t)
            for (Index r = rows * t / chunks; r < rows * (t + 1) / chunks; ++r)
                row(static_cast<int>(r / job_.out_size[1]), static_cast<int>(r % job_.out_size[1]),
                    scratch[omp_get_thread_num()], sums[t]);
        if (all_.grad_last != nullptr)
            for (const auto &s : sums)
                for (int e = 0; e < 12; ++e) all_.grad_last[e] += s.last[e / 4][e % 4];
        if (!fields.empty()) {
            Real *to = static_cast<Real *>(all_.grad_field);
            for (Index e = 0; e < 3 * field_.knots(); ++e) {
                double total = 0;
                for (const auto &f : fields) total += f[e];
                to[e] += static_cast<Real>(total);
            }
        }
        if (volumes.empty()) return;
        constexpr Index STRETCH = 1 << 16;
        Real *to = static_cast<Real *>(all_.grad_volume);
#pragma omp parallel for schedule(static) num_threads(job_.threads) if (job_.threads > 1)
        for (Index b = 0; b < (voxels + STRETCH - 1) / STRETCH; ++b)
            for (const auto &v : volumes)
                for (Index e = b * STRETCH; e < std::min(voxels, (b + 1) * STRETCH); ++e) to[e] += v[e];
    }

  private:
    static constexpr int N = ORDER + 1, TAPS = N * N * N;

    void row(int i, int j, SampleScratch<Real> &s, Sums<Real> &to) const {
        const int w = job_.out_size[2];
        const Index start = (Index(i) * job_.out_size[1] + j) * w;
        for (int k = 0; k < w; k += BLOCK) {
            const int n = std::min(BLOCK, w - k);
            route_.places(i, j, k, n, s.x, s.bends);
            if (field_.there()) field_.add(i, j, k, n, start + k, s.x);
            carry(all_.last, s.x, n, s.p);
            for (int q = 0; q < n; ++q) {
                const double p[3] = {s.p[0][q], s.p[1][q], s.p[2][q]};
                double slope[3] = {0, 0, 0};
                voxel(p, start + k + q, to, slope);
                if (!turned_) continue;
                const double x[4] = {s.x[0][q], s.x[1][q], s.x[2][q], 1};
                if (all_.grad_last != nullptr)
                    for (int a = 0; a < 3; ++a)
                        for (int c = 0; c < 4; ++c) to.last[a][c] += slope[a] * x[c];
                if (all_.grad_field != nullptr) displaced(i, j, k + q, start + k + q, slope, to);
            }
        }
    }

    // One voxel's share of the volume's gradient, and the gradient with respect to its place.
    void voxel(const double *p, Index at, Sums<Real> &to, double *slope) const {
        Taps<ORDER, Real> axis[3];
        for (int a = 0; a < 3; ++a) axis[a] = taps<ORDER, Real>(p[a], grid_.n[a], job_.border);
        Index place[TAPS];
        Real weight[TAPS];
        for (int i = 0, t = 0; i < N; ++i)
            for (int j = 0; j < N; ++j)
                for (int k = 0; k < N; ++k, ++t) {
                    place[t] = grid_.at(int(axis[0].at[i]), int(axis[1].at[j]), int(axis[2].at[k]));
                    weight[t] = axis[0].weight[i] * axis[1].weight[j] * axis[2].weight[k];
                }
        if (to.volume != nullptr)
            for (Index c = 0; c < job_.channels; ++c) {
                const Real g = grad_[c * job_.out_voxels() + at];
                Real *v = to.volume + c * job_.in_voxels();
                for (int t = 0; t < TAPS; ++t)
                    if (weight[t] != 0) v[place[t]] += g * weight[t];
            }
        if (!turned_) return;
        Slopes<ORDER, Real> rise[3];
        for (int a = 0; a < 3; ++a) rise[a] = slopes<ORDER, Real>(p[a], grid_.n[a], job_.border);
        const Real away[3] = {rise[0].cover * axis[1].cover * axis[2].cover,
                              axis[0].cover * rise[1].cover * axis[2].cover,
                              axis[0].cover * axis[1].cover * rise[2].cover};
        for (Index c = 0; c < job_.channels; ++c) {
            const Real g = grad_[c * job_.out_voxels() + at];
            const Real *v = in_ + c * job_.in_voxels();
            Real sum[3] = {0, 0, 0};
            for (int i = 0, t = 0; i < N; ++i)
                for (int j = 0; j < N; ++j) {
                    Real line = 0, climb = 0;
                    for (int k = 0; k < N; ++k, ++t) {
                        line += axis[2].weight[k] * v[place[t]];
                        climb += rise[2].weight[k] * v[place[t]];
                    }
                    sum[0] += rise[0].weight[i] * axis[1].weight[j] * line;
                    sum[1] += axis[0].weight[i] * rise[1].weight[j] * line;
                    sum[2] += axis[0].weight[i] * axis[1].weight[j] * climb;
                }
            for (int a = 0; a < 3; ++a) slope[a] += double(g) * double(sum[a] - fill_ * away[a]);
        }
    }

    void displaced(int i, int j, int k, Index at, const double *slope, Sums<Real> &to) const {
        const auto &m = all_.last.m;
        double g[3];
        for (int a = 0; a < 3; ++a) g[a] = m[0][a] * slope[0] + m[1][a] * slope[1] + m[2][a] * slope[2];
        const Index knots = field_.knots();
        if (field_.dense()) {
            Real *out = static_cast<Real *>(all_.grad_field);
            for (int a = 0; a < 3; ++a) out[a * knots + at] += static_cast<Real>(g[a]);
            return;
        }
        const double o[3] = {double(i), double(j), double(k)};
        field_.each(field_.taps(o), [&](Index knot, double w) {
            for (int a = 0; a < 3; ++a) to.field[a * knots + knot] += w * g[a];
        });
    }

    const SampleJob &all_;
    const Job &job_;
    const Route &route_;
    const Field<Real> field_;
    const Grid grid_;
    const Real *in_, *grad_;
    const Real fill_;
    const bool turned_;  // whether gradients with respect to places are wanted, and not zero
};

}  // namespace

template <class Real>
void sample_rows(const SampleJob &all) {
    const Route route(all.job);
    switch (all.job.order) {
        case 0: return for_rows<SampleScratch<Real>>(all.job, route, Forward<0, Real>(all, route));
        case 1: return for_rows<SampleScratch<Real>>(all.job, route, Forward<1, Real>(all, route));
        default: return for_rows<SampleScratch<Real>>(all.job, route, Forward<3, Real>(all, route));
    }
}

template <class Real>
void sample_gradients(const SampleJob &all) {
    const Route route(all.job);
    switch (all.job.order) {
        case 0: return Backward<0, Real>(all, route).run();
        case 1: return Backward<1, Real>(all, route).run();
        default: return Backward<3, Real>(all, route).run();
    }
}

template void sample_rows<float>(const SampleJob &);
template void sample_rows<double>(const SampleJob &);
template void sample_gradients<float>(const SampleJob &);
template void sample_gradients<double>(const SampleJob &);

}  // namespace medframe
