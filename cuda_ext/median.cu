// Medians of cubes of 3 and 5 voxels, edges repeated. Voxels are compared as unsigned keys in the same order. Along an
// axis of size 1 every voxel is there 3 or 5 times, which does not move the median. What is not a number has the greatest
// key of all, and a cube that holds it has no other median.
#include "device.h"

namespace medframe {

template <class T>
struct Key;

template <>
struct Key<unsigned char> {
    static constexpr int BITS = 8;
    static MF_DEVICE bool is_nan(unsigned) { return false; }
    static MF_DEVICE unsigned of(unsigned char v) { return v; }
    static MF_DEVICE unsigned char value(unsigned k) { return static_cast<unsigned char>(k); }
};

template <>
struct Key<short> {
    static constexpr int BITS = 16;
    static MF_DEVICE bool is_nan(unsigned) { return false; }
    static MF_DEVICE unsigned of(short v) { return static_cast<unsigned short>(v) ^ 0x8000u; }
    static MF_DEVICE short value(unsigned k) { return static_cast<short>(static_cast<unsigned short>(k ^ 0x8000u)); }
};

template <>
struct Key<int> {
    static constexpr int BITS = 32;
    static MF_DEVICE bool is_nan(unsigned) { return false; }
    static MF_DEVICE unsigned of(int v) { return static_cast<unsigned>(v) ^ 0x80000000u; }
    static MF_DEVICE int value(unsigned k) { return static_cast<int>(k ^ 0x80000000u); }
};

// Floats in order: those below zero with all their bits turned, the others with the sign alone.
template <>
struct Key<float> {
    static constexpr int BITS = 32;
    static MF_DEVICE bool is_nan(unsigned k) { return k == 0xffffffffu; }
    static MF_DEVICE unsigned of(float v) {
        const unsigned bits = __float_as_uint(v);
        if (!(v == v)) return 0xffffffffu;
        return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    }
    static MF_DEVICE float value(unsigned k) { return __uint_as_float(k & 0x80000000u ? k & 0x7fffffffu : ~k); }
};

template <class T, unsigned INFINITE>
struct SmallKey {
    static constexpr int BITS = 16;
    static MF_DEVICE bool is_nan(unsigned k) { return k == 0xffffu; }
    static MF_DEVICE unsigned of(T v) {
        if ((v.bits & 0x7fffu) > INFINITE) return 0xffffu;
        return v.bits & 0x8000u ? ~v.bits & 0xffffu : v.bits | 0x8000u;
    }
    static MF_DEVICE T value(unsigned k) {
        T out;
        out.bits = static_cast<unsigned short>(k & 0x8000u ? k & 0x7fffu : ~k & 0xffffu);
        return out;
    }
};
template <>
struct Key<Half> : SmallKey<Half, 0x7c00u> {};
template <>
struct Key<BFloat16> : SmallKey<BFloat16, 0x7f80u> {};

MF_DEVICE int clamped(Index i, int n) { return i < 0 ? 0 : i < n ? static_cast<int>(i) : n - 1; }

MF_DEVICE void in_order(unsigned &a, unsigned &b) {
    const unsigned low = a < b ? a : b;
    b = a < b ? b : a;
    a = low;
}

// 27 voxels a thread, in registers. Of 15 numbers neither the least nor the greatest is the median of all 27: they are
// dropped, another is taken, and so on until three are left.
template <class T>
__global__ void __launch_bounds__(256)
    median_of_27(const T *__restrict__ in, T *__restrict__ out, Index volumes, int n0, int n1, int n2) {
    const Index plane = static_cast<Index>(n1) * n2, slabs = volumes * n0;
    for (Index s = blockIdx.z; s < slabs; s += gridDim.z)
        for (int j = blockIdx.y * blockDim.y + threadIdx.y; j < n1; j += gridDim.y * blockDim.y)
            for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < n2; k += gridDim.x * blockDim.x) {
                const int i = static_cast<int>(s % n0);
                unsigned all[27], v[15];
                bool spoilt = false;
#pragma unroll
                for (int t = 0; t < 27; ++t) {
                    const Index z = s - i + clamped(i + t / 9 - 1, n0);
                    const int y = clamped(j + t / 3 % 3 - 1, n1), x = clamped(k + t % 3 - 1, n2);
                    all[t] = Key<T>::of(in[z * plane + static_cast<Index>(y) * n2 + x]);
                    spoilt |= Key<T>::is_nan(all[t]);
                }
#pragma unroll
                for (int t = 0; t < 15; ++t) v[t] = all[t];
#pragma unroll
                for (int m = 15; m >= 3; --m) {
#pragma unroll
                    for (int t = 0; t < 15; ++t)
                        if (t < m / 2) in_order(v[t], v[m - 1 - t]);
#pragma unroll
                    for (int t = 1; t < 15; ++t)
                        if (t <= (m - 1) / 2) in_order(v[0], v[t]);
#pragma unroll
                    for (int t = 1; t < 15; ++t)
                        if (t >= m / 2 && t < m - 1) in_order(v[t], v[m - 1]);
                    if (m > 3) v[0] = all[30 - m];
                }
                out[s * plane + static_cast<Index>(j) * n2 + k] = Key<T>::value(spoilt ? ~0u >> (32 - Key<T>::BITS) : v[1]);
            }
}

