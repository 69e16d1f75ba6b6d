// Displacements along a row: x -> onward(x + f(x)), f read from coarse knots and never held densely.
#ifndef MEDFRAME_BEND_H
#define MEDFRAME_BEND_H

#include <omp.h>

#include <algorithm>

#include "sample.h"

namespace medframe {

struct BendScratch {
    Places q;  // the places as knot indices
    alignas(64) float f[3][BLOCK];
    Spots<float> spots;
    std::vector<double> slab;  // knots summed over the first axis, for output plane `slab_of`
    std::vector<float> line;   // and over the second, for output row `line_of`
    Index slab_of = -1, line_of = -1;
};

class Bend {
  public:
    // `lead` carries an output index to the places this displacement takes; null if they are no affine map of it.
    Bend(const Knots &knots, const Affine *lead, const int *out_size);

    // The places of voxels k0 ... k0 + n - 1 of output row (i, j): made from the indices for the first displacement,
    // else carried on from what `p` holds.
    void carry(int i, int j, int k0, int n, Places &p, BendScratch &s) const;

    BendScratch scratch() const;

  private:
    void weave(const int *axis);
    void reduce(int i, int j, BendScratch &s) const;

    Knots knots_;
    int out_size_[3];
    bool first_, tabled_ = false;
    Affine index_to_knots_{}, index_onward_{};
    std::vector<float> woven_;  // order 3: knots (a, b, c, 4), padded by repetition, already turned by `onward`
    int dims_[3] = {1, 1, 1};
    std::vector<int> base_[3];                   // tables for knots aligned with the output: first tap,
    std::vector<float> weight_[3];               // and 4 weights, per output index of each axis
    int lo_[3] = {0, 0, 0}, hi_[3] = {1, 1, 1};  // the knots that are touched
};

// The displacements of a job, and places of its rows by them; without any, rows are straight lines.
class Route {
  public:
    explicit Route(const Job &job) : job_(job) {
        for (std::size_t b = 0; b < job.knots.size(); ++b)
            bends_.emplace_back(job.knots[b], b == 0 ? &job.lead : nullptr, job.out_size);
    }

    std::vector<BendScratch> scratch() const {
        std::vector<BendScratch> made;
        for (const Bend &b : bends_) made.push_back(b.scratch());
        return made;
    }

    void places(int i, int j, int k, int n, Places &p, std::vector<BendScratch> &s) const {
        if (bends_.empty()) fill_places(Line(job_.lead, i, j), k, n, p);
        for (std::size_t b = 0; b < bends_.size(); ++b) bends_[b].carry(i, j, k, n, p, s[b]);
    }

    bool straight() const { return bends_.empty(); }

  private:
    const Job &job_;
    std::vector<Bend> bends_;
};

// Calls worker.row(i, j, scratch) for every row of the output, on the job's threads. `Scratch` has a member `bends`.
template <class Scratch, class Worker>
void for_rows(const Job &job, const Route &route, const Worker &worker) {
    std::vector<Scratch> scratch(job.threads);  // made here: an exception must not leave a parallel region
    for (auto &s : scratch) {
        s.bends = route.scratch();
        worker.prepare(s);
    }
    // Neighbouring planes of a turned output read neighbouring planes of the input: rows are taken tile by tile, so that
    // what a tile reads stays in the cache for all of its planes.
    const int d = job.out_size[0], h = job.out_size[1];
    // (a displacement's knots are summed anew for each tile and plane, so that its tiles are larger)
    const int voxels = route.straight() ? 1280 : 16384;
    const int high = std::min(h, std::max(1, voxels / job.out_size[2]));
    int deep = std::min(d, 32);
    const Index across = (h + high - 1) / high;
    while (deep > 1 && (d + deep - 1) / deep * across < 8 * job.threads) deep = (deep + 1) / 2;
    const Index tiles = (d + deep - 1) / deep * across;
    // a thread takes several tiles in turn: they share much of what they read, and caches are a core's own
    const Index turn = std::max<Index>(1, tiles / (16 * job.threads));
#pragma omp parallel for schedule(dynamic, turn) num_threads(job.threads) if (job.threads > 1)
    for (Index t = 0; t < tiles; ++t) {
        const int i0 = static_cast<int>(t / across) * deep, i1 = std::min(i0 + deep, d);
        const int j0 = static_cast<int>(t % across) * high, j1 = std::min(j0 + high, h);
        for (int i = i0; i < i1; ++i)
            for (int j = j0; j < j1; ++j) worker.row(i, j, scratch[omp_get_thread_num()]);
    }
}

}  // namespace medframe

#endif
