// Connected components by union-find in one pass over the voxels, with atomic minima (Playne, Hawick, "A new algorithm
// for parallel connected-component labelling on GPUs", IEEE Trans. Parallel Distrib. Syst. 2018,
// doi:10.1109/TPDS.2018.2799216). Trees hang together by linear index: the root is a component's first voxel.
#include "device.h"

namespace medframe {

// Voxels of value 0 are background: -1. Others start as trees of their own.
template <class T>
__global__ void __launch_bounds__(256) components_start(const T *__restrict__ in, int *__restrict__ parent, Index voxels) {
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < voxels;
         i += static_cast<Index>(gridDim.x) * blockDim.x)
        parent[i] = in[i] != 0 ? static_cast<int>(i) : -1;
}

// Parents may be lowered by others meanwhile; an old one is still an ancestor.
MF_DEVICE int root_of(const volatile int *parent, int i) {
    for (int up = parent[i]; up != i; up = parent[i]) i = up;
    return i;
}

MF_DEVICE void unite(int *parent, int a, int b) {
    for (;;) {
        a = root_of(parent, a);
        b = root_of(parent, b);
        if (a == b) return;
        const int high = a > b ? a : b, low = a > b ? b : a;
        const int old = atomicMin(parent + high, low);
        if (old == high) return;  // it was a root, and hangs below `low` now
        a = old;
        b = low;
    }
}

// Joins every voxel with its neighbours of equal value among those that come before it. Neighbours differ by at most 1
// along each axis and along at most `steps` axes: 1 for 6 of them, 2 for 18, 3 for 26. (volumes, n0, n1, n2).
template <class T>
__global__ void __launch_bounds__(256)
    components_join(const T *__restrict__ in, int *__restrict__ parent, Index volumes, int n0, int n1, int n2, int steps) {
    const Index plane = static_cast<Index>(n1) * n2, slabs = volumes * n0;
    for (Index s = blockIdx.z; s < slabs; s += gridDim.z)
        for (Index j = static_cast<Index>(blockIdx.y) * blockDim.y + threadIdx.y; j < n1;
             j += static_cast<Index>(gridDim.y) * blockDim.y)
            for (Index k = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; k < n2;
                 k += static_cast<Index>(gridDim.x) * blockDim.x) {
                const Index at = s * plane + j * n2 + k;
                const T own = in[at];
                if (own == 0) continue;
                for (int dz = s % n0 > 0 ? -1 : 0; dz <= 0; ++dz)
                    for (int dy = -1; dy <= (dz < 0 ? 1 : 0); ++dy)
                        for (int dx = -1; dx <= (dz < 0 || dy < 0 ? 1 : -1); ++dx) {
                            const int moves = (dz != 0) + (dy != 0) + (dx != 0);
                            if (moves > steps || j + dy < 0 || j + dy >= n1 || k + dx < 0 || k + dx >= n2) continue;
                            const Index other = at + dz * plane + dy * n2 + dx;
                            if (in[other] == own) unite(parent, static_cast<int>(at), static_cast<int>(other));
                        }
            }
}

// Every voxel is told its root, and roots are marked in `first`.
__global__ void __launch_bounds__(256)
    components_flatten(int *__restrict__ parent, int *__restrict__ first, Index voxels) {
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < voxels;
         i += static_cast<Index>(gridDim.x) * blockDim.x) {
        int root = -1;
        if (parent[i] >= 0) {
            root = root_of(parent, static_cast<int>(i));
            parent[i] = root;
        }
        first[i] = root == static_cast<int>(i);
    }
}

// From roots to numbers: `number` counts the roots up to each voxel, within all volumes; each volume starts at 1.
__global__ void __launch_bounds__(256)
    components_number(int *__restrict__ parent, const int *__restrict__ number, Index volumes, Index voxels) {
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < volumes * voxels;
         i += static_cast<Index>(gridDim.x) * blockDim.x) {
        const Index start = i / voxels * voxels;
        parent[i] = parent[i] < 0 ? 0 : number[parent[i]] - (start > 0 ? number[start - 1] : 0);
    }
}

}  // namespace medframe
