// A pull whose output axes each follow one input axis: the weights are products of per-axis weights, so a line of the
// input is summed over two axes first, then read along itself.
//
// Every line runs along the input's last axis, which is contiguous. Where that is also the output's last axis, a line
// is a row of the output; else a tile of lines is transposed into it.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "lanes.h"

namespace medframe {
namespace {

// out[x] = sum of `count` weighted rows
template <class T, class Real>
MF_CLONES void sum_rows(const T *const *rows, const Real *weight, int count, Index n, Real *__restrict out) {
    const T *__restrict a = rows[0], *__restrict b = rows[1], *__restrict c = rows[2], *__restrict d = rows[3];
    const Real wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
    switch (count) {
        case 1:
            for (Index x = 0; x < n; ++x) out[x] = wa * Real(number(a[x]));
            break;
        case 2:
            for (Index x = 0; x < n; ++x) out[x] = wa * Real(number(a[x])) + wb * Real(number(b[x]));
            break;
        case 3:
            for (Index x = 0; x < n; ++x) out[x] = wa * Real(number(a[x])) + wb * Real(number(b[x])) + wc * Real(number(c[x]));
            break;
        default:
            for (Index x = 0; x < n; ++x)
                out[x] = (wa * Real(number(a[x])) + wb * Real(number(b[x]))) + (wc * Real(number(c[x])) + wd * Real(number(d[x])));
    }
}

// out[k] = the taps of the row at first[k]; `w` holds N rows of weights, `pitch` apart
template <int N, class Real>
MF_CLONES void read_along(const Real *__restrict row, const int *__restrict first, const Real *__restrict w,
                          Index pitch, Index n, Real *__restrict out) {
    for (Index k = 0; k < n; ++k) {
        const Real *p = row + first[k];
        if constexpr (N == 1) out[k] = p[0];
        if constexpr (N == 2) out[k] = p[0] * w[k] + p[1] * w[k + pitch];
        if constexpr (N == 4)
            out[k] = (p[0] * w[k] + p[1] * w[k + pitch]) + (p[2] * w[k + 2 * pitch] + p[3] * w[k + 3 * pitch]);
    }
}

// Two taps for eight voxels at a time, which all lie in a window of eight: out[8 g + l] reads window[g] + lane[8 g + l].
// Permuting a register is several times as quick as reading from eight addresses.
constexpr int WINDOW = 8;
MF_CLONES void read_windows(const float *__restrict row, const int *__restrict window, const int *__restrict lane,
                            const float *__restrict w, Index pitch, Index groups, float *__restrict out) {
    typedef float Floats __attribute__((vector_size(32)));
    typedef int Ints __attribute__((vector_size(32)));
    for (Index g = 0; g < groups; ++g) {
        Floats v, near_weight, far_weight;
        Ints at;
        std::memcpy(&v, row + window[g], sizeof v);
        std::memcpy(&at, lane + WINDOW * g, sizeof at);
        std::memcpy(&near_weight, w + WINDOW * g, sizeof near_weight);
        std::memcpy(&far_weight, w + pitch + WINDOW * g, sizeof far_weight);
        const Floats values = __builtin_shuffle(v, at) * near_weight + __builtin_shuffle(v, at + 1) * far_weight;
        std::memcpy(out + WINDOW * g, &values, sizeof values);
    }
}

// the same where neighbours read neighbours
template <int N, class Real>
MF_CLONES void read_straight(const Real *__restrict p, const Real *__restrict w, Index pitch, Index n,
                             Real *__restrict out) {
    for (Index k = 0; k < n; ++k) {
        if constexpr (N == 2) out[k] = p[k] * w[k] + p[k + 1] * w[k + pitch];
        if constexpr (N == 4)
            out[k] =
                (p[k] * w[k] + p[k + 1] * w[k + pitch]) + (p[k + 2] * w[k + 2 * pitch] + p[k + 3] * w[k + 3 * pitch]);
    }
}

template <class Real>
MF_CLONES void add_fill(const Real *__restrict cover, Real across, Real fill, Index n, Real *__restrict out) {
    for (Index k = 0; k < n; ++k) {
        const Real lost = 1 - across * cover[k];
        out[k] += lost == 0 ? Real(0) : fill * lost;  // a fill of NaN or infinity must not reach voxels inside
    }
}

template <class Real>
MF_CLONES void transpose(const Real *__restrict from, Index rows, Index columns, Real *__restrict to) {
    for (Index x = 0; x < columns; ++x)
        for (Index r = 0; r < rows; ++r) to[x * rows + r] = from[r * columns + x];
}

// What the output indices along one axis read.
template <int ORDER, class Real>
std::vector<Taps<ORDER, Real>> table(const Job &job, int out_axis, int in_axis) {
    std::vector<Taps<ORDER, Real>> entries(job.out_size[out_axis]);
    const double *m = job.lead.m[in_axis];
    for (std::size_t k = 0; k < entries.size(); ++k)
        entries[k] = taps<ORDER, Real>(m[out_axis] * double(k) + m[3], job.in_size[in_axis], job.border);
    return entries;
}

// The axis along lines. Each output index reads a window of N neighbours; for WRAP the row goes on beyond its end, else
// weights are gathered into a window that lies inside.
template <int ORDER, class Real>
struct Along {
    static constexpr int N = ORDER + 1;
    std::vector<int> first;
    std::vector<Real> weight, cover;
    Index size, lo = 0, hi = 0;          // output indices [lo, hi) touch the volume
    Index straight0 = 0, straight1 = 0;  // of those, a stretch where neighbours read neighbours
    Index from = 0, to = 0;              // input voxels [from, to) are read
    int halo = 0;                        // voxels a row needs beyond its end
    std::vector<int> window, lane;       // for the voxels from lo on, by eights: see read_windows; may be empty

