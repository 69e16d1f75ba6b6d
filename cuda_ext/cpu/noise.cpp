// Normal noise: the stream of cuda_ext/noise.cu, many counters side by side.
//
// Logarithm, sine and cosine are series, since the library's take a call for each number. Their errors are below 1e-7 of
// the result, which is less than a rounding of the places they are taken at.
#include <algorithm>
#include <cstring>

#include "regions.h"

namespace medframe {
namespace {

constexpr int MANY = 64;  // counters at once

MF_CLONES void philox_rounds(std::uint32_t *__restrict a, std::uint32_t *__restrict b, std::uint32_t *__restrict c,
                             std::uint32_t *__restrict d, std::uint32_t k0, std::uint32_t k1) {
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < MANY; ++i) {
            const std::uint64_t p = std::uint64_t(0xD2511F53u) * a[i], q = std::uint64_t(0xCD9E8D57u) * c[i];
            a[i] = static_cast<std::uint32_t>(q >> 32) ^ b[i] ^ k0;
            b[i] = static_cast<std::uint32_t>(q);
            c[i] = static_cast<std::uint32_t>(p >> 32) ^ d[i] ^ k1;
            d[i] = static_cast<std::uint32_t>(p);
        }
}

// `unit` of philox.h, bit for bit: halves are signed numbers, which AVX2 converts and whole words are not.
MF_HD float unit_of(std::uint32_t word) {
    const float whole = static_cast<float>(static_cast<int>(word >> 16)) * 65536.0f +
                        static_cast<float>(static_cast<int>(word & 0xffffu));
    return (whole + 0.5f) * 2.3283064365386963e-10f;
}

MF_HD std::uint32_t bits_of(float v) {
    std::uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits;
}

MF_HD float float_of(std::uint32_t bits) {
    float v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

// The natural logarithm of u in [2^-33, 1]: u = 2^e m with m around 1, and ln m = 2 artanh((m - 1) / (m + 1)).
MF_HD float logarithm(float u) {
    const std::int32_t bits = static_cast<std::int32_t>(bits_of(u)), e = (bits - 0x3f3504f3) >> 23;
    const float m = float_of(static_cast<std::uint32_t>(bits - e * (1 << 23)));  // at least sqrt(1/2)
    const float s = (m - 1) / (m + 1), z = s * s;
    const float tail = z * (1 / 3.0f + z * (1 / 5.0f + z * (1 / 7.0f + z * (1 / 9.0f))));
    return static_cast<float>(e) * 0.693147180559945f + 2 * (s + s * tail);
}

// Two numbers from two words.
MF_CLONES void box_muller(const std::uint32_t *__restrict u, const std::uint32_t *__restrict v, float *__restrict x,
                          float *__restrict y) {
    for (int i = 0; i < MANY; ++i) {
        const float radius = std::sqrt(-2 * logarithm(unit_of(u[i])));
        // the angle from the nearest quarter of a turn, which is exact, so that sine and cosine are, too
        const float turn = unit_of(v[i]), quarters = (4 * turn + 12582912.0f) - 12582912.0f;
        const float a = 6.283185307179586f * (turn - 0.25f * quarters), z = a * a;
        const float sine = a + a * z * (-1 / 6.0f + z * (1 / 120.0f + z * (-1 / 5040.0f + z * (1 / 362880.0f))));
        const float cosine =
            1 + z * (-1 / 2.0f + z * (1 / 24.0f + z * (-1 / 720.0f + z * (1 / 40320.0f - z * (1 / 3628800.0f)))));
        const std::uint32_t q = static_cast<std::uint32_t>(static_cast<int>(quarters)), odd = 0u - (q & 1);
        // quarters turn (cosine, sine) and change its signs; chosen by bits, since a branch would keep this from vectors
        const std::uint32_t c = bits_of(radius * cosine), s = bits_of(radius * sine);
        x[i] = float_of(((s & odd) | (c & ~odd)) ^ ((q + 1) & 2) << 30);
        y[i] = float_of(((c & odd) | (s & ~odd)) ^ (q & 2) << 30);
    }
}

}  // namespace

void normal_noise(float *out, Index count, std::uint64_t seed_low, std::uint64_t seed_high, int threads) {
    const Index groups = (count + 3) / 4;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index first = 0; first < groups; first += MANY) {
        std::uint32_t a[MANY], b[MANY], c[MANY], d[MANY];
        for (int i = 0; i < MANY; ++i) {
            a[i] = static_cast<std::uint32_t>(first + i);
            b[i] = static_cast<std::uint32_t>((first + i) >> 32);
            c[i] = static_cast<std::uint32_t>(seed_high);
            d[i] = static_cast<std::uint32_t>(seed_high >> 32);
        }
        philox_rounds(a, b, c, d, static_cast<std::uint32_t>(seed_low), static_cast<std::uint32_t>(seed_low >> 32));
        float v[4][MANY], mixed[4 * MANY];
        box_muller(a, b, v[0], v[1]);
        box_muller(c, d, v[2], v[3]);
        for (int i = 0; i < MANY; ++i)
            for (int k = 0; k < 4; ++k) mixed[4 * i + k] = v[k][i];
        std::copy(mixed, mixed + std::min<Index>(4 * MANY, count - 4 * first), out + 4 * first);
    }
}

}  // namespace medframe
