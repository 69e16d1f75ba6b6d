// Decisions between classes while their logits are interpolated: a block of a row is read class by class.
#include <algorithm>
#include <cmath>

#include "bend.h"

namespace medframe {
namespace {

struct DecideScratch {
    Places p;
    Spots<float> spots;
    unsigned char how[BLOCK];
    alignas(64) int winner[BLOCK];
    std::vector<float> values;  // (classes, BLOCK)
    std::vector<BendScratch> bends;
};

// the lowest class of the highest value; a NaN is never higher
MF_CLONES void highest(const float *__restrict values, int classes, int n, int *__restrict winner) {
    alignas(64) float best[BLOCK];
    for (int q = 0; q < n; ++q) {
        best[q] = values[q];
        winner[q] = 0;
    }
    for (int c = 1; c < classes; ++c) {
        const float *__restrict v = values + Index(c) * BLOCK;
        for (int q = 0; q < n; ++q) {
            const bool wins = v[q] > best[q];
            best[q] = wins ? v[q] : best[q];
            winner[q] = wins ? c : winner[q];
        }
    }
}

MF_CLONES void positive(const float *__restrict values, int n, int *__restrict winner) {
    for (int q = 0; q < n; ++q) winner[q] = values[q] > 0 ? 1 : 0;
}

// values become exp(value - highest), and `total` their sum
void exponentials(float *values, int classes, int n, float *total) {
    for (int q = 0; q < n; ++q) {
        float most = values[q], sum = 0;
        for (int c = 1; c < classes; ++c) most = std::max(most, values[Index(c) * BLOCK + q]);
        for (int c = 0; c < classes; ++c) {
            float &v = values[Index(c) * BLOCK + q];
            v = std::exp(v - most);
            sum += v;
        }
        total[q] = sum;
    }
}

template <class T>
class Decider {
  public:
    Decider(const Job &job, const Route &route, const std::vector<float> &fill, const std::vector<int> &chosen)
        : job_(job),
          route_(route),
          fill_(fill),
          chosen_(chosen),
          grid_(job.in_size),
          in_(static_cast<const T *>(job.in)),
          classes_(static_cast<int>(job.channels)) {
        for (int a = 0; a < 3; ++a) {
            lo_[a] = 0;
            hi_[a] = job.in_size[a] - 1;
            touch_lo_[a] = -1;
            touch_hi_[a] = job.in_size[a];
        }
        if (grid_.n[2] < 2) hi_[2] = -1;  // no room for a row of taps
    }

    void prepare(DecideScratch &s) const { s.values.resize(Index(classes_) * BLOCK); }

    void row(int i, int j, DecideScratch &s) const {
        const int w = job_.out_size[2];
        const Index start = (Index(i) * job_.out_size[1] + j) * w;
        for (int k = 0; k < w; k += BLOCK) {
            const int n = std::min(BLOCK, w - k);
            route_.places(i, j, k, n, s.p, s.bends);
            fold_places(s.p, n, grid_.n, job_.border);
            classify(s.p, n, lo_, hi_, touch_lo_, touch_hi_, s.how);
            for (int q = 0, end; q < n; q = end) {
                for (end = q + 1; end < n && s.how[end] == s.how[q];) ++end;
                read(q, end - q, s);
                if (job_.out_kind == Kind::F32)
                    shares(start + k + q, end - q, s);
                else
                    labels(start + k + q, end - q, s);
            }
        }
    }

  private:
    void read(int q, int n, DecideScratch &s) const {
        if (s.how[q] == FAST) linear_spots(s.p, q, n, grid_, s.spots);
        for (int c = 0; c < classes_; ++c) {
            const T *in = in_ + c * job_.in_voxels();
            float *to = s.values.data() + Index(c) * BLOCK;
            if (s.how[q] == FAST)
                linear_taps(in, grid_, s.spots, n, to);
            else if (s.how[q] == NOTHING && job_.border == ZERO)
                std::fill(to, to + n, fill_[c]);
            else
                for (int r = 0; r < n; ++r)
                    to[r] = value_at<1>(in, grid_, s.p[0][q + r], s.p[1][q + r], s.p[2][q + r], job_.border, fill_[c]);
        }
    }

    void labels(Index at, int n, DecideScratch &s) const {
        if (classes_ == 1)
            positive(s.values.data(), n, s.winner);
        else
            highest(s.values.data(), classes_, n, s.winner);
        if (job_.out_kind == Kind::U8) {
            auto *to = static_cast<std::uint8_t *>(job_.out) + at;
            for (int q = 0; q < n; ++q) to[q] = static_cast<std::uint8_t>(s.winner[q]);
        } else {
            auto *to = static_cast<std::int16_t *>(job_.out) + at;
            for (int q = 0; q < n; ++q) to[q] = static_cast<std::int16_t>(s.winner[q]);
        }
    }

    void shares(Index at, int n, DecideScratch &s) const {
        float total[BLOCK];
        if (classes_ > 1) exponentials(s.values.data(), classes_, n, total);
        for (std::size_t m = 0; m < chosen_.size(); ++m) {
            float *to = static_cast<float *>(job_.out) + Index(m) * job_.out_voxels() + at;
            if (classes_ > 1) {
                const float *v = s.values.data() + Index(chosen_[m]) * BLOCK;
                for (int q = 0; q < n; ++q) to[q] = v[q] / total[q];
            } else {  // one channel is the logit of class 1 against class 0
                const float sign = chosen_[m] == 1 ? -1.0f : 1.0f;
                for (int q = 0; q < n; ++q) to[q] = 1 / (1 + std::exp(sign * s.values[q]));
            }
        }
    }

    const Job &job_;
    const Route &route_;
    const std::vector<float> &fill_;
    const std::vector<int> &chosen_;
    const Grid grid_;
    const T *in_;
    const int classes_;
    double lo_[3], hi_[3], touch_lo_[3], touch_hi_[3];
};

}  // namespace

void decide_rows(const Job &job, const std::vector<float> &fill, const std::vector<int> &chosen) {
    const Route route(job);
    switch (job.in_kind) {
        case Kind::F16: return for_rows<DecideScratch>(job, route, Decider<Half>(job, route, fill, chosen));
        case Kind::BF16: return for_rows<DecideScratch>(job, route, Decider<Bfloat>(job, route, fill, chosen));
        default: return for_rows<DecideScratch>(job, route, Decider<float>(job, route, fill, chosen));
    }
}

}  // namespace medframe