    Along(const Job &job, int out_axis, int in_axis) : size(job.out_size[out_axis]) {
        const auto entries = table<ORDER, Real>(job, out_axis, in_axis);
        const int n = job.in_size[in_axis];
        first.resize(size);
        cover.resize(size);
        weight.assign(N * size, Real(0));
        halo = job.border == WRAP ? N - 1 : std::max(N - n, 0);
        const Index last = job.border == WRAP ? n - 1 : std::max(n - N, 0);
        for (Index k = 0; k < size; ++k) {
            const auto &e = entries[k];
            Index base = job.border == WRAP ? e.at[0] : *std::min_element(e.at, e.at + N);
            base = std::min(base, last);
            for (int t = 0; t < N; ++t)
                if (e.weight[t] != 0) weight[(job.border == WRAP ? t : e.at[t] - base) * size + k] += e.weight[t];
            first[k] = static_cast<int>(base);
            cover[k] = e.cover;
        }
        while (lo < size && cover[lo] == 0) ++lo;
        for (hi = size; hi > lo && cover[hi - 1] == 0;) --hi;
        if (lo == hi) return;
        for (Index k = lo, end; k < hi; k = end) {
            for (end = k + 1; end < hi && first[end] == first[end - 1] + 1;) ++end;
            if (end - k > straight1 - straight0) straight0 = k, straight1 = end;
        }
        const auto ends = std::minmax_element(first.begin() + lo, first.begin() + hi);
        from = halo ? 0 : *ends.first;
        to = halo ? n : *ends.second + N;
        if constexpr (N == 2 && std::is_same_v<Real, float>)
            if (straight1 - straight0 < 4 * WINDOW) find_windows();
    }

    void read(const Real *row, Real *out) const {
        if constexpr (N == 2 && std::is_same_v<Real, float>)
            if (!window.empty()) {
                const Index groups = static_cast<Index>(window.size());
                read_windows(row, window.data(), lane.data(), weight.data() + lo, size, groups, out + lo);
                return gather(row, lo + WINDOW * groups, hi, out);
            }
        gather(row, lo, straight0, out);
        if constexpr (N == 1)
            std::memcpy(out + straight0, row + first[straight0], (straight1 - straight0) * sizeof(Real));
        else
            read_straight<N>(row + first[straight0], weight.data() + straight0, size, straight1 - straight0,
                             out + straight0);
        gather(row, straight1, hi, out);
    }

  private:
    // Only what lies in [from, to) may be read.
    void find_windows() {
        if (to - from < WINDOW) return;
        for (Index k = lo; k + WINDOW <= hi; k += WINDOW) {
            const auto ends = std::minmax_element(first.begin() + k, first.begin() + k + WINDOW);
            const int base = std::min(*ends.first, static_cast<int>(to) - WINDOW);
            if (*ends.second + 1 - base >= WINDOW) {  // too steep for windows
                window.clear();
                return;
            }
            window.push_back(base);
            for (Index l = 0; l < WINDOW; ++l) lane.push_back(first[k + l] - base);
        }
    }

