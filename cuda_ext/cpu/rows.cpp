// Any pull: each output row is a row of places, carried through the stages and sampled block by block.
#include <algorithm>
#include <cstring>

#include "bend.h"

namespace medframe {
namespace {

template <class Real>
struct Scratch {
    Places p;
    Spots<Real> spots;
    unsigned char how[BLOCK];
    alignas(64) Real values[BLOCK];
    std::vector<BendScratch> bends;
};

// Where straight rows of one direction lie within [lo, hi] on all axes.
class Stretch {
  public:
    Stretch() = default;
    Stretch(const Affine &map, const double *lo, const double *hi) {
        for (int a = 0; a < 3; ++a) {
            lo_[a] = lo[a];
            hi_[a] = hi[a];
            const double step = map.m[a][2];
            per_step_[a] = std::abs(step) < 1e-30 ? 0 : 1 / step;
        }
    }

    // The voxels of [k0, k1) that do, as [first, second). Their number is estimated, then the ends are tested, so that
    // rounding decides as it does where places are classified one by one.
    void of(const Line &line, int k0, int k1, int &first, int &second) const {
        double from = k0, to = k1;
        for (int a = 0; a < 3; ++a) {
            if (per_step_[a] == 0) {
                if (!(line.start[a] >= lo_[a] && line.start[a] <= hi_[a])) to = from;
                continue;
            }
            const double p = (lo_[a] - line.start[a]) * per_step_[a], q = (hi_[a] - line.start[a]) * per_step_[a];
            from = std::max(from, std::min(p, q));
            to = std::min(to, std::max(p, q) + 1);
        }
        first = static_cast<int>(held(from, k0, k1));
        first += first < from && first < k1;
        second = std::max(first, static_cast<int>(held(to, k0, k1)));
        while (first < second && !holds(line, first)) ++first;
        while (first > k0 && first < second && holds(line, first - 1)) --first;
        while (second > first && !holds(line, second - 1)) --second;
        while (second > first && second < k1 && holds(line, second)) ++second;
    }

  private:
    bool holds(const Line &line, int k) const {
        bool in = true;
        for (int a = 0; a < 3; ++a) {
            const double x = line.start[a] + k * line.step[a];
            in = in & (x >= lo_[a]) & (x <= hi_[a]);
        }
        return in;
    }

    double lo_[3], hi_[3], per_step_[3];
};

// False so far out, or for no numbers, that rounding is no longer small against a voxel.
bool within_reach(const Line &line, int w) {
    bool near = true;
    for (int a = 0; a < 3; ++a) near = near && std::abs(line.start[a]) + std::abs(line.step[a]) * w <= FAR_OUT;
    return near;
}

template <int ORDER, class T, class Real>
class Sampler {
  public:
    Sampler(const Job &job, const Route &route)
        : job_(job),
          route_(route),
          grid_(job.in_size),
          in_(static_cast<const T *>(job.in)),
          fill_(static_cast<Real>(job.fill)),
          store_(store_for(sizeof(Real) == 4 ? Kind::F32 : Kind::F64, job.out_kind)),
          out_bytes_(bytes_of(job.out_kind)) {
        for (int a = 0; a < 3; ++a) {
            const double n = job.in_size[a];
            lo_[a] = ORDER == 1 || n == 1 ? 0 : 1;
            hi_[a] = ORDER == 1 || n == 1 ? n - 1 : std::nextafter(n - 2, 0.0);
            touch_lo_[a] = -1;
            touch_hi_[a] = n;
        }
        if (grid_.n[2] < ORDER + 1) hi_[2] = -1;  // no room for a row of taps
        double in_lo[3], in_hi[3];  // what touches the volume, as a closed interval
        for (int a = 0; a < 3; ++a) {
            in_lo[a] = std::nextafter(touch_lo_[a], 0.0);
            in_hi[a] = std::nextafter(touch_hi_[a], 0.0);
        }
        fast_ = Stretch(job.lead, lo_, hi_);
        touch_ = Stretch(job.lead, in_lo, in_hi);
    }

    void prepare(Scratch<Real> &) const {}

