// Medians by sorting networks, eight voxels side by side.
//
// The voxels across a row (9 for a cube of 3) are sorted once for each place along it; three neighbouring places share
// them. Sorting each rank across the places then leaves a table that rises along both of its axes: only entries with
// few enough others surely below and surely above can be the median.
#include <omp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "lanes.h"
#include "regions.h"

namespace medframe {
namespace {

typedef float Eight __attribute__((vector_size(32)));
constexpr int WIDTH = 8;

MF_HD Eight load8(const float *p) {
    Eight v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

MF_HD void order(Eight &a, Eight &b) {
    const Eight least = a < b ? a : b, most = a > b ? a : b;
    a = least;
    b = most;
}

// Batcher's odd-even merge sort of n values: the pairs that are put in order, one after the other.
// K. E. Batcher, Sorting networks and their applications, AFIPS 1968, doi:10.1145/1468075.1468121.
template <class F>
constexpr void batcher(int n, F &&f) {
    for (int p = 1; p < n; p *= 2)
        for (int k = p; k >= 1; k /= 2)
            for (int j = k % p; j + k < n; j += 2 * k)
                for (int i = j; i < j + k && i + k < n; ++i)
                    if (i / (2 * p) == (i + k) / (2 * p)) f(i, i + k);
}

template <int N>
struct Network {
    static constexpr int count() {
        int pairs = 0;
        batcher(N, [&](int, int) { ++pairs; });
        return pairs;
    }
    static constexpr auto pairs() {
        std::array<std::pair<int, int>, count()> made{};
        int at = 0;
        batcher(N, [&](int a, int b) {
            made[at].first = a;
            made[at++].second = b;
        });
        return made;
    }
};

template <int N, std::size_t... I>
MF_HD void sort_by(Eight *v, std::index_sequence<I...>) {
    constexpr auto pairs = Network<N>::pairs();
    (order(v[pairs[I].first], v[pairs[I].second]), ...);
}

template <int N>
MF_HD void sort(Eight *v) {
    if constexpr (N > 1) sort_by<N>(v, std::make_index_sequence<Network<N>::count()>());
}

// whether entry (i, j) of a table of C x N values that rises along both axes can be its median
constexpr bool may_be_median(int C, int N, int i, int j) {
    const int half = (C * N + 1) / 2;
    return (i + 1) * (j + 1) <= half && (C - i) * (N - j) <= half;
}

constexpr int candidates(int C, int N) {
    int n = 0;
    for (int i = 0; i < C; ++i)
        for (int j = 0; j < N; ++j) n += may_be_median(C, N, i, j);
    return n;
}

// The median of an odd number of values: a buffer of half of them and one more holds it; each further value pushes out
// the least and the greatest.
template <int COUNT>
MF_HD Eight middle(const Eight *v) {
    constexpr int HALF = COUNT / 2 + 2;
    Eight kept[HALF];
    for (int i = 0; i < HALF; ++i) kept[i] = v[i];
#pragma GCC unroll 8
    for (int size = HALF; size >= 3; --size) {
#pragma GCC unroll 8
        for (int i = 1; i < size; ++i) order(kept[0], kept[i]);
#pragma GCC unroll 8
        for (int i = 1; i < size - 1; ++i) order(kept[i], kept[size - 1]);
        if (size > 3) kept[0] = v[COUNT - size + 3];
    }
    return kept[1];
}

// A row of medians of C x N voxels: `rows` are the C rows across, `pitch` apart, framed by N / 2 voxels at each end and
// readable up to whole vectors; they are used up.
template <int C, int N>
MF_CLONES void median_row(float *rows, Index pitch, Index w, float *out) {
    for (Index x = 0; x < w + N - 1; x += WIDTH) {
        Eight v[C];
        for (int c = 0; c < C; ++c) v[c] = load8(rows + c * pitch + x);
        sort<C>(v);
        for (int c = 0; c < C; ++c) std::memcpy(rows + c * pitch + x, v + c, sizeof v[c]);
    }
    for (Index k = 0; k < w; k += WIDTH) {
        Eight candidate[candidates(C, N)];
        int n = 0;
#pragma GCC unroll 9
        for (int c = 0; c < C; ++c) {
            Eight v[N];
            for (int j = 0; j < N; ++j) v[j] = load8(rows + c * pitch + k + j);
            sort<N>(v);
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j)
                if (may_be_median(C, N, c, j)) candidate[n++] = v[j];
        }
        Eight found = candidate[0];
        if constexpr (candidates(C, N) > 1) found = middle<candidates(C, N)>(candidate);
        std::memcpy(out + k, &found, std::min<Index>(WIDTH, w - k) * sizeof(float));
    }
}

MF_CLONES bool holds_nan(const float *row, int w) {
    int bad = 0;
    for (int k = 0; k < w; ++k) bad |= row[k] != row[k];
    return bad != 0;
}

// Sorting by comparisons loses what is not a number: a cube that holds one has no median, and gets a NaN afterwards.
class Spoilt {
  public:
    void look(const float *rows, Index pitch, int across, Index framed) {
        bad_.assign(framed, 0);
        for (int c = 0; c < across; ++c)
            for (Index k = 0; k < framed; ++k) bad_[k] |= rows[c * pitch + k] != rows[c * pitch + k];
    }
    void mark(float *medians, Index w, int width) const {
        for (Index k = 0; k < w; ++k)
            if (std::count(bad_.begin() + k, bad_.begin() + k + width, 1) > 0)
                medians[k] = std::numeric_limits<float>::quiet_NaN();
    }

