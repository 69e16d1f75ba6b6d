// Normal noise: the stream of cuda_ext/noise.cu, many counters side by side.
//
// Logarithm, sine and cosine are series, since the library's take a call for each number. Their errors are below 1e-7 of
// the result, which is less than a rounding of the places they are taken at.
#include <algorithm>

#include "philox.h"
#include "regions.h"

namespace medframe {
namespace {

constexpr int MANY = 64;  // counters at once

// four words of each counter, in place
MF_CLONES void draw(unsigned *__restrict a, unsigned *__restrict b, unsigned *__restrict c, unsigned *__restrict d,
                    unsigned k0, unsigned k1) {
    for (int i = 0; i < MANY; ++i) {
        const Words w = philox({{a[i], b[i], c[i], d[i]}}, k0, k1);
        a[i] = w.at[0], b[i] = w.at[1], c[i] = w.at[2], d[i] = w.at[3];
    }
}

// The natural logarithm of u in [2^-33, 1]: u = 2^e m with m around 1, and ln m = 2 artanh((m - 1) / (m + 1)).
MF_HD float logarithm(float u) {
    const int bits = static_cast<int>(bits_of_float(u)), e = (bits - 0x3f3504f3) >> 23;
    const float m = float_of_bits(static_cast<unsigned>(bits - e * (1 << 23)));  // at least sqrt(1/2)
    const float s = (m - 1) / (m + 1), z = s * s;
    const float tail = z * (1 / 3.0f + z * (1 / 5.0f + z * (1 / 7.0f + z * (1 / 9.0f))));
    return static_cast<float>(e) * 0.693147180559945f + 2 * (s + s * tail);
}

// Two numbers from two words.
MF_CLONES void box_muller(const unsigned *__restrict u, const unsigned *__restrict v, float *__restrict x,
                          float *__restrict y) {
    for (int i = 0; i < MANY; ++i) {
        const float radius = std::sqrt(-2 * logarithm(unit(u[i])));
        // the angle from the nearest quarter of a turn, which is exact, so that sine and cosine are, too
        const float turn = unit(v[i]), quarters = (4 * turn + 12582912.0f) - 12582912.0f;
        const float a = 6.283185307179586f * (turn - 0.25f * quarters), z = a * a;
        const float sine = a + a * z * (-1 / 6.0f + z * (1 / 120.0f + z * (-1 / 5040.0f + z * (1 / 362880.0f))));
        const float cosine =
            1 + z * (-1 / 2.0f + z * (1 / 24.0f + z * (-1 / 720.0f + z * (1 / 40320.0f - z * (1 / 3628800.0f)))));
        const unsigned q = static_cast<unsigned>(static_cast<int>(quarters)), odd = 0u - (q & 1);
        // quarters turn (cosine, sine) and change its signs; chosen by bits, since a branch would keep this from vectors
        const unsigned c = bits_of_float(radius * cosine), s = bits_of_float(radius * sine);
        x[i] = float_of_bits(((s & odd) | (c & ~odd)) ^ ((q + 1) & 2) << 30);
        y[i] = float_of_bits(((c & odd) | (s & ~odd)) ^ (q & 2) << 30);
    }
}

}  // namespace

void normal_noise(float *out, Index count, std::uint64_t seed_low, std::uint64_t seed_high, int threads) {
    const Index groups = (count + 3) / 4;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index first = 0; first < groups; first += MANY) {
        unsigned a[MANY], b[MANY], c[MANY], d[MANY];
        for (int i = 0; i < MANY; ++i) {
            a[i] = static_cast<unsigned>(first + i);
            b[i] = static_cast<unsigned>((first + i) >> 32);
            c[i] = static_cast<unsigned>(seed_high);
            d[i] = static_cast<unsigned>(seed_high >> 32);
        }
        draw(a, b, c, d, static_cast<unsigned>(seed_low), static_cast<unsigned>(seed_low >> 32));
        float v[4][MANY], mixed[4 * MANY];
        box_muller(a, b, v[0], v[1]);
        box_muller(c, d, v[2], v[3]);
        for (int i = 0; i < MANY; ++i)
            for (int k = 0; k < 4; ++k) mixed[4 * i + k] = v[k][i];
        std::copy(mixed, mixed + std::min<Index>(4 * MANY, count - 4 * first), out + 4 * first);
    }
}

}  // namespace medframe