    void row(int i, int j, Scratch<Real> &s) const {
        const int w = job_.out_size[2];
        const Index start = (Index(i) * job_.out_size[1] + j) * w;
        if (!route_.straight()) return blocks(i, j, 0, w, start, s);
        const Line line(job_.lead, i, j);
        if (!within_reach(line, w)) return blocks(i, j, 0, w, start, s);
        // an affine row meets the volume in one stretch: what is beside it is told apart, not read
        int fast0, fast1, touch0 = 0, touch1 = w;
        if (job_.border == ZERO) touch_.of(line, 0, w, touch0, touch1);
        fast_.of(line, touch0, touch1, fast0, fast1);
        if (fast0 == fast1) fast0 = fast1 = touch1;
        nothing(0, touch0, start, s);
        beside(line, i, j, touch0, fast0, start, s);
        for (int k = fast0; k < fast1; k += BLOCK) straight(line, k, std::min(BLOCK, fast1 - k), start + k, s);
        beside(line, i, j, fast1, touch1, start, s);
        nothing(touch1, w, start, s);
    }

  private:
    void blocks(int i, int j, int k0, int k1, Index start, Scratch<Real> &s) const {
        for (int k = k0; k < k1; k += BLOCK) {
            const int n = std::min(BLOCK, k1 - k);
            route_.places(i, j, k, n, s.p, s.bends);
            fold_places(s.p, n, grid_.n, job_.border);
            classify(s.p, n, lo_, hi_, touch_lo_, touch_hi_, s.how);
            for (int q = 0, end; q < n; q = end) {
                for (end = q + 1; end < n && s.how[end] == s.how[q];) ++end;
                if (s.how[q] == FAST) fast(q, end - q, start + k + q, s);
                if (s.how[q] == EACH_TAP) each_tap(q, end - q, start + k + q, s);
                if (s.how[q] == NOTHING) nothing(k + q, k + end, start, s);
            }
        }
    }

    void fast(int q, int n, Index at, Scratch<Real> &s) const {
        if constexpr (ORDER == 1)
            linear_spots(s.p, q, n, grid_, s.spots);
        else
            cubic_spots(s.p, q, n, grid_, s.spots);
        read(n, at, s);
    }

    void read(int n, Index at, Scratch<Real> &s) const {
        for (Index c = 0; c < job_.channels; ++c)
            write(c, at, n, s, [&](Real *to) {
                if constexpr (ORDER == 1)
                    linear_taps(in_ + c * job_.in_voxels(), grid_, s.spots, n, to);
                else
                    cubic_taps(in_ + c * job_.in_voxels(), grid_, s.spots, n, to);
            });
    }

    // Voxels of a straight row all of whose taps lie inside.
    void straight(const Line &line, int k, int n, Index at, Scratch<Real> &s) const {
        if constexpr (ORDER == 1) {
            line_spots(line, k, n, grid_, s.spots);
        } else {
            fill_places(line, k, n, s.p);
            cubic_spots(s.p, 0, n, grid_, s.spots);
        }
        read(n, at, s);
    }

    // Voxels of a straight row some of whose taps lie outside.
    void beside(const Line &line, int i, int j, int k0, int k1, Index start, Scratch<Real> &s) const {
        if constexpr (ORDER == 1)
            if (job_.border == ZERO) {
                for (int k = k0; k < k1; k += BLOCK) {
                    const int n = std::min(BLOCK, k1 - k);
                    for (Index c = 0; c < job_.channels; ++c)
                        write(c, start + k, n, s, [&](Real *to) {
                            linear_rim(in_ + c * job_.in_voxels(), grid_, line, k, n, fill_, to);
                        });
                }
                return;
            }
        blocks(i, j, k0, k1, start, s);
    }

    void each_tap(int q, int n, Index at, Scratch<Real> &s) const {
        for (Index c = 0; c < job_.channels; ++c)
            write(c, at, n, s, [&](Real *to) {
                for (int r = 0; r < n; ++r)
                    to[r] = value_at<ORDER>(in_ + c * job_.in_voxels(), grid_, s.p[0][q + r], s.p[1][q + r],
                                            s.p[2][q + r], job_.border, fill_);
            });
    }

    void nothing(int k0, int k1, Index start, Scratch<Real> &s) const {
        for (int k = k0; k < k1; k += BLOCK) {
            const int n = std::min(BLOCK, k1 - k);
            for (Index c = 0; c < job_.channels; ++c)
                write(c, start + k, n, s, [&](Real *to) { std::fill(to, to + n, fill_); });
        }
    }

    // Values go straight to the output where it is of the working type, else through a row that is then converted.
    template <class F>
    void write(Index c, Index at, int n, Scratch<Real> &s, F &&f) const {
        char *to = static_cast<char *>(job_.out) + (c * job_.out_voxels() + at) * out_bytes_;
        if (job_.out_kind == (sizeof(Real) == 4 ? Kind::F32 : Kind::F64)) return f(reinterpret_cast<Real *>(to));
        f(s.values);
        store_(s.values, to, n);
    }

