// Connected components by runs: rows are cut into runs of equal voxels, runs that touch are joined (union-find, the
// earliest run of a set is its root), and runs are painted with the number of their set.
#include <algorithm>
#include <cstring>

#include "regions.h"

namespace medframe {
namespace {

template <class T>
struct Run {
    int from, to;  // voxels from, ..., to - 1
    T label;
};

template <class T>
void cut(const T *row, int w, std::vector<Run<T>> &runs) {
    for (int k = 0; k < w;) {
        if (row[k] == 0) {
            constexpr int step = 8 / sizeof(T);
            std::uint64_t word = 0;
            while (k + step <= w && (std::memcpy(&word, row + k, 8), word == 0)) k += step;
            while (k < w && row[k] == 0) ++k;
            continue;
        }
        const int from = k;
        const T label = row[k];
        while (k < w && row[k] == label) ++k;
        runs.push_back({from, k, label});
    }
}

Index root(std::vector<Index> &parent, Index i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

void join(std::vector<Index> &parent, Index a, Index b) {
    a = root(parent, a), b = root(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

// joins what touches of two rows; `reach` 1 where neighbours may also differ along the row
template <class T>
void join_rows(const std::vector<Run<T>> &runs, std::vector<Index> &parent, Index a, Index a_end, Index b, Index b_end,
               int reach) {
    while (a < a_end && b < b_end) {
        if (runs[a].from < runs[b].to + reach && runs[b].from < runs[a].to + reach && runs[a].label == runs[b].label)
            join(parent, a, b);
        if (runs[a].to < runs[b].to) {
            ++a;
            continue;
        }
        // runs that end together may each touch the other's next one across the corner, if that follows at once
        if (reach && runs[a].to == runs[b].to && a + 1 < a_end && runs[a + 1].from == runs[b].to &&
            runs[a + 1].label == runs[b].label)
            join(parent, a + 1, b);
        ++b;
    }
}

template <class T>
void one_channel(const T *labels, std::int32_t *out, const int *size, int steps, int threads) {
    const int d = size[0], h = size[1], w = size[2];
    const Index rows = Index(d) * h;
    std::vector<std::vector<Run<T>>> parts(threads);
    std::vector<Index> first(rows + 1);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t)
        for (Index r = rows * t / threads; r < rows * (t + 1) / threads; ++r) {
            first[r] = static_cast<Index>(parts[t].size());
            cut(labels + r * w, w, parts[t]);
        }
    std::vector<Run<T>> runs = std::move(parts[0]);
    for (int t = 1; t < threads; ++t) {
        const Index before = static_cast<Index>(runs.size());
        for (Index r = rows * t / threads; r < rows * (t + 1) / threads; ++r) first[r] += before;
        runs.insert(runs.end(), parts[t].begin(), parts[t].end());
    }
    first[rows] = static_cast<Index>(runs.size());

    std::vector<Index> parent(runs.size());
    for (Index i = 0; i < first[rows]; ++i) parent[i] = i;
    const auto touch = [&](Index r, Index s, int apart) {
        join_rows(runs, parent, first[r], first[r + 1], first[s], first[s + 1], steps > apart ? 1 : 0);
    };
    for (int z = 0; z < d; ++z)
        for (int y = 0; y < h; ++y) {
            const Index r = Index(z) * h + y;
            // along the row, runs of one label never touch: they would be one run
            if (y > 0) touch(r, r - 1, 1);
            if (z == 0) continue;
            touch(r, r - h, 1);
            if (steps < 2) continue;
            if (y > 0) touch(r, r - h - 1, 2);
            if (y + 1 < h) touch(r, r - h + 1, 2);
        }
    std::vector<std::int32_t> number(runs.size());
    std::int32_t last = 0;
    for (Index i = 0; i < first[rows]; ++i) {
        const Index top = root(parent, i);
        number[i] = top == i ? ++last : number[top];
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index r = 0; r < rows; ++r) {
        std::int32_t *row = out + r * w;
        std::fill(row, row + w, 0);
        for (Index i = first[r]; i < first[r + 1]; ++i) std::fill(row + runs[i].from, row + runs[i].to, number[i]);
    }
}

}  // namespace

template <class T>
void components(const T *labels, std::int32_t *out, Index channels, const int *size, int steps, int threads) {
    const Index volume = Index(size[0]) * size[1] * size[2];
    for (Index c = 0; c < channels; ++c) one_channel(labels + c * volume, out + c * volume, size, steps, threads);
}

template void components(const std::uint8_t *, std::int32_t *, Index, const int *, int, int);
template void components(const std::int16_t *, std::int32_t *, Index, const int *, int, int);
template void components(const std::int32_t *, std::int32_t *, Index, const int *, int, int);

namespace {

// the neighbours of a row: rows whose distance along the other axes is at most `steps`, and along the row if less
MF_CLONES void grow_from(const std::uint8_t *__restrict in, std::uint8_t *__restrict out, int w, bool along, bool erode) {
    if (erode) {
        for (int k = 0; k < w; ++k) out[k] &= in[k];
        if (!along) return;
        for (int k = 1; k < w; ++k) out[k] &= in[k - 1];
        for (int k = 0; k + 1 < w; ++k) out[k] &= in[k + 1];
    } else {
        for (int k = 0; k < w; ++k) out[k] |= in[k];
        if (!along) return;
        for (int k = 1; k < w; ++k) out[k] |= in[k - 1];
        for (int k = 0; k + 1 < w; ++k) out[k] |= in[k + 1];
    }
}

}  // namespace

void grow(const std::uint8_t *in, std::uint8_t *out, Index channels, const int *size, int steps, bool erode,
          int threads) {
    const int d = size[0], h = size[1], w = size[2];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index r = 0; r < channels * d * h; ++r) {
        const int y = static_cast<int>(r % h), z = static_cast<int>(r / h % d);
        std::uint8_t *row = out + r * w;
        std::copy(in + r * w, in + (r + 1) * w, row);
        for (int dz = -1; dz <= 1; ++dz)
            for (int dy = -1; dy <= 1; ++dy) {
                const int apart = std::abs(dz) + std::abs(dy);
                if (apart > steps || z + dz < 0 || z + dz >= d || y + dy < 0 || y + dy >= h) continue;
                grow_from(in + (r + Index(dz) * h + dy) * w, row, w, steps > apart, erode);
            }
    }
}

}  // namespace medframe
