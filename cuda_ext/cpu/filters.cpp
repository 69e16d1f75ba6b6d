// Separable filters. Voxels of any type are read directly and summed as floats.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "regions.h"

namespace medframe {
namespace {

constexpr int WIDE = 256;  // voxels that are filtered side by side

template <class T>
MF_CLONES void add_scaled(const T *__restrict in, float *__restrict sum, Index n, float weight) {
    for (Index k = 0; k < n; ++k) sum[k] += weight * static_cast<float>(number(in[k]));
}

typedef float Eight __attribute__((vector_size(32)));

// sum[k] = the weighted sum of `taps` lines, which lie `step` apart: 32 voxels at a time stay in registers
MF_CLONES void sum_lines(const float *in, Index step, float *__restrict sum, Index n, const float *weights, int taps) {
    Index k = 0;
    for (; k + 32 <= n; k += 32) {
        Eight a = {}, b = {}, c = {}, d = {};
        const float *p = in + k;
        for (int t = 0; t < taps; ++t, p += step) {
            const Eight w = Eight{} + weights[t];
            Eight v[4];
            std::memcpy(v, p, sizeof v);
            a += w * v[0], b += w * v[1], c += w * v[2], d += w * v[3];
        }
        const Eight all[4] = {a, b, c, d};
        std::memcpy(sum + k, all, sizeof all);
    }
    for (; k < n; ++k) {
        float s = 0;
        for (int t = 0; t < taps; ++t) s += weights[t] * in[k + t * step];
        sum[k] = s;
    }
}

// Lines along the last axis: a row is framed by its ends, as floats, and then summed.
void filter_rows(const char *in, Kind in_kind, char *out, Kind out_kind, Index rows, Index n,
                 const std::vector<float> &w, int threads) {
    const Index radius = static_cast<Index>(w.size()) / 2, in_bytes = bytes_of(in_kind), out_bytes = bytes_of(out_kind);
    const Store widen = store_for(in_kind, Kind::F32), narrow = store_for(Kind::F32, out_kind);
    std::vector<std::vector<float>> scratch(threads, std::vector<float>(2 * n + 2 * radius));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index o = 0; o < rows; ++o) {
        float *framed = scratch[omp_get_thread_num()].data(), *row = framed + radius, *sums = row + n + radius;
        widen(in + o * n * in_bytes, row, n);
        std::fill(framed, row, row[0]);
        std::fill(row + n, row + n + radius, row[n - 1]);
        sum_lines(framed, 1, sums, n, w.data(), static_cast<int>(w.size()));
        narrow(sums, out + o * n * out_bytes, n);
    }
}

// Lines along another axis: stretches of neighbouring lines side by side.
template <class T>
void filter_lines(const T *in, char *out, Kind out_kind, Index outer, Index n, Index inner,
                  const std::vector<float> &w, int threads) {
    const Index blocks = (inner + WIDE - 1) / WIDE, bytes = bytes_of(out_kind);
    const int radius = static_cast<int>(w.size()) / 2;
    const Store narrow = store_for(Kind::F32, out_kind);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index i = 0; i < outer * blocks; ++i) {
        const Index from = i % blocks * WIDE, m = std::min<Index>(WIDE, inner - from), at = i / blocks * n * inner + from;
        for (Index j = 0; j < n; ++j) {
            float sum[WIDE];
            if constexpr (std::is_same_v<T, float>)
                if (j >= radius && j + radius < n) {
                    sum_lines(in + at + (j - radius) * inner, inner, sum, m, w.data(), 2 * radius + 1);
                    narrow(sum, out + (at + j * inner) * bytes, m);
                    continue;
                }
            std::fill(sum, sum + m, 0.0f);
            for (int t = -radius; t <= radius; ++t)
                add_scaled(in + at + std::clamp<Index>(j + t, 0, n - 1) * inner, sum, m, w[t + radius]);
            narrow(sum, out + (at + j * inner) * bytes, m);
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
