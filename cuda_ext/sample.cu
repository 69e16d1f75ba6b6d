// Sampling that can be trained through. Matrices lie on the device, where a network made them, and are read there. The
// meaning is that of medframe/kernels/reference/gradients.py; places are in double precision, as in sampling.h.
#include "device.h"

namespace medframe {

enum Field : int { STILL = 0, DENSE = 1, COARSE = 2 };  // no displacement, one knot a voxel, knots with a map of their own

// What one launch is told. x, where displacements live, has the matrices' axes last among three.
struct Sampling {
    double lead[3][4], to_knots[3][4];  // from the output's index: to x, to the knot's index
    int row[3];                         // of a sample's matrix: the one that gives the input's axis, or -1
    int rank;
    int in[3], out[3], knots[3];
    int knot_order;
    int border;
    float fill;
};

MF_DEVICE double along(const double *m, int i, int j, int k) { return m[0] * i + m[1] * j + m[2] * k + m[3]; }

// The knots around a place on one axis, and their weights; order 1 uses two of four.
struct KnotTaps {
    int at[4];
    float weight[4];
};

MF_DEVICE KnotTaps knot_taps(double q, int n, int order) {
    KnotTaps out;
    double t;
    const int base = cell(held(q, 0, n - 1), n, t);
    if (order == 3) {
        spline_weights(t, out.weight);
    } else {
        out.weight[0] = static_cast<float>(1 - t);
        out.weight[1] = static_cast<float>(t);
        out.weight[2] = out.weight[3] = 0;
    }
    const int first = base - (order == 3 ? 1 : 0);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int at = first + k;
        out.at[k] = at < 0 ? 0 : at < n ? at : n - 1;
    }
    return out;
}

// One sample's matrix as it stands among three axes; all threads of the block take part.
MF_DEVICE void load_matrix(const Sampling &job, const double *matrix, double *last) {
    const int me = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    if (me < 12) {
        const int row = job.row[me / 4], column = me % 4 - (3 - job.rank);
        last[me] = row >= 0 && column >= 0 ? matrix[row * (job.rank + 1) + column] : 0;
    }
    __syncthreads();
}

// x of an output voxel, displaced.
template <int FIELD>
MF_DEVICE void displaced(const Sampling &job, const float *field, Index at, int i, int j, int k, double *x) {
    for (int a = 0; a < 3; ++a) x[a] = along(job.lead[a], i, j, k);
    const int skipped = 3 - job.rank;
    if (FIELD == DENSE) {
        const Index voxels = static_cast<Index>(job.out[0]) * job.out[1] * job.out[2];
        for (int a = 0; a < 3; ++a)
            if (a >= skipped) x[a] += field[(a - skipped) * voxels + at];
    } else if (FIELD == COARSE) {
        KnotTaps taps[3];
        for (int a = 0; a < 3; ++a) taps[a] = knot_taps(along(job.to_knots[a], i, j, k), job.knots[a], job.knot_order);
        const Index all = static_cast<Index>(job.knots[0]) * job.knots[1] * job.knots[2];
        const int count = job.knot_order + 1;
        float f[3] = {0, 0, 0};
#pragma unroll 1
        for (int u = 0; u < count; ++u)
#pragma unroll 1
            for (int v = 0; v < count; ++v) {
                const float w = taps[0].weight[u] * taps[1].weight[v];
                const float *line =
                    field + (static_cast<Index>(taps[0].at[u]) * job.knots[1] + taps[1].at[v]) * job.knots[2];
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    if (c < count)
                        for (int a = 0; a < 3; ++a)
                            if (a >= skipped) f[a] += w * taps[2].weight[c] * line[(a - skipped) * all + taps[2].at[c]];
            }
        for (int a = 0; a < 3; ++a) x[a] += f[a];
    }
}