  private:
    std::vector<std::uint8_t> bad_;
};

}  // namespace

void median(const void *in, void *out, Kind kind, Index channels, const int *size, int width, int threads) {
    const int d = size[0], h = size[1], w = size[2], r = width / 2;
    const Index bytes = bytes_of(kind);
    const char *voxels = static_cast<const char *>(in);
    if (w == 1) {  // axes of size 1 stand in front: there is one voxel
        std::memcpy(out, in, channels * d * h * bytes);
        return;
    }
    const Store widen = store_for(kind, Kind::F32), narrow = store_for(Kind::F32, kind);
    const bool may_be_nan = kind == Kind::F32 || kind == Kind::F16 || kind == Kind::BF16;
    const int rz = d > 1 ? r : 0, ry = h > 1 ? r : 0, across = (2 * rz + 1) * (2 * ry + 1);
    const Index pitch = (w + 2 * r + WIDTH - 1) / WIDTH * WIDTH + WIDTH;
    std::vector<std::vector<float>> scratch(threads, std::vector<float>((across + 1) * pitch));
    const Index rows = channels * d * h;
    std::vector<std::uint8_t> spoils(rows);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index i = 0; i < (may_be_nan ? rows : 0); ++i) {
        float *row = scratch[omp_get_thread_num()].data();
        widen(voxels + i * w * bytes, row, w);
        spoils[i] = holds_nan(row, w);
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
    for (Index i = 0; i < rows; ++i) {
        const int y = static_cast<int>(i % h), z = static_cast<int>(i / h % d);
        const Index first = i / h / d * d * h;  // row of this channel
        float *framed = scratch[omp_get_thread_num()].data(), *to = framed;
        bool bad = false;
        for (int dz = -rz; dz <= rz; ++dz)
            for (int dy = -ry; dy <= ry; ++dy, to += pitch) {
                const Index row = Index(std::clamp(z + dz, 0, d - 1)) * h + std::clamp(y + dy, 0, h - 1);
                bad = bad || spoils[first + row] != 0;
                widen(voxels + (first + row) * w * bytes, to + r, w);
                std::fill_n(to, r, to[r]);
                std::fill_n(to + r + w, r, to[r + w - 1]);
            }
        float *medians = to;  // a row behind the framed ones
        Spoilt spoilt;
        if (bad) spoilt.look(framed, pitch, across, w + 2 * r);
        if (width == 3) {
            if (across == 1) median_row<1, 3>(framed, pitch, w, medians);
            if (across == 3) median_row<3, 3>(framed, pitch, w, medians);
            if (across == 9) median_row<9, 3>(framed, pitch, w, medians);
        } else {
            if (across == 1) median_row<1, 5>(framed, pitch, w, medians);
            if (across == 5) median_row<5, 5>(framed, pitch, w, medians);
            if (across == 25) median_row<25, 5>(framed, pitch, w, medians);
        }
        if (bad) spoilt.mark(medians, w, width);
        narrow(medians, static_cast<char *>(out) + i * w * bytes, w);
    }
}

}  // namespace medframe
