// The box around each label, row by row: a row's runs of equal labels move the bounds, not its voxels.
#include <algorithm>

#include "regions.h"

namespace medframe {

template <class T>
void label_boxes(const T *labels, const int *size, Index count, std::int64_t *lower, std::int64_t *upper) {
    const int d = size[0], h = size[1], w = size[2];
    for (int z = 0; z < d; ++z)
        for (int y = 0; y < h; ++y) {
            const T *row = labels + (Index(z) * h + y) * w;
            for (int x = 0; x < w;) {
                const T label = row[x];
                const int from = x;
                while (x < w && row[x] == label) ++x;
                const Index k = static_cast<Index>(label) - 1;
                if (k < 0 || k >= count) continue;
                const std::int64_t low[3] = {z, y, from}, high[3] = {z + 1, y + 1, x};
                for (int a = 0; a < 3; ++a) {
                    lower[k * 3 + a] = std::min(lower[k * 3 + a], low[a]);
                    upper[k * 3 + a] = std::max(upper[k * 3 + a], high[a]);
                }
            }
        }
}

template void label_boxes(const std::uint8_t *, const int *, Index, std::int64_t *, std::int64_t *);
template void label_boxes(const std::int16_t *, const int *, Index, std::int64_t *, std::int64_t *);
template void label_boxes(const std::int32_t *, const int *, Index, std::int64_t *, std::int64_t *);

}  // namespace medframe