// Each output voxel of each sample, tile after tile of a block's threads: `each` gets the flat index and the indices;
// `before` and `after` are called by all threads of the block around a sample.
template <class B, class F, class A>
MF_DEVICE void for_each_tile(const Sampling &job, int samples, B &&before, F &&each, A &&after) {
    const unsigned across = (job.out[2] - 1) / blockDim.x + 1, down = (job.out[1] - 1) / blockDim.y + 1;
    const Index tiles = static_cast<Index>(across) * down * job.out[0];
    for (int s = blockIdx.y; s < samples; s += gridDim.y) {
        before(s);
        for (Index tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const int i = static_cast<int>(tile / (static_cast<Index>(across) * down));
            const unsigned rest = static_cast<unsigned>(tile - static_cast<Index>(across) * down * i);
            const int j = static_cast<int>(rest / across * blockDim.y + threadIdx.y);
            const int k = static_cast<int>(rest % across * blockDim.x + threadIdx.x);
            if (j < job.out[1] && k < job.out[2])
                each(s, (static_cast<Index>(i) * job.out[1] + j) * job.out[2] + k, i, j, k);
        }
        after(s);
    }
}

template <int ORDER, int FIELD>
__global__ void __launch_bounds__(256, 2)
    sample(const float *__restrict__ in, float *__restrict__ out, const double *__restrict__ matrices,
           const float *__restrict__ field, const __grid_constant__ Sampling job, int samples, Index channels) {
    __shared__ double last[12];
    const Index step = static_cast<Index>(job.in[0]) * job.in[1] * job.in[2];
    const Index stride = static_cast<Index>(job.out[0]) * job.out[1] * job.out[2];
    const Index knots = FIELD == DENSE ? stride : static_cast<Index>(job.knots[0]) * job.knots[1] * job.knots[2];
    const Border rule = static_cast<Border>(job.border);
    for_each_tile(
        job, samples,
        [&](int s) { load_matrix(job, matrices + static_cast<Index>(s) * (job.rank + 1) * (job.rank + 1), last); },
        [&](int s, Index at, int i, int j, int k) {
            double x[3];
            displaced<FIELD>(job, field + s * job.rank * knots, at, i, j, k, x);
            Taps<ORDER, float> axis[3];
            for (int a = 0; a < 3; ++a) {
                const double *m = last + 4 * a;
                axis[a] = taps<ORDER, float>(m[0] * x[0] + m[1] * x[1] + m[2] * x[2] + m[3], job.in[a], rule);
            }
            const float cover = axis[0].cover * axis[1].cover * axis[2].cover;
            const float *src = in + s * channels * step;
            float *dst = out + s * channels * stride + at;
            for (Index c = 0; c < channels; ++c, src += step, dst += stride) {
                float sum = 0;
                if (cover != 0) {
#pragma unroll(ORDER == 3 ? 1 : 2)
                    for (int u = 0; u <= ORDER; ++u)
#pragma unroll(ORDER == 3 ? 1 : 2)
                        for (int v = 0; v <= ORDER; ++v) {
                            const float *line = src + (axis[0].at[u] * job.in[1] + axis[1].at[v]) * job.in[2];
                            const float w = axis[0].weight[u] * axis[1].weight[v];
#pragma unroll
                            for (int t = 0; t <= ORDER; ++t) sum += w * axis[2].weight[t] * line[axis[2].at[t]];
                        }
                }
                *dst = cover == 1 ? sum : cover == 0 ? job.fill : sum + job.fill * (1 - cover);
            }
        },
        [](int) {});
}

