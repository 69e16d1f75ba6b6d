// How often each pair of classes meets in two label maps: counts (rows, columns), pairs outside are not counted.
#include "device.h"

namespace medframe {

constexpr int BINS = 8192;  // 32 KiB of shared memory; larger tables are counted in global memory

template <class T>
__global__ void __launch_bounds__(256)
    joint_counts(const T *__restrict__ a, const T *__restrict__ b, unsigned long long *__restrict__ counts,
                 Index voxels, int rows, int columns) {
    __shared__ unsigned local[BINS];
    const Index bins = static_cast<Index>(rows) * columns;
    const bool small = bins <= BINS;
    if (small) {
        for (int i = threadIdx.x; i < bins; i += blockDim.x) local[i] = 0;
        __syncthreads();
    }
    // a block meets fewer than 2^32 voxels: the launch gives it at most that many
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < voxels;
         i += static_cast<Index>(gridDim.x) * blockDim.x) {
        const long long r = static_cast<long long>(a[i]), c = static_cast<long long>(b[i]);
        if (r < 0 || r >= rows || c < 0 || c >= columns) continue;
        const Index bin = r * columns + c;
        if (small)
            atomicAdd(local + bin, 1u);
        else
            atomicAdd(counts + bin, 1ull);
    }
    if (small) {
        __syncthreads();
        for (int i = threadIdx.x; i < bins; i += blockDim.x)
            if (local[i] > 0) atomicAdd(counts + i, static_cast<unsigned long long>(local[i]));
    }
}

}  // namespace medframe
