// The label vote: of the classes around a place, weighted as linear interpolation weights voxels, the heaviest.
#include <algorithm>

#include "bend.h"

namespace medframe {
namespace {

struct VoteScratch {
    Places p;
    Spots<double> spots;
    unsigned char how[BLOCK];
    std::vector<BendScratch> bends;
};

template <class T>
MF_CLONES void vote_taps(const T *__restrict in, const Grid &g, const Spots<double> &s, int n, T *__restrict out) {
    const Index row = g.row, plane = g.plane;
    for (int q = 0; q < n; ++q) {
        const T *p = in + s.at[q];
        T label[8] = {p[0], p[1], p[row], p[row + 1], p[plane], p[plane + 1], p[plane + row], p[plane + row + 1]};
        T differ = 0;
        for (int k = 1; k < 8; ++k) differ |= static_cast<T>(label[k] ^ label[0]);
        if (differ == 0) {
            out[q] = label[0];
            continue;
        }
        const double z = s.weight[0][q], y = s.weight[1][q], x = s.weight[2][q];
        const double near = (1 - z) * (1 - y), right = (1 - z) * y, below = z * (1 - y), far = z * y;
        double share[8] = {near * (1 - x),  near * x,  right * (1 - x), right * x,
                           below * (1 - x), below * x, far * (1 - x),   far * x};
        out[q] = winner(label, share, 8);
    }
}

// any place; taps outside a ZERO border count for the fill's class
template <class T>
T vote_at(const T *in, const Grid &g, double z, double y, double x, Border border, T fill) {
    const auto tz = taps<1, double>(z, g.n[0], border), ty = taps<1, double>(y, g.n[1], border),
               tx = taps<1, double>(x, g.n[2], border);
    const double cover = tz.cover * ty.cover * tx.cover;
    T label[9];
    double share[9];
    int n = 0;
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j)
            for (int k = 0; k < 2; ++k) {
                const double w = tz.weight[i] * ty.weight[j] * tx.weight[k];
                if (w == 0) continue;
                label[n] = in[g.at(int(tz.at[i]), int(ty.at[j]), int(tx.at[k]))];
                share[n++] = w;
            }
    if (cover < 1) {
        label[n] = fill;
        share[n++] = 1 - cover;
    }
    return n > 0 ? winner(label, share, n) : fill;
}

template <class T>
class Voter {
  public:
    Voter(const Job &job, const Route &route, T fill)
        : job_(job), route_(route), grid_(job.in_size), in_(static_cast<const T *>(job.in)), fill_(fill) {
        for (int a = 0; a < 3; ++a) {
            lo_[a] = 0;
            hi_[a] = job.in_size[a] - 1;
            touch_lo_[a] = -1;
            touch_hi_[a] = job.in_size[a];
        }
        if (grid_.n[2] < 2) hi_[2] = -1;  // no room for a row of taps
    }

    void prepare(VoteScratch &) const {}

    void row(int i, int j, VoteScratch &s) const {
        const int w = job_.out_size[2];
        const Index start = (Index(i) * job_.out_size[1] + j) * w;
        for (int k = 0; k < w; k += BLOCK) {
            const int n = std::min(BLOCK, w - k);
            route_.places(i, j, k, n, s.p, s.bends);
            fold_places(s.p, n, grid_.n, job_.border);
            classify(s.p, n, lo_, hi_, touch_lo_, touch_hi_, s.how);
            for (int q = 0, end; q < n; q = end) {
                for (end = q + 1; end < n && s.how[end] == s.how[q];) ++end;
                if (s.how[q] == FAST) linear_spots(s.p, q, end - q, grid_, s.spots);
                for (Index c = 0; c < job_.channels; ++c) {
                    const T *in = in_ + c * job_.in_voxels();
                    T *to = static_cast<T *>(job_.out) + c * job_.out_voxels() + start + k;
                    if (s.how[q] == FAST) {
                        vote_taps(in, grid_, s.spots, end - q, to + q);
                    } else if (s.how[q] == NOTHING && job_.border == ZERO) {
                        std::fill(to + q, to + end, fill_);
                    } else {
                        for (int r = q; r < end; ++r)
                            to[r] = vote_at(in, grid_, s.p[0][r], s.p[1][r], s.p[2][r], job_.border, fill_);
                    }
                }
            }
        }
    }

  private:
    const Job &job_;
    const Route &route_;
    const Grid grid_;
    const T *in_;
    const T fill_;
    double lo_[3], hi_[3], touch_lo_[3], touch_hi_[3];
};

}  // namespace

template <class T>
void vote_rows(const Job &job, T fill) {
    const Route route(job);
    for_rows<VoteScratch>(job, route, Voter<T>(job, route, fill));
}

template void vote_rows(const Job &, std::uint8_t);
template void vote_rows(const Job &, std::int8_t);
template void vote_rows(const Job &, std::uint16_t);
template void vote_rows(const Job &, std::int16_t);
template void vote_rows(const Job &, std::int32_t);
template void vote_rows(const Job &, std::int64_t);

}  // namespace medframe