// Gradients. The volume's are added atomically, so that their last bits depend on the order of threads. The matrices'
// are summed by each block, in an order of its own, into partial (samples, blocks along x, 12). The displacement's are
// written for every output voxel, (samples, rank, *out): for coarse knots `gather_knots` goes on from there. Each may be
// left out.
template <int ORDER, int FIELD>
__global__ void __launch_bounds__(256, 2)
    sample_backward(const float *__restrict__ grad, const float *__restrict__ in, const double *__restrict__ matrices,
                    const float *__restrict__ field, float *__restrict__ by_volume, double *__restrict__ partial,
                    float *__restrict__ by_place, const __grid_constant__ Sampling job, int samples, Index channels) {
    __shared__ double last[12], part[12][256];
    const Index step = static_cast<Index>(job.in[0]) * job.in[1] * job.in[2];
    const Index stride = static_cast<Index>(job.out[0]) * job.out[1] * job.out[2];
    const Index knots = FIELD == DENSE ? stride : static_cast<Index>(job.knots[0]) * job.knots[1] * job.knots[2];
    const Border rule = static_cast<Border>(job.border);
    const int me = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    double sums[12];
    for_each_tile(
        job, samples,
        [&](int s) {
            load_matrix(job, matrices + static_cast<Index>(s) * (job.rank + 1) * (job.rank + 1), last);
            for (int e = 0; e < 12; ++e) sums[e] = 0;
        },
        [&](int s, Index at, int i, int j, int k) {
            double x[3];
            displaced<FIELD>(job, field + s * job.rank * knots, at, i, j, k, x);
            Taps<ORDER, float> axis[3];
            Slopes<ORDER, float> rise[3];
            for (int a = 0; a < 3; ++a) {
                const double *m = last + 4 * a;
                const double p = m[0] * x[0] + m[1] * x[1] + m[2] * x[2] + m[3];
                axis[a] = taps<ORDER, float>(p, job.in[a], rule);
                rise[a] = slopes<ORDER, float>(p, job.in[a], rule);
            }
            const bool turned = ORDER > 0 && (partial != nullptr || by_place != nullptr);
            const float away[3] = {rise[0].cover * axis[1].cover * axis[2].cover,
                                   axis[0].cover * rise[1].cover * axis[2].cover,
                                   axis[0].cover * axis[1].cover * rise[2].cover};
            float slope[3] = {0, 0, 0};
            for (Index c = 0; c < channels; ++c) {
                const float g = grad[(s * channels + c) * stride + at];
                const Index start = (s * channels + c) * step;
                float sum[3] = {0, 0, 0};
#pragma unroll(ORDER == 3 ? 1 : 2)
                for (int u = 0; u <= ORDER; ++u)
#pragma unroll(ORDER == 3 ? 1 : 2)
                    for (int v = 0; v <= ORDER; ++v) {
                        const Index row = start + (axis[0].at[u] * job.in[1] + axis[1].at[v]) * job.in[2];
                        const float w = axis[0].weight[u] * axis[1].weight[v];
                        float line = 0, climb = 0;
#pragma unroll
                        for (int t = 0; t <= ORDER; ++t) {
                            if (by_volume != nullptr && w * axis[2].weight[t] != 0)
                                atomicAdd(by_volume + row + axis[2].at[t], g * (w * axis[2].weight[t]));
                            if (!turned) continue;
                            const float value = in[row + axis[2].at[t]];
                            line += axis[2].weight[t] * value;
                            climb += rise[2].weight[t] * value;
                        }
                        sum[0] += rise[0].weight[u] * axis[1].weight[v] * line;
                        sum[1] += axis[0].weight[u] * rise[1].weight[v] * line;
                        sum[2] += w * climb;
                    }
                for (int a = 0; a < 3; ++a) slope[a] += g * (sum[a] - job.fill * away[a]);
            }
            if (ORDER == 0) slope[0] = slope[1] = slope[2] = 0;
            if (partial != nullptr)
                for (int a = 0; a < 3; ++a) {
                    for (int c = 0; c < 3; ++c) sums[4 * a + c] += slope[a] * x[c];
                    sums[4 * a + 3] += slope[a];
                }
            if (by_place != nullptr)
                for (int a = 3 - job.rank; a < 3; ++a)
                    by_place[(s * job.rank + a - (3 - job.rank)) * stride + at] = static_cast<float>(
                        last[a] * slope[0] + last[4 + a] * slope[1] + last[8 + a] * slope[2]);
        },
        [&](int s) {
            if (partial == nullptr) return;
            for (int e = 0; e < 12; ++e) part[e][me] = sums[e];
            for (int half = threads / 2; half > 0; half /= 2) {
                __syncthreads();
                if (me < half)
                    for (int e = 0; e < 12; ++e) part[e][me] += part[e][me + half];
            }
            __syncthreads();
            if (me < 12) partial[(static_cast<Index>(s) * gridDim.x + blockIdx.x) * 12 + me] = part[me][0];
        });
}

// What `gather_knots` is told. `back` takes knot indices, less `to_knots` of the output's origin, to the box of output
// indices; without it (`whole`) every knot looks at the whole lattice.
struct Gathering {
    double to_knots[3][4], back[3][3];
    double least[3], most[3];  // of the knot index over the output lattice
    int out[3], knots[3];
    int rank, whole;
};

