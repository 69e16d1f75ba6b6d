// The joint histogram of two label maps: every overlap measure of every pair of classes comes from it.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "regions.h"

namespace medframe {
namespace {

// the last row and column of a table take what lies outside it
template <class T>
inline Index place(T v, Index n) {
    if constexpr (std::is_signed_v<T>)
        if (v < 0) return n;
    return std::min<Index>(static_cast<Index>(v), n);
}

template <class T>
void count(const T *a, const T *b, Index n, Index rows, Index columns, std::int64_t *table) {
    const Index wide = columns + 1;
    Index i = 0;
    if constexpr (sizeof(T) == 1) {  // eight voxels at once where both maps are even, as they mostly are
        constexpr std::uint64_t ones = 0x0101010101010101u;
        for (; i + 8 <= n; i += 8) {
            std::uint64_t x, y;
            std::memcpy(&x, a + i, 8);
            std::memcpy(&y, b + i, 8);
            const Index p = place(a[i], rows) * wide + place(b[i], columns);
            if (x == ones * std::uint8_t(a[i]) && y == ones * std::uint8_t(b[i]))
                table[p] += 8;
            else
                for (Index k = i; k < i + 8; ++k) ++table[place(a[k], rows) * wide + place(b[k], columns)];
        }
    }
    for (; i < n; ++i) ++table[place(a[i], rows) * wide + place(b[i], columns)];
}

}  // namespace

template <class T>
void joint_counts(const T *a, const T *b, Index voxels, Index rows, Index columns, std::int64_t *counts, int threads) {
    constexpr Index chunk = 1 << 16;
#pragma omp parallel num_threads(threads)
    {
        std::vector<std::int64_t> table((rows + 1) * (columns + 1));
#pragma omp for schedule(static)
        for (Index i = 0; i < (voxels + chunk - 1) / chunk; ++i)
            count(a + i * chunk, b + i * chunk, std::min(chunk, voxels - i * chunk), rows, columns, table.data());
#pragma omp critical
        for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < columns; ++c) counts[r * columns + c] += table[r * (columns + 1) + c];
    }
}

template void joint_counts(const std::uint8_t *, const std::uint8_t *, Index, Index, Index, std::int64_t *, int);
template void joint_counts(const std::int16_t *, const std::int16_t *, Index, Index, Index, std::int64_t *, int);
template void joint_counts(const std::int32_t *, const std::int32_t *, Index, Index, Index, std::int64_t *, int);
template void joint_counts(const std::int64_t *, const std::int64_t *, Index, Index, Index, std::int64_t *, int);

}  // namespace medframe