    void gather(const Real *row, Index k0, Index k1, Real *out) const {
        read_along<N>(row, first.data() + k0, weight.data() + k0, size, k1 - k0, out + k0);
    }
};

template <int ORDER, class T, class Real>
class Separable {
    static constexpr int N = ORDER + 1;
    using Entry = Taps<ORDER, Real>;

  public:
    struct alignas(128) Scratch {  // threads that write to one cache line wait for each other
        std::vector<Real> rows[N], mixed, tile, turned;
        const Real *row[N];  // lines summed over axis u, kept while neighbouring lines need them
        Index tag[N];        // their index along axis v's input
    };

    Separable(const Job &job, const int *follows, Real fill)
        : job_(job),
          x_(follows[0] == 2   ? 0
             : follows[1] == 2 ? 1
                               : 2),
          u_(x_ == 0 ? 1 : 0),
          v_(x_ == 2 ? 1 : 2),
          in_u_(follows[u_]),
          in_v_(follows[v_]),
          along_(job, x_, 2),
          us_(table<ORDER, Real>(job, u_, in_u_)),
          vs_(table<ORDER, Real>(job, v_, in_v_)),
          fill_(fill),
          store_(store_for(from_kind(job), job.out_kind)),
          chunk_(x_ == 2 ? 32 : std::max<Index>(16, 64 / Index(sizeof(Real)))) {
        Index step = 1;
        for (int a = 2; a >= 0; step *= job.in_size[a--]) in_step_[a] = step;
        step = 1;
        for (int a = 2; a >= 0; step *= job.out_size[a--]) out_step_[a] = step;
    }

    void run() const {
        std::vector<Scratch> scratch(job_.threads);  // made here: an exception must not leave a parallel region
        for (auto &s : scratch) {
            for (auto &row : s.rows) row.assign(job_.in_size[2] + along_.halo, Real(0));
            s.mixed.resize(job_.in_size[2] + along_.halo);
            s.tile.resize(chunk_ * along_.size);
            s.turned.resize(x_ == 2 ? 0 : chunk_ * along_.size);
        }
        const Index nu = job_.out_size[u_], nv = job_.out_size[v_], chunks = (nv + chunk_ - 1) / chunk_,
                    all = job_.channels * nu * chunks;
#pragma omp parallel for schedule(dynamic, 4) num_threads(job_.threads) if (job_.threads > 1)
        for (Index t = 0; t < all; ++t) {
            const Index v = t % chunks * chunk_;
            tile(t / chunks / nu, t / chunks % nu, v, std::min(v + chunk_, nv), scratch[omp_get_thread_num()]);
        }
    }

  private:
    static Kind from_kind(const Job &job) {
        return ORDER == 0 ? job.in_kind : sizeof(Real) == 4 ? Kind::F32 : Kind::F64;
    }

    void tile(Index c, Index u, Index v0, Index v1, Scratch &s) const {
        const T *in = static_cast<const T *>(job_.in) + c * job_.in_voxels();
        const Index bytes = bytes_of(job_.out_kind), n = along_.size, lines = v1 - v0;
        char *to =
            static_cast<char *>(job_.out) + (c * job_.out_voxels() + u * out_step_[u_] + v0 * out_step_[v_]) * bytes;
        const bool straight = x_ == 2 && from_kind(job_) == job_.out_kind;
        std::fill(s.tag, s.tag + N, -1);
        for (Index v = v0; v < v1; ++v) {
            Real *line = straight ? reinterpret_cast<Real *>(to + (v - v0) * out_step_[v_] * bytes)
                                  : s.tile.data() + (v - v0) * n;
            make_line(in, us_[u], vs_[v], s, line);
            if (x_ == 2 && !straight) store_(line, to + (v - v0) * out_step_[v_] * bytes, n);
        }
        if (x_ == 2) return;
        transpose(s.tile.data(), lines, n, s.turned.data());
        for (Index x = 0; x < n; ++x) store_(s.turned.data() + x * lines, to + x * out_step_[x_] * bytes, lines);
    }

