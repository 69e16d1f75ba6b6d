// Connected components by runs of equal voxels in rows, which are joined where they touch (union-find, the earliest run of
// a set is its root) and painted with the number of their set.
//
// Rows are looked at as bits, 64 voxels a word: which runs of two rows touch is then a matter of a few operations on
// words and of a loop over pairs that do, without a branch that depends on how long a run is.
#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "regions.h"

namespace medframe {
namespace {

using Word = std::uint64_t;
constexpr int WORD = 64;

// bit i of the result: flags[i], which is 0 or 1, for i < 64
inline Word packed(const std::uint8_t *flags) {
    Word bits = 0;
    for (int i = 0; i < 8; ++i) {
        Word eight;
        std::memcpy(&eight, flags + 8 * i, 8);
        bits |= (eight * 0x0102040810204080u >> 56) << (8 * i);
    }
    return bits;
}

// bit i: a[i] == b[i], for i < n <= 64
template <class T>
MF_CLONES Word equal_bits(const T *a, const T *b, int n) {
    alignas(WORD) std::uint8_t flags[WORD] = {};
    if (n == WORD)
        for (int i = 0; i < WORD; ++i) flags[i] = a[i] == b[i];
    else
        for (int i = 0; i < n; ++i) flags[i] = a[i] == b[i];
    return packed(flags);
}

// The bits of a row that are not background. True if one of them is neither background nor `value`.
template <class T>
MF_CLONES bool pack_row(const T *row, int w, T value, Word *bits) {
    bool other = false;
    for (int from = 0; from < w; from += WORD) {
        alignas(WORD) std::uint8_t flags[WORD] = {};
        const T *p = row + from;
        const int n = std::min(WORD, w - from);
        std::uint8_t strange = 0;
        for (int i = 0; i < n; ++i) {
            flags[i] = p[i] != 0;
            strange |= std::uint8_t((p[i] != 0) & (p[i] != value));
        }
        *bits++ = packed(flags);
        other = other || strange != 0;
    }
    return other;
}

// bit x of the result: the row's voxel x - 1
inline Word shifted(const Word *row, int k) { return row[k] << 1 | (k > 0 ? row[k - 1] >> (WORD - 1) : 0); }

inline std::int32_t root(std::int32_t *parent, std::int32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

inline void join(std::int32_t *parent, std::int32_t a, std::int32_t b) {
    a = root(parent, a), b = root(parent, b);
    parent[std::max(a, b)] = std::min(a, b);
}

// A row of one channel: its voxels, and for each word those that are no background, those where a run starts, and how
// many runs start before it in the channel.
template <class T>
struct Row {
    const T *labels;
    const Word *filled, *starts;
    const std::int32_t *before;

    // the run of voxel `x` of word k, where `upto` has the bits of x and below
    std::int32_t run(int k, Word upto) const { return before[k] + __builtin_popcountll(starts[k] & upto) - 1; }
};

// Joins the runs of two rows that touch; REACH where neighbours may also differ along the row. `other` is whether there
// are labels to compare.
template <bool REACH, class T>
MF_CLONES void join_rows(const Row<T> &a, const Row<T> &b, int w, bool other, std::int32_t *parent) {
    const int words = (w + WORD - 1) / WORD;
    Word carried = 0;  // whether the voxel before this word was the same in both rows
    for (int k = 0; k < words; ++k) {
        const Word A = a.filled[k], B = b.filled[k], before_a = shifted(a.filled, k), before_b = shifted(b.filled, k);
        Word same = A & B, falling = A & before_b, rising = before_a & B;  // of a at x and b at x, x - 1; a at x - 1, b at x
        if (!(same | (REACH ? falling | rising : 0))) {
            carried = 0;
            continue;
        }
        const Word start_a = a.starts[k], start_b = b.starts[k];
        if (REACH) {  // where one of the two goes on across x, they also touch at x or at x - 1, above each other
            falling &= start_a & (start_b | ~B);
            rising &= start_b & (start_a | ~A);
        }
        if (other) {
            const T *p = a.labels + WORD * k, *q = b.labels + WORD * k;
            const int n = std::min(WORD, w - WORD * k), skip = k == 0;  // nothing stands before the first voxel
            if (same) same &= equal_bits(p, q, n);
            if (REACH && falling) falling &= equal_bits(p + skip, q + skip - 1, n - skip) << skip;
            if (REACH && rising) rising &= equal_bits(p + skip - 1, q + skip, n - skip) << skip;
        }
        // a pair that goes on is joined once, where it begins
        const Word begins = same & (~(same << 1 | carried) | start_a);
        carried = same >> (WORD - 1);
        for (Word left = begins; left; left &= left - 1) {
            const Word upto = left ^ (left - 1);
            join(parent, a.run(k, upto), b.run(k, upto));
        }
        if (!REACH) continue;
        for (Word left = falling; left; left &= left - 1) {
            const Word upto = left ^ (left - 1);
            join(parent, a.run(k, upto), b.run(k, upto >> 1));
        }
        for (Word left = rising; left; left &= left - 1) {
            const Word upto = left ^ (left - 1);
            join(parent, a.run(k, upto >> 1), b.run(k, upto));
        }
    }
}

// Numbers of runs along a row, 0 between them. They are written by eights, beyond their ends, from the left to the right:
// `line` has room for eight more.
MF_CLONES void paint_row(const Word *filled, const Word *starts, const std::int32_t *numbers, int words, int w,
                         std::int32_t *__restrict line) {
    typedef std::int32_t Eight __attribute__((vector_size(32)));
    int at = 0;
    std::int32_t value = 0;
    const auto fill = [&](int to) {
        const Eight eight = Eight{} + value;
        for (; at < to; at += 8) std::memcpy(line + at, &eight, sizeof eight);
        at = to;
    };
    for (int k = 0; k < words; ++k) {
        const Word A = filled[k], ends = ~A & shifted(filled, k);
        for (Word left = starts[k] | ends; left; left &= left - 1) {
            const Word bit = left & (~left + 1);
            fill(WORD * k + __builtin_ctzll(left));
            value = A & bit ? *numbers++ : 0;
        }
    }
    fill(w);
}

template <class T>
class Channel {
  public:
    Channel(const int *size, int steps, int threads)
        : d_(size[0]),
          h_(size[1]),
          w_(size[2]),
          words_((w_ + WORD - 1) / WORD),
          steps_(steps),
          threads_(static_cast<int>(std::min<Index>(threads, rows()))),
          filled_(rows() * words_),
          starts_(rows() * words_),
          before_(rows() * words_ + 1),
          lines_(threads_, std::vector<std::int32_t>(w_ + 8)) {}

    // Throws where there are more runs than numbers for them, before anything is written.
    void number(const T *labels, std::int32_t *out) {
        labels_ = labels;
        cut();
        std::vector<std::int32_t> parent(before_.back());
        each_thread([&](int t) {
            for (std::int32_t i = before_[first(t) * words_]; i < before_[first(t + 1) * words_]; ++i) parent[i] = i;
            // within a thread's rows alone, whose runs no other thread touches
            for (Index r = first(t); r < first(t + 1); ++r) join_earlier(r, first(t), r, parent.data());
        });
        for (int t = 1; t < threads_; ++t)
            for (Index r = first(t); r < std::min(first(t + 1), first(t) + h_ + 1); ++r)
                join_earlier(r, 0, first(t), parent.data());
        std::int32_t last = 0;
        for (std::size_t i = 0; i < parent.size(); ++i)  // a parent comes earlier and has its number
            parent[i] = parent[i] == std::int32_t(i) ? ++last : parent[parent[i]];
        each_thread([&](int t) {
            std::int32_t *line = lines_[t].data();
            for (Index r = first(t); r < first(t + 1); ++r) {
                const Index at = r * words_;
                paint_row(&filled_[at], &starts_[at], parent.data() + before_[at], words_, w_, line);
                std::memcpy(out + r * w_, line, w_ * sizeof *line);
            }
        });
    }

  private:
    Index rows() const { return Index(d_) * h_; }
    Index first(int t) const { return rows() * t / threads_; }

    template <class F>
    void each_thread(F &&f) const {
#pragma omp parallel for num_threads(threads_) schedule(static, 1) if (threads_ > 1)
        for (int t = 0; t < threads_; ++t) f(t);
    }

    Row<T> row(Index r) const {
        return {labels_ + r * w_, &filled_[r * words_], &starts_[r * words_], &before_[r * words_]};
    }

    void cut() {
        const Index voxels = rows() * w_;
        const T *some = std::find_if(labels_, labels_ + voxels, [](T v) { return v != 0; });
        const T value = some == labels_ + voxels ? T(1) : *some;
        std::vector<unsigned char> strange(threads_);
        each_thread([&](int t) {
            bool found = false;
            for (Index r = first(t); r < first(t + 1); ++r)
                found |= pack_row<T>(labels_ + r * w_, w_, value, &filled_[r * words_]);
            strange[t] = found;
        });
        other_ = std::find(strange.begin(), strange.end(), 1) != strange.end();
        each_thread([&](int t) {
            for (Index r = first(t); r < first(t + 1); ++r) mark_starts(r);
        });
        Index count = 0;
        for (std::size_t i = 0; i < starts_.size(); ++i) {
            before_[i] = static_cast<std::int32_t>(count);
            count += __builtin_popcountll(starts_[i]);
            if (count > INT32_MAX) throw std::length_error("more than 2^31 runs of equal voxels");
        }
        before_.back() = static_cast<std::int32_t>(count);
    }

    void mark_starts(Index r) {
        const T *row = labels_ + r * w_;
        const Word *filled = &filled_[r * words_];
        for (int k = 0; k < words_; ++k) {
            Word goes_on = shifted(filled, k);
            if (other_) {
                const int skip = k == 0;
                const T *p = row + WORD * k + skip;
                goes_on &= equal_bits(p, p - 1, std::min(WORD, w_ - WORD * k) - skip) << skip;
            }
            starts_[r * words_ + k] = filled[k] & ~goes_on;
        }
    }

    // Joins row r with its neighbours among the rows [from, to), all of which come before it.
    void join_earlier(Index r, Index from, Index to, std::int32_t *parent) const {
        const int y = static_cast<int>(r % h_), z = static_cast<int>(r / h_);
        const auto touch = [&](Index s, int apart) {
            if (apart > steps_ || s < from || s >= to) return;
            if (steps_ > apart)
                join_rows<true>(row(r), row(s), w_, other_, parent);
            else
                join_rows<false>(row(r), row(s), w_, other_, parent);
        };
        if (y > 0) touch(r - 1, 1);
        if (z == 0) return;
        touch(r - h_, 1);
        if (y > 0) touch(r - h_ - 1, 2);
        if (y + 1 < h_) touch(r - h_ + 1, 2);
    }

    const int d_, h_, w_, words_, steps_, threads_;
    const T *labels_ = nullptr;
    bool other_ = false;  // there are labels of several values
    std::vector<Word> filled_, starts_;
    std::vector<std::int32_t> before_;
    std::vector<std::vector<std::int32_t>> lines_;
};

}  // namespace

template <class T>
void components(const T *labels, std::int32_t *out, Index channels, const int *size, int steps, int threads) {
    const Index volume = Index(size[0]) * size[1] * size[2];
    Channel<T> channel(size, steps, threads);
    for (Index c = 0; c < channels; ++c) channel.number(labels + c * volume, out + c * volume);
}

template void components(const std::uint8_t *, std::int32_t *, Index, const int *, int, int);
template void components(const std::int16_t *, std::int32_t *, Index, const int *, int, int);
template void components(const std::int32_t *, std::int32_t *, Index, const int *, int, int);
template void components(const std::int64_t *, std::int32_t *, Index, const int *, int, int);

namespace {

// the neighbours of a row: rows whose distance along the other axes is at most `steps`, and along the row if less
MF_CLONES void grow_from(const std::uint8_t *__restrict in, std::uint8_t *__restrict out, int w, bool along, bool erode) {
    if (erode) {
        for (int k = 0; k < w; ++k) out[k] &= in[k];
        if (!along) return;
        for (int k = 1; k < w; ++k) out[k] &= in[k - 1];
        for (int k = 0; k + 1 < w; ++k) out[k] &= in[k + 1];
    } else {
        for (int k = 0; k < w; ++k) out[k] |= in[k];
        if (!along) return;
        for (int k = 1; k < w; ++k) out[k] |= in[k - 1];
        for (int k = 0; k + 1 < w; ++k) out[k] |= in[k + 1];
    }
}

}  // namespace

void grow(const std::uint8_t *in, std::uint8_t *out, Index channels, const int *size, int steps, bool erode,
          int threads) {
    const int d = size[0], h = size[1], w = size[2];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index r = 0; r < channels * d * h; ++r) {
        const int y = static_cast<int>(r % h), z = static_cast<int>(r / h % d);
        std::uint8_t *row = out + r * w;
        std::copy(in + r * w, in + (r + 1) * w, row);
        for (int dz = -1; dz <= 1; ++dz)
            for (int dy = -1; dy <= 1; ++dy) {
                const int apart = std::abs(dz) + std::abs(dy);
                if (apart > steps || z + dz < 0 || z + dz >= d || y + dy < 0 || y + dy >= h) continue;
                grow_from(in + (r + Index(dz) * h + dy) * w, row, w, steps > apart, erode);
            }
    }
}

}  // namespace medframe
