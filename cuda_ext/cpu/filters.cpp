// Separable filters. Voxels of any type are read directly and summed as floats.
#include <omp.h>

#include <algorithm>

#include "regions.h"

namespace medframe {
namespace {

constexpr int WIDE = 256;  // lines that are filtered side by side

template <class T>
MF_CLONES void scale(const T *__restrict in, float *__restrict sum, Index n, float weight) {
    for (Index k = 0; k < n; ++k) sum[k] = weight * static_cast<float>(number(in[k]));
}

template <class T>
MF_CLONES void add_scaled(const T *__restrict in, float *__restrict sum, Index n, float weight) {
    for (Index k = 0; k < n; ++k) sum[k] += weight * static_cast<float>(number(in[k]));
}

// Lines along the last axis: each is copied as floats between its repeated ends, and summed.
void filter_rows(const char *in, Kind in_kind, char *out, Kind out_kind, Index rows, Index n,
                 const std::vector<float> &w, int threads) {
    const Index radius = static_cast<Index>(w.size()) / 2, in_bytes = bytes_of(in_kind), out_bytes = bytes_of(out_kind);
    const Store widen = store_for(in_kind, Kind::F32), narrow = store_for(Kind::F32, out_kind);
    std::vector<std::vector<float>> scratch(threads, std::vector<float>(2 * n + 2 * radius));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index o = 0; o < rows; ++o) {
        float *framed = scratch[omp_get_thread_num()].data(), *row = framed + radius;
        char *to = out + o * n * out_bytes;
        float *sums = out_kind == Kind::F32 ? reinterpret_cast<float *>(to) : row + n + radius;
        widen(in + o * n * in_bytes, row, n);
        std::fill(framed, row, row[0]);
        std::fill(row + n, row + n + radius, row[n - 1]);
        scale(framed, sums, n, w[0]);
        for (std::size_t t = 1; t < w.size(); ++t) add_scaled(framed + t, sums, n, w[t]);
        if (out_kind != Kind::F32) narrow(sums, to, n);
    }
}

// Lines along another axis: many side by side, read where and as they lie.
template <class T>
void filter_lines(const T *in, char *out, Kind out_kind, Index outer, Index n, Index inner,
                  const std::vector<float> &w, int threads) {
    const Index blocks = (inner + WIDE - 1) / WIDE, out_bytes = bytes_of(out_kind);
    const int radius = static_cast<int>(w.size()) / 2;
    const Store narrow = store_for(Kind::F32, out_kind);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index i = 0; i < outer * blocks; ++i) {
        const Index from = i % blocks * WIDE, m = std::min<Index>(WIDE, inner - from), at = i / blocks * n * inner + from;
        const auto line = [&](Index j) { return in + at + std::clamp<Index>(j, 0, n - 1) * inner; };
        float row[WIDE];
        for (Index j = 0; j < n; ++j) {
            char *to = out + (at + j * inner) * out_bytes;
            float *sums = out_kind == Kind::F32 ? reinterpret_cast<float *>(to) : row;
            scale(line(j - radius), sums, m, w[0]);
            for (int t = 1; t <= 2 * radius; ++t) add_scaled(line(j - radius + t), sums, m, w[t]);
            if (out_kind != Kind::F32) narrow(row, to, m);
        }
    }
}

}  // namespace

void filter_axis(const void *in, Kind in_kind, void *out, Kind out_kind, Index outer, Index n, Index inner,
                 const double *weights, int radius, int threads) {
    const std::vector<float> w(weights, weights + 2 * radius + 1);
    char *to = static_cast<char *>(out);
    if (inner == 1) return filter_rows(static_cast<const char *>(in), in_kind, to, out_kind, outer, n, w, threads);
    with_voxels(in_kind, [&](auto voxel, auto) {
        filter_lines(static_cast<const decltype(voxel) *>(in), to, out_kind, outer, n, inner, w, threads);
    });
}

}  // namespace medframe