    void make_line(const T *in, const Entry &u, const Entry &v, Scratch &s, Real *line) const {
        const Index n = along_.size, lo = along_.lo, hi = along_.hi;
        const Real across = u.cover * v.cover;
        if (across == 0 || lo == hi) {
            std::fill(line, line + n, fill_);
            return;
        }
        std::fill(line, line + lo, fill_);
        along_.read(crossed(in, u, v, s), line);
        std::fill(line + hi, line + n, fill_);
        if constexpr (ORDER > 0)
            if (job_.border == ZERO && fill_ != 0)
                add_fill(along_.cover.data() + lo, across, fill_, hi - lo, line + lo);
    }

    // The input line at (u, v), summed over both axes.
    const Real *crossed(const T *in, const Entry &u, const Entry &v, Scratch &s) const {
        const Real *rows[4] = {};
        Real weight[4] = {};
        int count = 0;
        for (int t = 0; t < N; ++t) {
            if (v.weight[t] == 0) continue;
            rows[count] = summed(in, u, v, v.at[t], s);
            weight[count++] = v.weight[t];
        }
        if (count == 1 && weight[0] == 1) return rows[0];
        if constexpr (ORDER > 0)
            sum_rows(rows, weight, count, row_end() - along_.from, s.mixed.data() + along_.from, along_.from);
        return s.mixed.data();
    }

    Index row_end() const { return along_.to + along_.halo; }

    // The input line at (u, index y of v's axis), summed over u's axis only; remembered while y is needed.
    const Real *summed(const T *in, const Entry &u, const Entry &v, Index y, Scratch &s) const {
        int slot = -1;
        for (int t = 0; t < N; ++t) {
            if (s.tag[t] == y) return s.row[t];
            const bool needed = std::find(v.at, v.at + N, s.tag[t]) != v.at + N;
            if (!needed) slot = t;
        }
        s.tag[slot] = y;
        const T *rows[4] = {};
        Real weight[4] = {};
        int count = 0;
        for (int t = 0; t < N; ++t) {
            if (u.weight[t] == 0) continue;
            rows[count] = in + u.at[t] * in_step_[in_u_] + y * in_step_[in_v_];
            weight[count++] = u.weight[t];
        }
        if constexpr (std::is_same_v<T, Real>)
            if (count == 1 && weight[0] == 1 && !along_.halo) return s.row[slot] = rows[0];
        Real *row = s.rows[slot].data();
        if constexpr (ORDER > 0) {
            sum_rows(rows, weight, count, along_.to - along_.from, row + along_.from, along_.from);
            for (int h = 0; h < along_.halo; ++h) row[along_.to + h] = row[h % along_.to];
        }
        return s.row[slot] = row;
    }

    template <class From>
    static void sum_rows(const From *const *rows, const Real *weight, int count, Index n, Real *out, Index from) {
        const From *shifted[4];
        for (int t = 0; t < 4; ++t) shifted[t] = t < count ? rows[t] + from : nullptr;
        medframe::sum_rows<From, Real>(shifted, weight, count, n, out);
    }

    const Job &job_;
    const int x_, u_, v_;  // output axes: along lines, slowly across them, quickly across them
    const int in_u_, in_v_;
    const Along<ORDER, Real> along_;
    const std::vector<Entry> us_, vs_;
    const Real fill_;
    const Store store_;
    const Index chunk_;
    Index in_step_[3], out_step_[3];
};

template <class T>
T from_bits(std::uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

void pull_separable(const Job &job, const int *follows) {
    if (job.order == 0) {
        with_bytes(job.in_kind, [&](auto voxel) {
            using T = decltype(voxel);
            Separable<0, T, T>(job, follows, from_bits<T>(job.fill_bits)).run();
        });
    } else if (job.order == 1) {
        with_voxels(job.in_kind, [&](auto voxel, auto real) {
            using Real = decltype(real);
            Separable<1, decltype(voxel), Real>(job, follows, static_cast<Real>(job.fill)).run();
        });
    } else if (job.in_kind == Kind::F64) {
        Separable<3, double, double>(job, follows, job.fill).run();
    } else {
        Separable<3, float, float>(job, follows, static_cast<float>(job.fill)).run();
    }
}

}  // namespace medframe
