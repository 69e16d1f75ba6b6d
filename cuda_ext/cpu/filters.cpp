// Filters of small neighbourhoods, and noise.
#include <algorithm>
#include <cstring>

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

// Keeps the middle half of candidates: a buffer of half of them and one more holds the median; each further value
// pushes out the least and the greatest. Columns are voxels.
template <int COUNT>
MF_CLONES void middle(const float *const *rows, float *__restrict out, Index n) {
    constexpr int HALF = COUNT / 2 + 2;
    alignas(64) float kept[HALF][16];
    for (Index k = 0; k < n; k += 16) {
        const int m = static_cast<int>(std::min<Index>(16, n - k));
        const auto load = [&](int slot, int which) {
            if (m == 16)
                std::memcpy(kept[slot], rows[which] + k, sizeof kept[slot]);
            else
                for (int l = 0; l < 16; ++l) kept[slot][l] = rows[which][k + std::min(l, m - 1)];
        };
        int size = HALF;
        for (int i = 0; i < size; ++i) load(i, i);
        for (int next = size; ; ++next) {
            for (int i = 1; i < size; ++i)  // the least to the front
                for (int l = 0; l < 16; ++l) {
                    const float a = kept[0][l], b = kept[i][l];
                    kept[0][l] = std::min(a, b);
                    kept[i][l] = std::max(a, b);
                }
            for (int i = 1; i < size - 1; ++i)  // the greatest to the end
                for (int l = 0; l < 16; ++l) {
                    const float a = kept[i][l], b = kept[size - 1][l];
                    kept[i][l] = std::min(a, b);
                    kept[size - 1][l] = std::max(a, b);
                }
            if (next >= COUNT) break;
            load(0, next);  // both ends go, one value comes: the buffer shrinks by one
            --size;
        }
        for (int l = 0; l < m; ++l) out[k + l] = kept[1][l];
    }
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

void median(const float *in, float *out, Index channels, const int *size, int width, int threads) {
    const int d = size[0], h = size[1], w = size[2], r = width / 2;
    const int rz = d > 1 ? r : 0, ry = h > 1 ? r : 0, rx = w > 1 ? r : 0;
    const Index stride = w + 2 * rx;
    const int count = (2 * rz + 1) * (2 * ry + 1) * (2 * rx + 1);
    if (count == 1) {
        std::copy(in, in + channels * d * h * w, out);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> framed(stride * (2 * rz + 1) * (2 * ry + 1));
        std::vector<const float *> rows(count);
#pragma omp for schedule(static)
        for (Index i = 0; i < channels * d * h; ++i) {
            const int y = static_cast<int>(i % h), z = static_cast<int>(i / h % d);
            const float *volume = in + i / h / d * d * h * w;
            int slot = 0, row = 0;
            for (int dz = -rz; dz <= rz; ++dz)
                for (int dy = -ry; dy <= ry; ++dy, ++row) {
                    const float *from =
                        volume + (Index(std::clamp(z + dz, 0, d - 1)) * h + std::clamp(y + dy, 0, h - 1)) * w;
                    float *to = framed.data() + row * stride;
                    std::fill_n(to, rx, from[0]);
                    std::copy(from, from + w, to + rx);
                    std::fill_n(to + rx + w, rx, from[w - 1]);
                    for (int dx = 0; dx <= 2 * rx; ++dx) rows[slot++] = to + dx;
                }
            float *to = out + i * w;
            switch (count) {
                case 3: middle<3>(rows.data(), to, w); break;
                case 5: middle<5>(rows.data(), to, w); break;
                case 9: middle<9>(rows.data(), to, w); break;
                case 25: middle<25>(rows.data(), to, w); break;
                case 27: middle<27>(rows.data(), to, w); break;
                default: middle<125>(rows.data(), to, w); break;
            }
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