// 125 voxels are too many for registers: a block of 32 x 8 threads brings those around 32 x 8 x DEEP voxels to shared
// memory, and the median is found bit by bit, as the greatest number that at most 62 of the 125 are below.
constexpr int DEEP = 4, TALL = 8, WIDE = 32;

template <class T>
__global__ void __launch_bounds__(WIDE *TALL)
    median_of_125(const T *__restrict__ in, T *__restrict__ out, Index volumes, int n0, int n1, int n2) {
    __shared__ unsigned tile[DEEP + 4][TALL + 4][WIDE + 4];
    const Index plane = static_cast<Index>(n1) * n2;
    const int runs = (n0 - 1) / DEEP + 1, me = threadIdx.y * WIDE + threadIdx.x;
    for (Index s = blockIdx.z; s < volumes * runs; s += gridDim.z) {
        const Index volume = s / runs;
        const int i0 = static_cast<int>(s % runs) * DEEP;
        for (int j0 = blockIdx.y * TALL; j0 < n1; j0 += gridDim.y * TALL)
            for (int k0 = blockIdx.x * WIDE; k0 < n2; k0 += gridDim.x * WIDE) {
                __syncthreads();
                for (int t = me; t < (DEEP + 4) * (TALL + 4) * (WIDE + 4); t += WIDE * TALL) {
                    const int x = t % (WIDE + 4), y = t / (WIDE + 4) % (TALL + 4), z = t / ((WIDE + 4) * (TALL + 4));
                    const Index from = volume * n0 + clamped(i0 + z - 2, n0);
                    tile[z][y][x] = Key<T>::of(
                        in[from * plane + static_cast<Index>(clamped(j0 + y - 2, n1)) * n2 + clamped(k0 + x - 2, n2)]);
                }
                __syncthreads();
                const int j = j0 + threadIdx.y, k = k0 + threadIdx.x;
                if (j >= n1 || k >= n2) continue;
#pragma unroll 1
                for (int i = 0; i < DEEP && i0 + i < n0; ++i) {
                    unsigned found = 0;
                    bool spoilt = false;
#pragma unroll
                    for (int t = 0; t < 125; ++t)
                        spoilt |= Key<T>::is_nan(tile[i + t / 25][threadIdx.y + t / 5 % 5][threadIdx.x + t % 5]);
#pragma unroll 1
                    for (int bit = Key<T>::BITS - 1; bit >= 0; --bit) {
                        const unsigned next = found | 1u << bit;
                        int below = 0;
#pragma unroll
                        for (int z = 0; z < 5; ++z)
#pragma unroll
                            for (int y = 0; y < 5; ++y)
#pragma unroll
                                for (int x = 0; x < 5; ++x)
                                    below += tile[i + z][threadIdx.y + y][threadIdx.x + x] < next;
                        if (below <= 62) found = next;
                    }
                    out[(volume * n0 + i0 + i) * plane + static_cast<Index>(j) * n2 + k] = Key<T>::value(spoilt ? ~0u >> (32 - Key<T>::BITS) : found);
                }
            }
    }
}

}  // namespace medframe
