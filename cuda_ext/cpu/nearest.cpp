// Distances to the nearest target at some voxels only, as surfaces need them: at each, lines along the last axis are
// looked at in growing distance from its own, until none farther away can matter. What a line holds is known from two
// sweeps. Where surfaces lie near each other a few lines do; where they do not, the work is cut off and the caller makes
// the whole distance transform, whose time does not grow with the distance.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "regions.h"

namespace medframe {
namespace {

using Gap = std::uint16_t;
constexpr Gap NONE = std::numeric_limits<Gap>::max();

struct Offset {
    double square;
    int d, h;
};

// Steps to the nearest target of the same line; NONE in a line without one. Returns whether there is one.
bool sweep_line(const std::uint8_t *target, Gap *gap, int n) {
    int away = NONE;
    for (int i = 0; i < n; ++i) {
        away = target[i] ? 0 : std::min<int>(away + 1, NONE);
        gap[i] = static_cast<Gap>(away);
    }
    if (away == NONE) return false;
    away = NONE;
    for (int i = n - 1; i >= 0; --i) {
        away = target[i] ? 0 : std::min<int>(away + 1, NONE);
        gap[i] = std::min<Gap>(gap[i], static_cast<Gap>(away));
    }
    return true;
}

}  // namespace

bool distances_at(const std::uint8_t *target, const std::uint8_t *at, double *out, const int *size,
                  const double *spacing, Index most, int threads) {
    const int d = size[0], h = size[1], w = size[2];
    const Index rows = Index(d) * h;
    std::vector<Gap> gap(rows * w);
    std::vector<Index> first(rows + 1, 0);  // where the answers of each row start
    bool any = false;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(|| : any)
    for (Index r = 0; r < rows; ++r) {
        any = sweep_line(target + r * w, gap.data() + r * w, w) || any;
        Index n = 0;
        for (int i = 0; i < w; ++i) n += at[r * w + i] != 0;
        first[r + 1] = n;
    }
    for (Index r = 0; r < rows; ++r) first[r + 1] += first[r];
    if (!any) {
        std::fill(out, out + first[rows], std::numeric_limits<double>::infinity());
        return true;
    }
    std::vector<Offset> lines;
    lines.reserve(rows);
    for (int i = 0; i < d; ++i)
        for (int j = 0; j < h; ++j) {
            const double a = i * spacing[0], b = j * spacing[1];
            lines.push_back({a * a + b * b, i, j});
        }
    std::sort(lines.begin(), lines.end(), [](const Offset &a, const Offset &b) { return a.square < b.square; });

    const double step = spacing[2];
    std::atomic<Index> looked{0};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
    for (Index r = 0; r < rows; ++r) {
        if (first[r] == first[r + 1] || looked.load(std::memory_order_relaxed) > most) continue;
        const int z = static_cast<int>(r / h), y = static_cast<int>(r % h);
        double *to = out + first[r];
        Index here = 0;
        for (int x = 0; x < w; ++x) {
            if (!at[r * w + x]) continue;
            double best = std::numeric_limits<double>::infinity();
            const auto look = [&](int zz, int yy, double square) {
                const Gap g = gap[(Index(zz) * h + yy) * w + x];
                if (g == NONE) return;
                const double along = g * step;
                best = std::min(best, square + along * along);
            };
            for (const Offset &line : lines) {
                if (line.square >= best) break;
                ++here;
                const bool down = z >= line.d, up = line.d && z + line.d < d;
                const bool left = y >= line.h, right = line.h && y + line.h < h;
                if (down && left) look(z - line.d, y - line.h, line.square);
                if (down && right) look(z - line.d, y + line.h, line.square);
                if (up && left) look(z + line.d, y - line.h, line.square);
                if (up && right) look(z + line.d, y + line.h, line.square);
                if (here > most) break;
            }
            *to++ = std::sqrt(best);
        }
        looked.fetch_add(here, std::memory_order_relaxed);
    }
    return looked.load() <= most;
}

}  // namespace medframe