    const Job &job_;
    const Route &route_;
    const Grid grid_;
    const T *in_;
    const Real fill_;
    const Store store_;
    const Index out_bytes_;
    double lo_[3], hi_[3], touch_lo_[3], touch_hi_[3];
    Stretch fast_, touch_;
};

// Order 0 moves bytes: one offset per voxel, and a copy.
template <class T>
class Sampler<0, T, float> {
  public:
    Sampler(const Job &job, const Route &route)
        : job_(job),
          route_(route),
          grid_(job.in_size),
          in_(static_cast<const T *>(job.in)),
          store_(store_for(job.in_kind, job.out_kind)),
          out_bytes_(bytes_of(job.out_kind)) {
        std::memcpy(&fill_, &job.fill_bits, sizeof fill_);
        double lo[3], hi[3];
        for (int a = 0; a < 3; ++a) {
            lo[a] = -0.5;
            hi[a] = std::nextafter(job.in_size[a] - 0.5, 0.0);
        }
        inside_ = Stretch(job.lead, lo, hi);
    }

    void prepare(Scratch<float> &) const {}

    void row(int i, int j, Scratch<float> &s) const {
        const int w = job_.out_size[2];
        const Index start = (Index(i) * job_.out_size[1] + j) * w;
        const Line line(job_.lead, i, j);
        if (!route_.straight() || !within_reach(line, w)) return blocks(i, j, 0, w, start, s);
        int inside0, inside1;
        inside_.of(line, 0, w, inside0, inside1);
        beside(i, j, 0, inside0, start, s);
        for (int k = inside0; k < inside1; k += BLOCK) {
            const int n = std::min(BLOCK, inside1 - k);
            nearest_line(line, k, n, grid_, s.spots.at);
            write(n, start + k, [&](const T *in, T *to) { copy_taps(in, s.spots.at, n, to); });
        }
        beside(i, j, inside1, w, start, s);
    }

  private:
    // Voxels of a straight row that read none inside.
    void beside(int i, int j, int k0, int k1, Index start, Scratch<float> &s) const {
        if (job_.border != ZERO) return blocks(i, j, k0, k1, start, s);
        for (int k = k0; k < k1; k += BLOCK) {
            const int n = std::min(BLOCK, k1 - k);
            write(n, start + k, [&](const T *, T *to) { std::fill(to, to + n, fill_); });
        }
    }

    void blocks(int i, int j, int k0, int k1, Index start, Scratch<float> &s) const {
        for (int k = k0; k < k1; k += BLOCK) {
            const int n = std::min(BLOCK, k1 - k);
            route_.places(i, j, k, n, s.p, s.bends);
            nearest_spots(s.p, n, grid_, job_.border, s.spots.at);
            write(n, start + k, [&](const T *in, T *to) { nearest_taps(in, s.spots.at, n, fill_, to); });
        }
    }

    template <class F>
    void write(int n, Index at, F &&f) const {
        T values[BLOCK];
        for (Index c = 0; c < job_.channels; ++c) {
            const T *in = in_ + c * job_.in_voxels();
            char *to = static_cast<char *>(job_.out) + (c * job_.out_voxels() + at) * out_bytes_;
            if (job_.in_kind == job_.out_kind) {
                f(in, reinterpret_cast<T *>(to));
            } else {
                f(in, values);
                store_(values, to, n);
            }
        }
    }

    const Job &job_;
    const Route &route_;
    const Grid grid_;
    const T *in_;
    T fill_;
    const Store store_;
    const Index out_bytes_;
    Stretch inside_;
};

template <int ORDER, class T, class Real>
void run(const Job &job) {
    const Route route(job);
    for_rows<Scratch<Real>>(job, route, Sampler<ORDER, T, Real>(job, route));
}

}  // namespace

void pull_rows(const Job &job) {
    if (job.order == 0) {
        with_bytes(job.in_kind, [&](auto voxel) { run<0, decltype(voxel), float>(job); });
    } else if (job.order == 1) {
        with_voxels(job.in_kind, [&](auto voxel, auto real) { run<1, decltype(voxel), decltype(real)>(job); });
    } else if (job.in_kind == Kind::F64) {
        run<3, double, double>(job);
    } else {
        run<3, float, float>(job);
    }
}

}  // namespace medframe
