// Dilation and erosion by one step, and the filling of holes. Masks are bytes, (volumes, n0, n1, n2).
#include "device.h"

namespace medframe {

// Neighbours differ by at most 1 along each axis and along at most `steps` axes. Beyond the edge there is nothing: it
// neither adds to a mask nor takes from one.
__global__ void __launch_bounds__(256, 4)
    grow(const unsigned char *__restrict__ in, unsigned char *__restrict__ out, Index volumes, int n0, int n1, int n2,
         int steps, int erode) {
    const Index plane = static_cast<Index>(n1) * n2, slabs = volumes * n0;
    for (Index s = blockIdx.z; s < slabs; s += gridDim.z) {
        const int i = static_cast<int>(s % n0);
        for (int j = blockIdx.y * blockDim.y + threadIdx.y; j < n1; j += gridDim.y * blockDim.y)
            for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < n2; k += gridDim.x * blockDim.x) {
                const Index at = s * plane + static_cast<Index>(j) * n2 + k;
                bool found = (in[at] == 0) == (erode != 0);  // what decides: a voxel that is set, or one that is not
                for (int dz = i > 0 ? -1 : 0; dz <= (i < n0 - 1 ? 1 : 0) && !found; ++dz)
                    for (int dy = j > 0 ? -1 : 0; dy <= (j < n1 - 1 ? 1 : 0) && !found; ++dy)
                        for (int dx = k > 0 ? -1 : 0; dx <= (k < n2 - 1 ? 1 : 0) && !found; ++dx)
                            if ((dz != 0) + (dy != 0) + (dx != 0) <= steps)
                                found = (in[at + dz * plane + dy * n2 + dx] == 0) == (erode != 0);
                out[at] = found != (erode != 0);
            }
    }
}

// Of the components of what is not the mask, which reach the edge: their roots' entries in `open` become 2. `root` and
// `open` are what components.cu left, a voxel's root or -1 and 1 for roots. Axes of size 1 have no edge.
__global__ void __launch_bounds__(256)
    holes_open(const int *__restrict__ root, int *__restrict__ open, Index volumes, int n0, int n1, int n2) {
    const Index plane = static_cast<Index>(n1) * n2, slabs = volumes * n0;
    for (Index s = blockIdx.z; s < slabs; s += gridDim.z) {
        const int i = static_cast<int>(s % n0);
        for (int j = blockIdx.y * blockDim.y + threadIdx.y; j < n1; j += gridDim.y * blockDim.y)
            for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < n2; k += gridDim.x * blockDim.x) {
                const bool edge = (n0 > 1 && (i == 0 || i == n0 - 1)) || (n1 > 1 && (j == 0 || j == n1 - 1)) ||
                                  (n2 > 1 && (k == 0 || k == n2 - 1));
                if (!edge) continue;
                const int r = root[s * plane + static_cast<Index>(j) * n2 + k];
                if (r >= 0) open[r] = 2;
            }
    }
}

__global__ void __launch_bounds__(256)
    holes_fill(const int *__restrict__ root, const int *__restrict__ open, unsigned char *__restrict__ out, Index voxels) {
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < voxels;
         i += static_cast<Index>(gridDim.x) * blockDim.x)
        out[i] = root[i] < 0 || open[root[i]] != 2;
}

}  // namespace medframe