// The share a knot has in a place on one axis.
MF_DEVICE float share_of(int knot, double q, int n, int order) {
    const KnotTaps taps = knot_taps(q, n, order);
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (taps.at[k] == knot) sum += taps.weight[k];
    return sum;
}

// The gradient of every knot, gathered by one block from the output voxels around it, in an order that is always the
// same: by_place (samples, rank, *out) to by_field (samples, rank, *knots).
template <int ORDER>
__global__ void __launch_bounds__(256)
    gather_knots(const float *__restrict__ by_place, float *__restrict__ by_field, const __grid_constant__ Gathering job,
                 int samples) {
    __shared__ float part[3][256];
    const Index stride = static_cast<Index>(job.out[0]) * job.out[1] * job.out[2];
    const Index knots = static_cast<Index>(job.knots[0]) * job.knots[1] * job.knots[2];
    const int me = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    constexpr int REACH = ORDER == 3 ? 2 : 1;
    for (int s = blockIdx.y; s < samples; s += gridDim.y)
        for (Index knot = blockIdx.x; knot < knots; knot += gridDim.x) {
            const int own[3] = {static_cast<int>(knot / job.knots[2] / job.knots[1]),
                                static_cast<int>(knot / job.knots[2] % job.knots[1]),
                                static_cast<int>(knot % job.knots[2])};
            int lo[3] = {0, 0, 0}, hi[3] = {job.out[0], job.out[1], job.out[2]};
            double least[3], most[3];
            for (int a = 0; a < 3; ++a) {  // places beyond the knots are held at the outermost: who reaches that has them
                const int from = own[a] - REACH, until = own[a] + REACH;
                least[a] = from >= 0 && from > job.least[a] ? from : job.least[a];
                most[a] = until < job.knots[a] && until < job.most[a] ? until : job.most[a];
                if (least[a] > most[a]) hi[0] = 0;
            }
            if (!job.whole)
                for (int c = 0; c < 3; ++c) {
                    double from = 0, until = 0;
                    for (int a = 0; a < 3; ++a) {
                        const double one = job.back[c][a] * (least[a] - job.to_knots[a][3]);
                        const double other = job.back[c][a] * (most[a] - job.to_knots[a][3]);
                        from += one < other ? one : other;
                        until += one < other ? other : one;
                    }
                    lo[c] = static_cast<int>(held(ceil(from - 1e-3), 0, job.out[c]));
                    const int end = static_cast<int>(held(floor(until + 1e-3) + 1, 0, job.out[c]));
                    hi[c] = end < hi[c] ? end : hi[c];
                }
            float sum[3] = {0, 0, 0};
            const int deep = hi[0] - lo[0], tall = hi[1] - lo[1];
            const Index rows = deep > 0 && tall > 0 ? static_cast<Index>(deep) * tall : 0;
            for (Index r = threadIdx.y; r < rows; r += blockDim.y) {
                const int i = lo[0] + static_cast<int>(r / tall), j = lo[1] + static_cast<int>(r % tall);
                const float *line = by_place + s * job.rank * stride + (static_cast<Index>(i) * job.out[1] + j) * job.out[2];
                for (int k = lo[2] + static_cast<int>(threadIdx.x); k < hi[2]; k += blockDim.x) {
                    float w = 1;
                    for (int a = 0; a < 3; ++a)
                        w *= share_of(own[a], along(job.to_knots[a], i, j, k), job.knots[a], ORDER);
                    if (w == 0) continue;
                    for (int a = 0; a < 3; ++a)
                        if (a < job.rank) sum[a] += w * line[a * stride + k];
                }
            }
            __syncthreads();
            for (int a = 0; a < 3; ++a) part[a][me] = sum[a];
            for (int half = threads / 2; half > 0; half /= 2) {
                __syncthreads();
                if (me < half)
                    for (int a = 0; a < 3; ++a) part[a][me] += part[a][me + half];
            }
            __syncthreads();
            if (me < job.rank) by_field[(static_cast<Index>(s) * job.rank + me) * knots + knot] = part[me][0];
        }
}

}  // namespace medframe
