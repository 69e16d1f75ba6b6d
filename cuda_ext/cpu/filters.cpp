// Separable filters, and noise.
#include <algorithm>

#include "philox.h"
#include "regions.h"

namespace medframe {
namespace {

constexpr int WIDE = 256;  // voxels that are filtered side by side

MF_CLONES void add_scaled(const float *__restrict in, float *__restrict sum, Index n, float weight) {
    for (Index k = 0; k < n; ++k) sum[k] += weight * in[k];
}

// out[k] = sum of weights times in[k .. k + taps), n outputs
MF_CLONES void along_row(const float *__restrict in, float *__restrict out, Index n, const float *weights, int taps) {
    for (Index k = 0; k < n; ++k) out[k] = weights[0] * in[k];
    for (int t = 1; t < taps; ++t)
        for (Index k = 0; k < n; ++k) out[k] += weights[t] * in[k + t];
}

}  // namespace

void filter_axis(const float *in, float *out, Index outer, Index n, Index inner, const double *weights, int radius,
                 int threads) {
    std::vector<float> w(2 * radius + 1);
    for (int k = 0; k <= 2 * radius; ++k) w[k] = static_cast<float>(weights[k]);
    if (inner == 1) {
#pragma omp parallel num_threads(threads)
        {
            std::vector<float> framed(n + 2 * radius);
#pragma omp for schedule(static)
            for (Index o = 0; o < outer; ++o) {
                const float *row = in + o * n;
                std::fill_n(framed.begin(), radius, row[0]);
                std::copy(row, row + n, framed.begin() + radius);
                std::fill_n(framed.begin() + radius + n, radius, row[n - 1]);
                along_row(framed.data(), out + o * n, n, w.data(), 2 * radius + 1);
            }
        }
        return;
    }
    const Index blocks = (inner + WIDE - 1) / WIDE;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index i = 0; i < outer * blocks; ++i) {
        const Index from = i % blocks * WIDE, m = std::min<Index>(WIDE, inner - from);
        const float *lines = in + i / blocks * n * inner + from;
        float *result = out + i / blocks * n * inner + from;
        for (Index j = 0; j < n; ++j) {
            float *sum = result + j * inner;
            std::fill(sum, sum + m, 0.0f);
            for (int t = -radius; t <= radius; ++t)
                add_scaled(lines + std::clamp<Index>(j + t, 0, n - 1) * inner, sum, m, w[t + radius]);
        }
    }
}

void normal_noise(float *out, Index count, std::uint64_t seed_low, std::uint64_t seed_high, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index g = 0; g < (count + 3) / 4; ++g) {
        Words c;
        c.at[0] = static_cast<unsigned>(g);
        c.at[1] = static_cast<unsigned>(g >> 32);
        c.at[2] = static_cast<unsigned>(seed_high);
        c.at[3] = static_cast<unsigned>(seed_high >> 32);
        c = philox(c, static_cast<unsigned>(seed_low), static_cast<unsigned>(seed_low >> 32));
        float v[4];
        for (int pair = 0; pair < 2; ++pair) {
            const float radius = std::sqrt(-2 * std::log(unit(c.at[2 * pair])));
            // the angle from the nearest quarter of a turn, which is exact, so that sine and cosine are, too
            const float turn = unit(c.at[2 * pair + 1]), quarters = std::nearbyint(4 * turn);
            const float angle = 6.283185307179586f * (turn - 0.25f * quarters);
            const float x = radius * std::cos(angle), y = radius * std::sin(angle);
            const int q = static_cast<int>(quarters) & 3;
            v[2 * pair] = q == 0 ? x : q == 1 ? -y : q == 2 ? -x : y;
            v[2 * pair + 1] = q == 0 ? y : q == 1 ? x : q == 2 ? -y : -x;
        }
        for (int k = 0; k < 4 && 4 * g + k < count; ++k) out[4 * g + k] = v[k];
    }
}

}  // namespace medframe
